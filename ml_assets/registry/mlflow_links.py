"""Links to pages of a tracking server, or the command that opens a database in MLflow's UI."""

import functools
import getpass
import shlex
import subprocess
from pathlib import Path

from ml_assets.secrets import without_credentials


def pages(uri: str, name: str, version: str, experiment_id: str, run_id: str) -> dict[str, str]:
    """Return links to a registered version and its run, by name.

    Args:
        uri: MLflow tracking URI.
        name: Name of the registered model.
        version: Its version.
        experiment_id: Id of the run's experiment.
        run_id: Id of the run; empty when unknown.

    Returns:
        URLs by name; empty when the URI is not a server.
    """
    base = _base(uri)
    if base is None:
        return {}
    found = {"registered_version": f"{base}/models/{name}/versions/{version}"}
    return found | run_page(uri, experiment_id, run_id)


def run_page(uri: str, experiment_id: str, run_id: str) -> dict[str, str]:
    """Return the link to a run.

    Args:
        uri: MLflow tracking URI.
        experiment_id: Id of the run's experiment.
        run_id: Id of the run; empty when unknown.

    Returns:
        URL by name; empty without a run, or when the URI is not a server.
    """
    base = _base(uri)
    if base is None or not run_id:
        return {}
    return {"mlflow_run": f"{base}/experiments/{experiment_id}/runs/{run_id}"}


def _base(uri: str) -> str | None:
    """Return the base URL of a server's pages; None when the URI is not a server."""
    if not uri.startswith(("http://", "https://")):
        return None
    return f"{without_credentials(uri).replace('://***@', '://').rstrip('/')}/#"


def ui_command(uri: str) -> str:
    """Return the command that opens a database-backed store in MLflow's UI."""
    return f"mlflow ui --backend-store-uri {shlex.quote(without_credentials(uri))}"


_GIT_SECONDS = 5


def source_tags(asset: str) -> dict[str, str]:
    """Return the tags from which MLflow shows the source of a run.

    Args:
        asset: Key of the asset that opens the run.
    """
    tags = {"mlflow.source.type": "JOB", "mlflow.source.name": f"Dagster asset {asset}"}
    return tags | _user() | _commit()


@functools.cache
def _user() -> dict[str, str]:
    try:
        return {"mlflow.user": getpass.getuser()}
    except (OSError, KeyError):  # a user without a name, as in some containers
        return {}


@functools.cache
def _commit() -> dict[str, str]:
    """Return the commit of the checkout; empty outside a checkout, and without git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        found = subprocess.run(
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": found.stdout.strip()}
