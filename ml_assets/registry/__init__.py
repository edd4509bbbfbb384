"""MLflow: the store of training runs, and the registry of model versions.

The other modules of this package import MLflow, which takes seconds; this one does not, and
configures it before it is imported.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from ml_assets.secrets import ShownError

_RETRIES = "4"
"""Retries of a request to a server that stopped answering: half a minute, enough for a restart.
MLflow's default of seven takes four minutes a request, while a run waits and holds its pool."""

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _RETRIES)

# MLflow notes which variables a model reads: it replaces the methods of os.environ meanwhile. Steps
# run side by side, and what another one read made the logging fail.
os.environ["MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING"] = "false"

_ARTIFACT_SCHEMES = {"s3", "gs", "wasbs", "abfss", "hdfs", "ftp", "sftp"}
"""Schemes of fsspec URLs under which MLflow can store artifacts, too. Not ``dbfs``: MLflow supports
it only with Databricks as the server, which chooses the location itself."""


class NothingTracked(ShownError, LookupError):
    """Nothing has been logged to this store yet; the message names the remedy."""


class TrackingUnavailable(ShownError, RuntimeError):
    """The store is unreachable or unusable; raised before hours of work, not after."""


class ConcurrentPromotion(ShownError, RuntimeError):
    """Another process promoted another version in the meantime; nothing was changed."""


class ModelNotFound(ShownError, LookupError):
    """A version that does not exist or cannot be used; the message names the remedy."""


def artifact_location(home: str, local_home: Path) -> str:
    """Return where a database-backed store keeps artifacts: in the home, if MLflow supports it.

    MLflow does not support ``memory://``, ``abfs://``, ``az://`` and others, and would report it
    only after the fit. It shows the location of every artifact, so a URL with a password is not
    used either.

    Args:
        local_home: Folder to use otherwise.

    Returns:
        A folder or URL; a folder with ``%``, ``?`` or ``#`` in its path as a ``file:`` URL, since
        MLflow reads those as a URL's.
    """
    parts = urlsplit(home)
    secret = parts.password is not None or bool(parts.query)
    if "://" in home and parts.scheme in _ARTIFACT_SCHEMES and not secret:
        return f"{home}/mlartifacts"
    folder = (local_home if "://" in home else Path(home)) / "mlartifacts"
    return folder.as_uri() if {*"%?#"} & {*str(folder)} else str(folder)
