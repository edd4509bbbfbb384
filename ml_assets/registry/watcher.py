"""``python -m ml_assets.registry.watcher``: hands the registry's champion to the service.

A process of its own, so that the one that answers requests needs no MLflow, and a registry that
hangs holds nobody up. It asks each second, ends when its standard input does, and is started again
by the server when it dies.
"""

import os
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ml_assets.config.settings import REGISTERED_MODEL, Settings, read_settings
from ml_assets.config.sqlite_url import sqlite_path
from ml_assets.registry.export_bundle import bundle_name, export, is_complete, remove_others
from ml_assets.registry.mlflow_store import NothingTracked, TrackingStore, TrackingUnavailable
from ml_assets.registry.registry import (
    champion_version,
    explain_missing_champion,
    versions_of,
)
from ml_assets.secrets import ShownError, error_text, one_line, scrub_logs
from ml_assets.serving.handover import (
    CHAMPION_FILE,
    REGISTRY_FILE,
    SERVING_FOLDER,
    ChampionManifest,
    JsonFileWatcher,
    RegistryStatus,
)
from ml_assets.storage.atomic import write_text
from ml_assets.storage.faults import storage_error_message
from ml_assets.storage.model_version import ModelVersion

ASK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 10.0
"""A version that could not be handed over is tried again after so long."""

_HTTP_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""Of one question to a server: the next second brings another."""

_SHOWN_CHARACTERS = 500


class RegistryUnavailable(ShownError, RuntimeError):
    """There is no registry to ask."""


class ChampionWatch:
    """Asks the registry, and writes what it says.

    Args:
        settings: Name the registry and the home.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.local_home / SERVING_FOLDER
        self._client: Any = None
        self._database: tuple[int, int] | None = None
        self._exporter = ThreadPoolExecutor(1)
        self._export: tuple[str, Future[Path]] | None = None
        self._retry_at = 0.0
        self._export_problem: str | None = None
        self._handed = JsonFileWatcher(self._folder / CHAMPION_FILE, ChampionManifest)
        self._verified: str | None = None
        self._note = RegistryStatus()
        self._explanation: str | None = None
        self._explain_at = 0.0

    def look(self) -> None:
        """Ask once, and write down what there is to tell."""
        try:
            version = self._ask()
            missing = self._missing() if version is None else None
        except Exception as error:  # noqa: BLE001 - whatever keeps the registry from answering
            self._note = self._note.model_copy(update={"problem": self._in_words(error)})
        else:
            if version is not None:
                self._hand_over(version)
            self._note = RegistryStatus(
                last_response_at=datetime.now(UTC),
                champion_version=None if version is None else version.version,
                problem=missing if version is None else self._export_problem,
            )
        self._write()

    def _missing(self) -> str | None:
        """Why there is no champion although there are versions; looked up now and then."""
        if self._client is None:
            return None
        if self._note.champion_version is not None or time.monotonic() >= self._explain_at:
            self._explain_at = time.monotonic() + RETRY_SECONDS
            versions = versions_of(self._client, REGISTERED_MODEL)
            explained = explain_missing_champion(self._client, REGISTERED_MODEL)
            self._explanation = explained if versions else None
        return self._explanation

    def _in_words(self, error: Exception) -> str:
        """What is wrong, on one line and without a password."""
        if isinstance(error, RegistryUnavailable | TrackingUnavailable | NothingTracked):
            return one_line(str(error), _SHOWN_CHARACTERS)
        fault = storage_error_message(error, self._settings.local_home)
        if fault is not None:
            return one_line(fault, _SHOWN_CHARACTERS)
        return f"the registry does not answer: {self._shown(error)}"

    def _shown(self, error: Exception) -> str:
        """An error's text on one line, as anybody may read it at ``/ready``."""
        return error_text(error, self._settings.tracking_uri, limit=_SHOWN_CHARACTERS)

    def _ask(self) -> ModelVersion | None:
        """The champion; None when there is none."""
        if not self._has_database():
            return None
        if self._client is None:
            self._client = TrackingStore.of(self._settings).reader()
        return champion_version(self._client, REGISTERED_MODEL)

    def _has_database(self) -> bool:
        """Whether there is a registry to ask: SQLite would make a file that is not there.

        It also goes on reading one that was removed.

        Raises:
            RegistryUnavailable: when the file is gone from which a champion has come.
        """
        file = sqlite_path(self._settings.tracking_uri)
        if file is None:
            return True
        try:
            stat = file.stat()
        except FileNotFoundError as error:
            if self._database is None and not (self._folder / CHAMPION_FILE).exists():
                return False  # nobody has trained yet
            raise RegistryUnavailable(f"the registry is away: {file} is not there") from error
        database = (stat.st_dev, stat.st_ino)
        if self._database is not None and database != self._database:
            # MLflow keeps its connections to the old one; a new process has none.
            print(f"{file} is another database now: starting again", file=sys.stderr, flush=True)
            os._exit(0)
        self._database = database
        return True

    def _hand_over(self, version: ModelVersion) -> None:
        name = bundle_name(version)
        self._finish_export()
        if self._export is not None or self._is_handed(name) or time.monotonic() < self._retry_at:
            return
        work = self._exporter.submit(export, version, REGISTERED_MODEL, self._folder)
        self._export = (version.version, work)

    def rest(self) -> None:
        """Wait for the next question, but hand over at once what has been brought meanwhile."""
        if self._export is None:
            time.sleep(ASK_SECONDS)
            return
        wait([self._export[1]], ASK_SECONDS)
        self._finish_export()

    def _finish_export(self) -> None:
        if self._export is None or not self._export[1].done():
            return
        number, work = self._export
        self._export = None
        try:
            bundle = work.result()
            note = ChampionManifest(version=number, folder=bundle.name)
            write_text(str(self._folder / CHAMPION_FILE), note.model_dump_json())
            remove_others(self._folder, bundle)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being handed over
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._export_problem = f"version {number} cannot be handed over ({self._shown(error)})"
        else:
            self._export_problem, self._verified = None, bundle.name

    def _is_handed(self, name: str) -> bool:
        """Whether this bundle is the one to serve, and whole (looked at once by each process)."""
        try:
            self._handed.refresh()
        except (OSError, ValueError):
            return False
        if self._handed.note is None or self._handed.note.folder != name:
            return False
        bundle = self._folder / name
        if self._verified != name and is_complete(bundle):
            self._verified = name
        return self._verified == name and bundle.is_dir()

    def _write(self) -> None:
        """Replace the note; it is of a moment, so that the disk need not be waited for."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{REGISTRY_FILE}.{os.getpid()}.tmp"
        temporary.write_text(self._note.model_dump_json(), encoding="utf-8")
        temporary.replace(self._folder / REGISTRY_FILE)


def main() -> None:
    """Watch until standard input ends."""
    scrub_logs()
    os.environ.update(_HTTP_LIMITS)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    threading.Thread(target=_end_with_server, daemon=True).start()
    settings = read_settings()
    watch = ChampionWatch(settings)
    reported = ""
    while True:
        try:
            watch.look()
            reported = ""
        except OSError as error:  # a full disk: the service sees that nothing is heard any more
            if str(error) != reported:
                fault = storage_error_message(error, settings.local_home) or error_text(error)
                print(f"the registry's state cannot be written: {fault}", file=sys.stderr)
            reported = str(error)
        watch.rest()


def _end_with_server() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
