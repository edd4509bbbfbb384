"""The MLflow store: reachable, migrated and with its experiment, before any step logs to it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient

REACH_SECONDS = 5.0


class TrackingUnreachable(RuntimeError):
    """The tracking server does not answer; raised before hours of work, not after them."""


@dataclass(frozen=True)
class TrackingStore:
    """Where runs and models are tracked.

    Attributes:
        uri: MLflow tracking URI (a database URL or a server).
        experiment: Experiment name.
        artifact_location: Where artifacts of a database-backed store go (folder or URL); a server
            decides by itself.
        lock_folder: Local folder for the lock that keeps two processes from migrating at once.
    """

    uri: str
    experiment: str
    artifact_location: str
    lock_folder: Path

    def client(self) -> "MlflowClient":
        """A client of this store, ready to be used; MLflow's fluent API points there as well.

        Raises:
            TrackingUnreachable: when the store does not answer within a few seconds.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._reach()
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        with self._migration_lock():
            client = mlflow.MlflowClient(self.uri, registry_uri=self.uri)
            try:
                self._create_experiment(client)
            except Exception as error:
                raise TrackingUnreachable(self._advice(error)) from error
        mlflow.set_experiment(self.experiment)
        return client

    def _create_experiment(self, client: "MlflowClient") -> None:
        if client.get_experiment_by_name(self.experiment) is not None:
            return
        location = None if self.uri.startswith("http") else self.artifact_location
        client.create_experiment(self.experiment, artifact_location=location)

    def _reach(self) -> None:
        """MLflow itself would retry for minutes: knock first, for seconds."""
        parts = urlsplit(self.uri)
        if parts.scheme.startswith("sqlite"):
            Path(self.uri.split("///", 1)[1]).parent.mkdir(parents=True, exist_ok=True)
            return
        if parts.hostname is None:
            return
        import socket

        default = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
        port = parts.port or default.get(parts.scheme.split("+")[0], 443)
        try:
            socket.create_connection((parts.hostname, port), timeout=REACH_SECONDS).close()
        except OSError as error:
            raise TrackingUnreachable(self._advice(error)) from error

    def _advice(self, error: Exception) -> str:
        return (
            f"MLflow does not answer at MLFLOW_TRACKING_URI={_without_password(self.uri)} "
            f"({type(error).__name__}: {error}): start that server, correct the variable, or unset "
            "it to track in SQLite under ML_ASSETS_HOME. Nothing was trained"
        )

    @contextlib.contextmanager
    def _migration_lock(self) -> Iterator[None]:
        """MLflow checks for its tables outside its own lock, so two first steps would race."""
        self.lock_folder.mkdir(parents=True, exist_ok=True)
        with open(self.lock_folder / ".mlflow_migration.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return uri.replace(f":{parts.password}@", ":***@")
