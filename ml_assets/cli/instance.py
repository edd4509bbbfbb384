"""Dagster's own home: made on first use, with settings that suit one machine."""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from ml_assets.storage.faults import (
    storage_error_message,
    translate_storage_errors,
    wait_until_usable,
)
from ml_assets.storage.leftovers import in_use
from ml_assets.storage.sqlite import new_database, tables

if TYPE_CHECKING:
    from dagster import DagsterInstance

DAGSTER_YAML = """\
# Written once by ml-assets; yours to change.
telemetry:
  enabled: false
# No invitation to Dagster's community in front of the first page.
nux:
  enabled: false
# A run that does not start, or does not stop, within three minutes is ended. (One whose process
# was killed is noticed by the project's sensor fail_orphaned_runs, not by this.)
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
# A run whose process was killed is started again, twice at most, from where it was. Not so one that
# a step has failed: what may pass is asked for again by the project's sensors, later each time.
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
# A press waits a second for its run to be launched, not five.
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
"""Follows the rest where the home's path has ``%41``, ``?`` or the like in it."""

_FORMER_DAGSTER_YAML = {
    "43ed54f96beb30ad16cebdfc0b16d8786f988204113a6d4c6c75464c0d1e1cb7",
    "a7f8bf3e1be7bbe82dae5bde7e125dbf12634e4d3dbdbbce56c9f1283e421a6f",
}
"""SHA-256 of what was written before; such a file is replaced, one that was changed is not."""


def dagster_home(settings: Settings) -> Path:
    """``DAGSTER_HOME``, or a folder under ``ML_ASSETS_HOME``; made with its ``dagster.yaml``.

    A ``dagster.yaml`` that an earlier version wrote, or this one when the home was elsewhere, and
    nobody changed, is brought up to date.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.local_home / "dagster").resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)  # run configs hold requests
    instance_settings = home / "dagster.yaml"
    wanted = DAGSTER_YAML + ("" if _fits_in_a_url(home) else DAGSTER_YAML_STORAGE)
    if not instance_settings.exists() or _is_former(instance_settings, wanted):
        write_text(str(instance_settings), wanted)
    return home


def _fits_in_a_url(folder: Path) -> bool:
    """Whether Dagster's way to write the URL of a database there names that database."""
    return sqlite_url(folder / "runs.db") == f"sqlite:///{folder}/runs.db"


def _is_former(instance_settings: Path, wanted: str) -> bool:
    written = instance_settings.read_bytes()
    ours = {DAGSTER_YAML.encode(), (DAGSTER_YAML + DAGSTER_YAML_STORAGE).encode()}
    return hashlib.sha256(written).hexdigest() in _FORMER_DAGSTER_YAML or written in ours - {
        wanted.encode()
    }


def open_instance(settings: Settings) -> "DagsterInstance":
    """The Dagster instance in that home, the same that ``make dev`` shows.

    Dagster looks whether a database is there and then makes it: of two commands that open a new
    home at once, both may make it, and leave one that neither can open any more. So they enter one
    after the other.
    """
    home = dagster_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    from dagster import DagsterInstance

    with translate_storage_errors(home), locked(home / ".opening.lock"):
        for name in DATABASES:
            wait_until_usable(home / name, write=True)
        try:
            create_databases(home)
            instance = DagsterInstance.get()
            instance.all_asset_keys()  # the index of events is made when it is first asked for
        except Exception as error:
            if storage_error_message(error, home) is not None:
                raise
            raise StorageError(
                f"Dagster's storage in {home} cannot be opened ({error_text(error, limit=400)}): "
                f"bring it up to date (`DAGSTER_HOME={home} dagster instance migrate`), install "
                "the version of Dagster that made it, or set ML_ASSETS_HOME to another home"
            ) from error
    return instance


DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""Of Dagster's SQLite storage, in its home."""

_UNDER_WAY = ".new_databases.tmp"


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's own storage, with URLs that SQLAlchemy builds.

    ``dagster.yaml`` names it where the path of Dagster's home needs that.
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
        """Make it as ``dagster.yaml`` says."""
        return cls(config_value["base_dir"], inst_data)


def create_databases(dagster_home: Path) -> None:
    """Create the databases that are missing in a home, each whole or not at all.

    To be called under a lock. A home whose ``dagster.yaml`` names another storage is left alone.
    """
    base = _base_folder(dagster_home)
    missing = [] if base is None else [name for name in DATABASES if not tables(base / name)]
    if base is None or not missing:
        return
    active_run = dagster_home / _UNDER_WAY
    shutil.rmtree(active_run, ignore_errors=True)  # of a process that was killed
    try:
        active_run.mkdir()
        with in_use(active_run):
            SqliteStorage(str(active_run))
            for name in missing:
                with closing(sqlite3.connect(active_run / name)) as created:
                    created.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                with new_database(base / name) as temporary:
                    (active_run / name).replace(temporary)
    finally:
        shutil.rmtree(active_run, ignore_errors=True)


def _base_folder(dagster_home: Path) -> Path | None:
    """Where Dagster keeps SQLite databases; None when it does not, or somewhere of its own."""
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
