"""Where to look: pages of a tracking server, or the command that shows a database."""

import functools
import getpass
import shlex
import subprocess
from pathlib import Path

from ml_assets.secrets import without_credentials


def pages(uri: str, name: str, version: str, experiment_id: str, run_id: str) -> dict[str, str]:
    """Links to a registered version and to the run that made it, by what they show.

    Args:
        uri: MLflow tracking URI.
        name: Registered model.
        version: Its version.
        experiment_id: Id of the run's experiment.
        run_id: Id of the run; empty when the version does not tell.

    Returns:
        Nothing when the URI is no server whose pages can be opened.
    """
    base = _base(uri)
    if base is None:
        return {}
    found = {"registered_version": f"{base}/models/{name}/versions/{version}"}
    return found | run_page(uri, experiment_id, run_id)


def run_page(uri: str, experiment_id: str, run_id: str) -> dict[str, str]:
    """The link to a run.

    Args:
        uri: MLflow tracking URI.
        experiment_id: Id of its experiment.
        run_id: Its id; empty when it is not known.

    Returns:
        Nothing when there is no run, or the URI is no server whose pages can be opened.
    """
    base = _base(uri)
    if base is None or not run_id:
        return {}
    return {"mlflow_run": f"{base}/experiments/{experiment_id}/runs/{run_id}"}


def _base(uri: str) -> str | None:
    """Where a server's pages begin; None when it is no server."""
    if not uri.startswith(("http://", "https://")):
        return None
    return f"{without_credentials(uri).replace('://***@', '://').rstrip('/')}/#"


def ui_command(uri: str) -> str:
    """The command that opens a database-backed store in MLflow's own UI."""
    return f"mlflow ui --backend-store-uri {shlex.quote(without_credentials(uri))}"


_GIT_SECONDS = 5


def source_tags(asset: str) -> dict[str, str]:
    """The tags by which MLflow shows the source of a run.

    Args:
        asset: Key of the Dagster asset that opens the run.
    """
    tags = {"mlflow.source.type": "JOB", "mlflow.source.name": f"Dagster asset {asset}"}
    return tags | _user() | _commit()


@functools.cache
def _user() -> dict[str, str]:
    try:
        return {"mlflow.user": getpass.getuser()}
    except (OSError, KeyError):  # a container's user may have no name
        return {}


@functools.cache
def _commit() -> dict[str, str]:
    """The commit of the checkout that runs; nothing when it is no checkout, or git is not there."""
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
