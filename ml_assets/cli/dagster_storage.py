"""Dagster's SQLite storage, created whole and in folders of any name.

Dagster creates its three databases by many statements, each committed on its own, and judges by
single tables whether one is there: after an interruption it stays without indexes and migrations.
It also pastes the path into a URL, where ``%41`` and ``?`` mean something else.
"""

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from ml_assets.config.sqlite_url import sqlite_url
from ml_assets.storage.leftovers import in_use
from ml_assets.storage.sqlite import creating, tables

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
    under_way = dagster_home / _UNDER_WAY
    shutil.rmtree(under_way, ignore_errors=True)  # of a process that was killed
    try:
        under_way.mkdir()
        with in_use(under_way):
            SqliteStorage(str(under_way))
            for name in missing:
                with closing(sqlite3.connect(under_way / name)) as created:
                    created.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                with creating(base / name) as temporary:
                    (under_way / name).replace(temporary)
    finally:
        shutil.rmtree(under_way, ignore_errors=True)


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
