"""The MLflow store: reachable, migrated and with its experiment, before any step logs to it."""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.environment_variables import (
    MLFLOW_TRACKING_INSECURE_TLS,
    MLFLOW_TRACKING_SERVER_CERT_PATH,
)

from ml_assets.config.settings import EXPERIMENT, Settings
from ml_assets.config.sqlite_url import sqlite_path
from ml_assets.registry import NothingTracked, TrackingUnavailable, artifact_location
from ml_assets.registry.mlflow_database import UnusableDatabase, move_artifact_locations, prepare
from ml_assets.secrets import error_text, without_credentials
from ml_assets.storage.atomic import StorageError, locked
from ml_assets.storage.error_messages import (
    storage_error_message,
    translate_storage_errors,
    wait_until_usable,
)

REACH_SECONDS = 5.0

_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_UNCHANGED = "Nothing was trained, registered or changed by this step"
_OTHER_SCHEMA = re.compile(
    r"out-of-date database schema|Can't locate revision|No such revision|no such (table|column)"
)


@dataclass(frozen=True)
class TrackingStore:
    """The store of MLflow runs and models.

    Attributes:
        uri: MLflow tracking URI (a database URL or a server).
        artifact_location: Folder or URL of the artifacts of a database-backed store; a server
            chooses its own.
        lock_folder: The home's local folder, for the lock that serializes migrations.
    """

    uri: str
    experiment: str
    artifact_location: str
    lock_folder: Path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the store of these settings, with the project's experiment."""
        location = artifact_location(settings.home, settings.local_home)
        return cls(settings.tracking_uri, EXPERIMENT, location, settings.local_home)

    def client(self) -> MlflowClient:
        """Return a client of this store, migrated if needed; MLflow's fluent API uses it, too.

        Raises:
            TrackingUnavailable: The store does not answer within a few seconds, or is unusable.
        """
        self._check_reachable()
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        with self._migration_lock():
            try:
                self._prepare_database()
                client = mlflow.MlflowClient(self.uri, registry_uri=self.uri)
                self._create_experiment(client)
            except TrackingUnavailable:
                raise
            except UnusableDatabase as error:
                raise TrackingUnavailable(f"{error}. {_UNCHANGED}") from error
            except Exception as error:
                raise TrackingUnavailable(self._error_message(error, "cannot be used")) from error
        mlflow.set_experiment(self.experiment)
        return client

    def reader(self) -> MlflowClient:
        """Return a client for reading; unlike :meth:`client`, it creates nothing.

        Raises:
            NothingTracked: Nothing has been logged yet.
            TrackingUnavailable: The store does not answer, or is unusable.
        """
        file = self._database
        if file is not None and (not file.exists() or file.stat().st_size == 0):
            raise NothingTracked(
                f"there is no champion yet, nor any other model: {file} does not exist. Train "
                "first (`ml-assets run`, or the job train_models), or set ML_ASSETS_HOME to the "
                "home that has one"
            )
        self._check_reachable(write=False)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        try:
            if file is not None and os.access(file.parent, os.W_OK):
                with self._migration_lock():
                    self._prepare_database()
            client = mlflow.MlflowClient(self.uri, registry_uri=self.uri)
            # The first request opens the store.
            client.search_experiments(max_results=1)
        except TrackingUnavailable:
            raise
        except UnusableDatabase as error:
            raise TrackingUnavailable(str(error)) from error
        except Exception as error:
            raise TrackingUnavailable(self._error_message(error, "cannot be used")) from error
        return client

    @property
    def _database(self) -> Path | None:
        """The SQLite database, if the store is one."""
        file = sqlite_path(self.uri)
        return None if file is None else file.resolve()

    def _prepare_database(self) -> None:
        if self._database is None:
            return
        prepare(self._database, self.artifact_location)
        move_artifact_locations(
            self._database, self.experiment, self.artifact_location, self.lock_folder.resolve()
        )

    def _create_experiment(self, client: MlflowClient) -> None:
        found = client.get_experiment_by_name(self.experiment)
        if found is not None and found.lifecycle_stage != "active":
            raise TrackingUnavailable(
                f"MLflow's experiment {self.experiment} is deleted: restore it with `mlflow "
                f"experiments restore --experiment-id {found.experiment_id}` "
                f"(MLFLOW_TRACKING_URI={without_credentials(self.uri)}), or set ML_ASSETS_HOME to "
                f"another home. {_UNCHANGED}"
            )
        if found is not None:
            return
        location = None if self.uri.startswith("http") else self.artifact_location
        client.create_experiment(self.experiment, artifact_location=location)

    def _check_reachable(self, *, write: bool = True) -> None:
        """Check first: MLflow would retry for minutes, and fail at once on a locked database."""
        scheme = urlsplit(self.uri).scheme.partition("+")[0]
        if (file := self._database) is not None:
            with self._storage_failures(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                wait_until_usable(file, write=write)
        elif scheme in ("http", "https"):
            self._check_server()
        elif scheme in _DATABASE_PORTS:
            self._check_database(_DATABASE_PORTS[scheme])

    def _check_server(self) -> None:
        insecure, certificate = (
            MLFLOW_TRACKING_INSECURE_TLS.get(),
            MLFLOW_TRACKING_SERVER_CERT_PATH.get(),
        )
        try:
            # Only the status is needed, not the body.
            with requests.get(
                f"{self.uri.rstrip('/')}/health",
                timeout=REACH_SECONDS,
                stream=True,
                allow_redirects=False,
                verify=not insecure and (certificate or True),
            ) as answer:
                status = answer.status_code
        except requests.RequestException as error:
            raise TrackingUnavailable(self._error_message(error)) from error
        # Managed servers have no such page (404) or require a token (401), but they are up.
        if status >= 500:
            raise TrackingUnavailable(self._error_message(f"status {status}"))

    def _check_database(self, default_port: int) -> None:
        parts = urlsplit(self.uri)
        if parts.hostname is None:
            return
        address = (parts.hostname, parts.port or default_port)
        try:
            socket.create_connection(address, timeout=REACH_SECONDS).close()
        except OSError as error:
            raise TrackingUnavailable(self._error_message(error)) from error

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """Translate errors of the disk or the database in a block that logs to this store.

        Raises:
            StorageError: In place of such an error; others pass unchanged.
        """
        with translate_storage_errors(self._database or self.artifact_location):
            yield

    @contextlib.contextmanager
    def _storage_failures(self, place: Path) -> Iterator[None]:
        """Turn an error of the disk or the database into a readable message.

        Raises:
            TrackingUnavailable: In place of such an error.
        """
        try:
            with translate_storage_errors(place):
                yield
        except StorageError as error:
            raise TrackingUnavailable(f"{error}. {_UNCHANGED}") from error

    def _error_message(self, fault: Exception | str, what: str = "does not answer") -> str:
        file = self._database
        if file is not None and isinstance(fault, Exception):
            known = storage_error_message(fault, file)
            if known is not None:
                return f"{known}. {_UNCHANGED}"
        if isinstance(fault, Exception) and _OTHER_SCHEMA.search(str(fault)):
            return (
                f"the database at MLFLOW_TRACKING_URI={without_credentials(self.uri)} has the "
                f"schema of another version of MLflow ({error_text(fault, limit=300)}): install "
                "that version, or make a backup and upgrade the database with `mlflow db "
                f"upgrade`. {_UNCHANGED}"
            )
        cause = error_text(fault, self.uri) if isinstance(fault, Exception) else fault
        return (
            f"MLflow {what} at MLFLOW_TRACKING_URI={without_credentials(self.uri)} ({cause}): "
            "start that server, correct the variable, or unset it to track in SQLite under "
            f"ML_ASSETS_HOME. {_UNCHANGED}"
        )

    @contextlib.contextmanager
    def _migration_lock(self) -> Iterator[None]:
        """Serialize: MLflow checks for its tables outside its own lock, so two steps would race."""
        folder = self.lock_folder if self._database is None else self._database.parent
        with contextlib.ExitStack() as stack:
            with self._storage_failures(folder):
                stack.enter_context(locked(folder / ".mlflow_migration.lock"))
            yield
