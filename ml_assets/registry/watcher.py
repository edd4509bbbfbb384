"""``python -m ml_assets.registry.watcher``: exports the champion for the prediction service.

It is a separate process, so that the service needs no MLflow and a registry that hangs delays no
request. It polls each second, ends when its standard input is closed, and is restarted by the
service when it dies.
"""

import os
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ml_assets.config.settings import REGISTERED_MODEL, Settings, read_settings
from ml_assets.config.sqlite_url import sqlite_path
from ml_assets.registry import NothingTracked, TrackingUnavailable
from ml_assets.registry.export_bundle import bundle_name, export, is_complete, prune
from ml_assets.registry.registry import Registry
from ml_assets.secrets import ShownError, error_text, one_line, scrub_logs
from ml_assets.serving.bundle import (
    CHAMPION_FILE,
    REGISTRY_FILE,
    SERVING_FOLDER,
    ChampionManifest,
    JsonFileWatcher,
    RegistryStatus,
)
from ml_assets.storage.atomic import write_text
from ml_assets.storage.error_messages import storage_error_message
from ml_assets.storage.model_version import ModelVersion

POLL_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 10.0
"""Time until a failed export is retried."""

_MLFLOW_HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""No retries: the next poll follows a second later."""

_SHOWN_CHARACTERS = 500


class RegistryUnavailable(ShownError, RuntimeError):
    """The registry does not exist any more."""


class RegistryWatcher:
    """Polls the registry, exports a new champion, and writes the registry's status."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.local_home / SERVING_FOLDER
        self._registry: Registry | None = None
        self._database: tuple[int, int] | None = None
        self._exporter = ThreadPoolExecutor(1)
        self._export: tuple[str, Future[Path]] | None = None
        self._retry_at = 0.0
        self._export_problem: str | None = None
        self._manifest = JsonFileWatcher(self._folder / CHAMPION_FILE, ChampionManifest)
        self._verified: str | None = None
        self._status = RegistryStatus()
        self._explanation: str | None = None
        self._explain_at = 0.0

    def poll(self) -> None:
        """Poll once, start an export if needed, and write the status."""
        try:
            version = self._fetch_champion()
            missing = self._missing() if version is None else None
        except Exception as error:  # noqa: BLE001 - any failure of the registry
            self._status = self._status.model_copy(update={"problem": self._format_error(error)})
        else:
            if version is not None:
                self._start_export(version)
            self._status = RegistryStatus(
                last_response_at=datetime.now(UTC),
                champion_version=None if version is None else version.version,
                problem=missing if version is None else self._export_problem,
            )
        self._write()

    def _missing(self) -> str | None:
        """Explain why there is no champion although there are versions; refreshed rarely."""
        if self._registry is None:
            return None
        if self._status.champion_version is not None or time.monotonic() >= self._explain_at:
            self._explain_at = time.monotonic() + RETRY_SECONDS
            explained = self._registry.explain_missing_champion()
            self._explanation = explained if self._registry.versions() else None
        return self._explanation

    def _format_error(self, error: Exception) -> str:
        """Format an error on one line and without a password."""
        if isinstance(error, RegistryUnavailable | TrackingUnavailable | NothingTracked):
            return one_line(str(error), _SHOWN_CHARACTERS)
        fault = storage_error_message(error, self._settings.local_home)
        if fault is not None:
            return one_line(fault, _SHOWN_CHARACTERS)
        return f"the registry does not answer: {self._shown(error)}"

    def _shown(self, error: Exception) -> str:
        """Format an error on one line; ``/ready`` shows it without authentication."""
        return error_text(error, self._settings.tracking_uri, limit=_SHOWN_CHARACTERS)

    def _fetch_champion(self) -> ModelVersion | None:
        """Return the champion; None when there is none."""
        if not self._has_database():
            return None
        if self._registry is None:
            self._registry = Registry.of(self._settings)
        return self._registry.champion()

    def _has_database(self) -> bool:
        """Whether the registry's database exists.

        SQLite would create a missing file, and continue to read a removed one.

        Raises:
            RegistryUnavailable: The file is gone after a champion was read from it.
        """
        file = sqlite_path(self._settings.tracking_uri)
        if file is None:
            return True
        try:
            stat = file.stat()
        except FileNotFoundError as error:
            if self._database is None and not (self._folder / CHAMPION_FILE).exists():
                return False  # no training yet
            raise RegistryUnavailable(f"the registry is gone: {file} does not exist") from error
        database = (stat.st_dev, stat.st_ino)
        if self._database is not None and database != self._database:
            # MLflow keeps its connections to the old file; a new process has none.
            print(f"{file} was replaced: restarting", file=sys.stderr, flush=True)
            os._exit(0)
        self._database = database
        return True

    def _start_export(self, version: ModelVersion) -> None:
        name = bundle_name(version)
        self._finish_export()
        if self._export is not None or self._is_exported(name) or time.monotonic() < self._retry_at:
            return
        work = self._exporter.submit(export, version, REGISTERED_MODEL, self._folder)
        self._export = (version.version, work)

    def wait(self) -> None:
        """Wait for the next poll, but hand over a finished export at once."""
        if self._export is None:
            time.sleep(POLL_SECONDS)
            return
        wait([self._export[1]], POLL_SECONDS)
        self._finish_export()

    def _finish_export(self) -> None:
        if self._export is None or not self._export[1].done():
            return
        number, work = self._export
        self._export = None
        try:
            bundle = work.result()
            manifest = ChampionManifest(version=number, folder=bundle.name)
            write_text(str(self._folder / CHAMPION_FILE), manifest.model_dump_json())
            prune(self._folder, bundle)
        except Exception as error:  # noqa: BLE001 - any failure of the export
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._export_problem = f"version {number} cannot be exported ({self._shown(error)})"
        else:
            self._export_problem, self._verified = None, bundle.name

    def _is_exported(self, name: str) -> bool:
        """Whether this bundle is the one handed over, and complete (verified once a process)."""
        try:
            self._manifest.refresh()
        except (OSError, ValueError):
            return False
        if self._manifest.value is None or self._manifest.value.folder != name:
            return False
        bundle = self._folder / name
        if self._verified != name and is_complete(bundle):
            self._verified = name
        return self._verified == name and bundle.is_dir()

    def _write(self) -> None:
        """Replace the status file, without fsync: the next poll writes it again."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{REGISTRY_FILE}.{os.getpid()}.tmp"
        temporary.write_text(self._status.model_dump_json(), encoding="utf-8")
        temporary.replace(self._folder / REGISTRY_FILE)


def main() -> None:
    """Watch until standard input ends."""
    scrub_logs()
    os.environ.update(_MLFLOW_HTTP)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    threading.Thread(target=_end_with_server, daemon=True).start()
    settings = read_settings()
    watcher = RegistryWatcher(settings)
    logged = ""
    while True:
        try:
            watcher.poll()
            logged = ""
        except OSError as error:  # a full disk: the service sees that the status is outdated
            if str(error) != logged:
                fault = storage_error_message(error, settings.local_home) or error_text(error)
                print(f"the registry's status cannot be written: {fault}", file=sys.stderr)
            logged = str(error)
        watcher.wait()


def _end_with_server() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
