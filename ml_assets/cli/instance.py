"""Dagster's home: created on first use, with settings for one machine."""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from dagster import DagsterInstance
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from ml_assets.config.settings import Settings
from ml_assets.config.sqlite_url import sqlite_url
from ml_assets.secrets import error_text
from ml_assets.storage.atomic import StorageError, locked, write_text
from ml_assets.storage.error_messages import (
    storage_error_message,
    translate_storage_errors,
    wait_until_usable,
)
from ml_assets.storage.leftovers import in_use
from ml_assets.storage.sqlite import new_database, tables

DAGSTER_YAML = """\
# Written once by ml-assets; you may change it.
telemetry:
  enabled: false
# No invitation to Dagster's community in front of the first page.
nux:
  enabled: false
# A run that does not start, or does not stop, within three minutes is ended. (A run whose process
# was killed is found by the project's sensor fail_orphaned_runs, not by this.)
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
# A run whose process was killed is retried from where it was, at most twice. A run with a failed
# step is not: after transient failures the project's sensors request it again, with longer delays.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
# Two runs at a time, so that months are ingested while a model trains. The pools (ingestion,
# training) allow one run each; raise max_concurrent_runs for more predictions and measurements.
concurrency:
  pools:
    granularity: run
    default_limit: 1
  runs:
    max_concurrent_runs: 2
# Runs are launched within a second, not five.
run_queue:
  dequeue_interval_seconds: 1
"""
DAGSTER_YAML_STORAGE = """\
# Dagster's SQLite storage cannot be in a folder with such characters in its path; this one can.
storage:
  custom:
    module: ml_assets.cli.instance
    class: SqliteStorage
    config:
      base_dir:
        env: DAGSTER_HOME
"""
"""Appended to the rest where the home's path holds ``%41``, ``?`` or the like."""

_FORMER_DAGSTER_YAML = {
    "43ed54f96beb30ad16cebdfc0b16d8786f988204113a6d4c6c75464c0d1e1cb7",
    "a7f8bf3e1be7bbe82dae5bde7e125dbf12634e4d3dbdbbce56c9f1283e421a6f",
    "7780e9a4c603142a0e1d3db6f1f793ada8a3fbb196ee591095cffb516d226395",
    "3573a8eaafc2e39e45bbec8b404df531eca01bf318fcb5c574cfd601db279e0c",
    "462c98895663e256ca92a5ba4a0f8e4b74653fba52be2405c4d47a45bc4f500f",
}
"""SHA-256 of files written by earlier versions; they are replaced unless they were changed."""


def dagster_home(settings: Settings) -> Path:
    """Return ``DAGSTER_HOME`` or a folder under ``ML_ASSETS_HOME``, created with ``dagster.yaml``.

    A ``dagster.yaml`` that an earlier version wrote, or this one when the home was elsewhere, is
    updated unless it was changed.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.local_home / "dagster").resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)  # run configs hold requests
    instance_settings = home / "dagster.yaml"
    expected = DAGSTER_YAML + ("" if _fits_in_a_url(home) else DAGSTER_YAML_STORAGE)
    if not instance_settings.exists() or _is_former(instance_settings, expected):
        write_text(str(instance_settings), expected)
    return home


def _fits_in_a_url(folder: Path) -> bool:
    """Whether Dagster's way to write the URL of a database there names that database."""
    return sqlite_url(folder / "runs.db") == f"sqlite:///{folder}/runs.db"


def _is_former(instance_settings: Path, expected: str) -> bool:
    written = instance_settings.read_bytes()
    ours = {DAGSTER_YAML.encode(), (DAGSTER_YAML + DAGSTER_YAML_STORAGE).encode()}
    return hashlib.sha256(written).hexdigest() in _FORMER_DAGSTER_YAML or written in ours - {
        expected.encode()
    }


def open_instance(settings: Settings) -> DagsterInstance:
    """Open the Dagster instance that ``make dev`` shows.

    Dagster checks for a database and then creates it: two commands that open a new home at once may
    both create it and leave it unusable, so a lock lets in one at a time.
    """
    home = dagster_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    with translate_storage_errors(home), locked(home / ".opening.lock"):
        for name in DATABASES:
            wait_until_usable(home / name, write=True)
        try:
            create_databases(home)
            instance = DagsterInstance.get()
            instance.all_asset_keys()  # the event index is created at its first use
        except Exception as error:
            if storage_error_message(error, home) is not None:
                raise
            raise StorageError(
                f"Dagster's storage in {home} cannot be opened ({error_text(error, limit=400)}): "
                f"migrate it (`DAGSTER_HOME={home} dagster instance migrate`), install "
                "the version of Dagster that created it, or set ML_ASSETS_HOME to another home"
            ) from error
    return instance


DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""Files of Dagster's SQLite storage, in its home."""

_UNFINISHED = ".new_databases.tmp"


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage, with URLs built by SQLAlchemy.

    ``dagster.yaml`` names it where the path of Dagster's home requires it.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        modules: tuple[Any, ...] = (sqlite_run_storage, sqlite_event_log, sqlite_schedule_storage)
        for module in modules:
            module.create_db_conn_string = _connection_string
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "SqliteStorage":
        """Create the storage from the configuration in ``dagster.yaml``."""
        return cls(config_value["base_dir"], inst_data)


def create_databases(dagster_home: Path) -> None:
    """Create the missing databases of a home, each atomically.

    The caller holds a lock. A home whose ``dagster.yaml`` names another storage is left alone.
    """
    base = _base_folder(dagster_home)
    missing = [] if base is None else [name for name in DATABASES if not tables(base / name)]
    if base is None or not missing:
        return
    unfinished = dagster_home / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)  # leftovers of a killed process
    try:
        unfinished.mkdir()
        with in_use(unfinished):
            SqliteStorage(str(unfinished))
            for name in missing:
                with closing(sqlite3.connect(unfinished / name)) as created:
                    created.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                with new_database(base / name) as temporary:
                    (unfinished / name).replace(temporary)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _base_folder(dagster_home: Path) -> Path | None:
    """Return the folder of Dagster's SQLite databases; None for another storage."""
    storage = InstanceRef.from_dir(str(dagster_home)).storage_data
    if storage is None:
        return None
    if storage.class_name == SqliteStorage.__name__:
        return dagster_home
    base = storage.config_dict.get("base_dir")
    if storage.class_name != DagsterSqliteStorage.__name__ or not isinstance(base, str):
        return None
    return Path(base)


def _connection_string(base_dir: str, db_name: str) -> str:
    return sqlite_url(Path(base_dir).absolute() / f"{db_name}.db")
