"""The source of a run as MLflow shows it: the Dagster asset, the user and the commit."""

import functools
import getpass
import subprocess
from pathlib import Path

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
