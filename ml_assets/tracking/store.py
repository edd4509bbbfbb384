"""The MLflow store: reachable, migrated and with its experiment, before any step logs to it."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ml_assets.secrets import ShownError, without_credentials
from ml_assets.sqlite_url import sqlite_path
from ml_assets.storage.sqlite import locked
from ml_assets.tracking.database import UnusableDatabase, move_artifact_locations, prepare

if TYPE_CHECKING:
    from mlflow import MlflowClient

REACH_SECONDS = 5.0
RETRIES = "4"
"""Of a request to a server that has gone meanwhile: half a minute, in which one that is restarted
comes back. MLflow's own seven take four minutes each, while a run waits and holds its pool."""

_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_ARTIFACT_SCHEMES = {"s3", "gs", "wasbs", "abfss", "hdfs", "ftp", "sftp"}
"""Of fsspec URLs under which MLflow can store artifacts as well; under ``dbfs`` it can only when
Databricks tracks, which then decides by itself."""


class TrackingUnreachable(ShownError, RuntimeError):
    """The tracking server does not answer, or refuses; raised before hours of work, not after."""


def artifact_location(home: str, local_home: Path) -> str:
    """Where a database-backed store keeps artifacts: in the home, if MLflow can store there.

    It cannot in ``memory://``, ``abfs://``, ``az://`` and others, and says so only after the fit.
    It shows the location of every artifact, so that it must not hold a password either.

    Args:
        home: Where assets live, a folder or an fsspec URL.
        local_home: Folder to take instead.

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


@dataclass(frozen=True)
class TrackingStore:
    """Where runs and models are tracked.

    Attributes:
        uri: MLflow tracking URI (a database URL or a server).
        experiment: Experiment name.
        artifact_location: Where artifacts of a database-backed store go (folder or URL); a server
            decides by itself.
        lock_folder: The home's local folder, for the lock that keeps two processes from migrating
            at once.
    """

    uri: str
    experiment: str
    artifact_location: str
    lock_folder: Path

    def client(self) -> "MlflowClient":
        """A client of this store, ready to be used; MLflow's fluent API points there as well.

        Raises:
            TrackingUnreachable: when the store does not answer within a few seconds, or refuses.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
        self._reach()
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        with self._migration_lock():
            try:
                self._prepare_database()
                client = mlflow.MlflowClient(self.uri, registry_uri=self.uri)
                self._create_experiment(client)
            except UnusableDatabase as error:
                raise TrackingUnreachable(str(error)) from error
            except Exception as error:
                raise TrackingUnreachable(self._advice(error, "cannot be used")) from error
        mlflow.set_experiment(self.experiment)
        return client

    @property
    def _database(self) -> Path | None:
        """The SQLite database, if it is one."""
        file = sqlite_path(self.uri)
        return None if file is None else file.resolve()

    def _prepare_database(self) -> None:
        if self._database is None:
            return
        prepare(self._database, self.artifact_location)
        move_artifact_locations(
            self._database, self.experiment, self.artifact_location, self.lock_folder.resolve()
        )

    def _create_experiment(self, client: "MlflowClient") -> None:
        if client.get_experiment_by_name(self.experiment) is not None:
            return
        location = None if self.uri.startswith("http") else self.artifact_location
        client.create_experiment(self.experiment, artifact_location=location)

    def _reach(self) -> None:
        """MLflow itself would retry for minutes: knock first, for seconds."""
        scheme = urlsplit(self.uri).scheme.partition("+")[0]
        if self._database is not None:
            self._database.parent.mkdir(parents=True, exist_ok=True)
        elif scheme in ("http", "https"):
            self._reach_server()
        elif scheme in _DATABASE_PORTS:
            self._reach_database(_DATABASE_PORTS[scheme])

    def _reach_server(self) -> None:
        import requests
        from mlflow.environment_variables import (
            MLFLOW_TRACKING_INSECURE_TLS,
            MLFLOW_TRACKING_SERVER_CERT_PATH,
        )

        insecure, certificate = (
            MLFLOW_TRACKING_INSECURE_TLS.get(),
            MLFLOW_TRACKING_SERVER_CERT_PATH.get(),
        )
        try:
            # Only the status is awaited, not the body.
            with requests.get(
                f"{self.uri.rstrip('/')}/health",
                timeout=REACH_SECONDS,
                stream=True,
                allow_redirects=False,
                verify=not insecure and (certificate or True),
            ) as answer:
                status = answer.status_code
        except requests.RequestException as error:
            raise TrackingUnreachable(self._advice(error)) from error
        # Managed servers have no such page (404) or want a token first (401): they do answer.
        if status >= 500:
            raise TrackingUnreachable(self._advice(f"status {status}"))

    def _reach_database(self, default_port: int) -> None:
        import socket

        parts = urlsplit(self.uri)
        if parts.hostname is None:
            return
        address = (parts.hostname, parts.port or default_port)
        try:
            socket.create_connection(address, timeout=REACH_SECONDS).close()
        except OSError as error:
            raise TrackingUnreachable(self._advice(error)) from error

    def _advice(self, fault: Exception | str, what: str = "does not answer") -> str:
        said = f"{type(fault).__name__}: {fault}" if isinstance(fault, Exception) else fault
        shown = without_credentials(self.uri)
        return (
            f"MLflow {what} at MLFLOW_TRACKING_URI={shown} "
            f"({said.replace(self.uri, shown)}): start that server, correct the variable, or unset "
            "it to track in SQLite under ML_ASSETS_HOME. Nothing was trained, registered or "
            "changed by this step"
        )

    @contextlib.contextmanager
    def _migration_lock(self) -> Iterator[None]:
        """MLflow checks for its tables outside its own lock, so two first steps would race."""
        folder = self.lock_folder if self._database is None else self._database.parent
        with locked(folder / ".mlflow_migration.lock"):
            yield
