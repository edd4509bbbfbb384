"""The SQLite database behind MLflow: created whole, migrated as a copy, moved with its home.

MLflow creates and migrates its tables with hundreds of statements without a transaction, and can
neither use nor complete what an interrupted attempt leaves. Here this happens in a file beside the
database, which replaces it once complete. The callers hold a lock.
"""

import logging
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow.db
import mlflow.store.db_migrations
from alembic.script import ScriptDirectory
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from ml_assets.config.sqlite_url import sqlite_url
from ml_assets.secrets import ShownError
from ml_assets.storage.leftovers import UNMARKED_SUFFIX
from ml_assets.storage.sqlite import connect, move_aside, new_database, remove_unfinished, tables

_LOG = logging.getLogger(__name__)
_LOCATIONS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("storage_location", "source"),
}
"""Where MLflow 3.17 keeps absolute paths of artifacts."""

_OF_A_NEW_DATABASE = {"alembic_version", "experiments", "workspaces"}
"""Tables that have rows in a new database."""


class UnusableDatabase(ShownError, RuntimeError):
    """A database that MLflow cannot use; the message names the file, the fault and the remedy."""


def prepare(database: Path, artifact_location: str) -> None:
    """Create the database, or migrate its schema to that of the installed MLflow.

    Args:
        database: The SQLite file. One left unfinished by an interrupted first start, with nothing
            logged to it, is set aside and created again.
        artifact_location: Folder or URL of artifacts; MLflow's experiment ``Default`` gets a
            folder there.

    Raises:
        UnusableDatabase: A newer MLflow made it, it cannot be migrated, or another process wrote
            to it during the migration. It is left unchanged.
        sqlite3.Error: It cannot be read.
    """
    found = tables(database)
    if not found:
        _create(database, artifact_location)
        return
    revision, scripts = _revision(database, found), _scripts()
    newest = scripts.get_current_head()
    if revision == newest:
        return
    if revision is not None and revision not in {
        each.revision for each in scripts.walk_revisions()
    }:
        raise UnusableDatabase(
            f"{database} was created by a newer MLflow (schema {revision}): install that version, "
            "or choose another home (ML_ASSETS_HOME)"
        )
    if _is_empty(database, found):
        aside = move_aside(database)
        _create(database, artifact_location)
        _LOG.warning(
            "%s was left unfinished by a first start that was interrupted, with nothing in it: "
            "it is created again, and the unfinished one kept as %s",
            database,
            aside.name,
        )
        return
    kept = _migrate(database, revision)
    _LOG.warning(
        "%s was migrated from MLflow's schema %s to %s; a copy of the old one is kept as %s",
        database,
        revision,
        newest,
        kept.name,
    )


def move_artifact_locations(database: Path, experiment: str, location: str, home: Path) -> None:
    """Point all artifact locations to the home that the database is in now.

    MLflow stores absolute paths. After a home was moved they are broken; in a copy they point
    into the original.

    Args:
        experiment: Name of the experiment whose artifact location is compared.
        location: Folder or URL where that experiment's artifacts belong.
        home: The home. A database outside of it may be shared with other homes: its locations are
            changed only when the old ones are gone and the artifacts are at the new ones.

    Raises:
        sqlite3.Error: The database cannot be read or written.
    """
    new = _local_folder(location)
    with closing(connect(database)) as connection:
        stored = connection.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)
        ).fetchone()
        if new is None or stored is None or stored[0] == location:
            return
        former = stored[0]
        old = _local_folder(former)
        if old is None:
            return
        if not database.is_relative_to(home) and not _has_moved(connection, old, new):
            return
        with connection:  # one transaction
            for table, columns in _LOCATIONS.items():
                for column in columns:
                    connection.execute(
                        f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
                        f"WHERE {column} = :old OR instr({column}, :old || '/') = 1",
                        {"new": location, "old": former},
                    )
    if old != new:
        _LOG.warning(
            "this home was moved or copied: MLflow's artifacts are read from and stored in %s from "
            "now on, no longer in %s",
            new,
            old,
        )


def _create(database: Path, artifact_location: str) -> None:
    with new_database(database) as temporary:
        SqlAlchemyStore(sqlite_url(temporary), artifact_location).engine.dispose()


@cache
def _scripts() -> ScriptDirectory:
    """Return MLflow's migrations; cached, since each step opens the store several times."""
    return ScriptDirectory(str(Path(mlflow.store.db_migrations.__path__[0])))


def _revision(database: Path, found: set[str]) -> str | None:
    """Return the schema's revision; None when the first migration did not record one."""
    if "alembic_version" not in found:
        return None
    with closing(connect(database)) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _migrate(database: Path, revision: str | None) -> Path:
    """Migrate a copy, then write it over the database in one SQLite transaction.

    Returns:
        The file with the database as it was before.
    """
    kept = database.with_name(f"{database.name}.schema-{revision}")
    migrated = database.with_name(f".{database.name}.migrated{UNMARKED_SUFFIX}")
    remove_unfinished(database)
    try:
        with closing(connect(database)) as current:
            state = _data_version(current)
            with new_database(kept) as copy:
                _copy(current, copy)
            _copy(current, migrated)
            mlflow.db.upgrade.main([sqlite_url(migrated)], standalone_mode=False)
            if _data_version(current) != state:
                raise RuntimeError("another process writes to it: stop that process first")
            with closing(connect(migrated)) as whole:
                whole.backup(current)
    except Exception as error:
        kept.unlink(missing_ok=True)
        cause = str(error).partition("\n")[0]
        raise UnusableDatabase(
            f"{database} cannot be migrated from MLflow's schema {revision} ({cause}). It is "
            "unchanged: fix the cause, restore it from a backup, or start without its runs and "
            f"models (mv '{database}' '{database}.old')"
        ) from error
    finally:
        remove_unfinished(database)
    return kept


def _copy(current: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        current.backup(copy)


def _data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection writes."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _is_empty(database: Path, found: set[str]) -> bool:
    """Whether nothing was logged there, whatever state the tables are in."""
    with closing(connect(database)) as connection:

        def has(query: str) -> bool:
            return connection.execute(f"{query} LIMIT 1").fetchone() is not None

        if any(has(f'SELECT 1 FROM "{table}"') for table in found - _OF_A_NEW_DATABASE):
            return False
        return "experiments" not in found or not has(
            "SELECT 1 FROM experiments WHERE name != 'Default'"
        )


def _has_moved(connection: sqlite3.Connection, old: Path, new: Path) -> bool:
    """Whether the old folder is gone and a stored model is in the new one."""
    if old.exists() or not new.exists():
        return False
    stored = connection.execute("SELECT artifact_location FROM logged_models").fetchall()
    folders = (_local_folder(location) for (location,) in stored)
    within = (each for each in folders if each is not None and each.is_relative_to(old))
    return any((new / each.relative_to(old)).exists() for each in within)


def _local_folder(location: str) -> Path | None:
    """Return the local folder of an artifact location; None for a remote one."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if "://" in location else Path(location)
