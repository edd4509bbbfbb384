"""The SQLite database behind MLflow: created whole, migrated as a copy, moved with its home.

MLflow creates and migrates its tables by hundreds of statements without a transaction, and can
neither use nor complete what an interrupted attempt leaves. Here that happens to a file beside the
database, which takes its place once it is whole. All of it is to be called under a lock.
"""

import logging
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ml_assets.config.sqlite_url import sqlite_url
from ml_assets.secrets import ShownError
from ml_assets.storage.leftovers import UNMARKED_SUFFIX
from ml_assets.storage.sqlite import connect, move_aside, new_database, remove_unfinished, tables

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

_LOG = logging.getLogger(__name__)
_LOCATIONS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("storage_location", "source"),
}
"""Where MLflow 3.17 keeps absolute paths of artifacts."""

_OF_A_NEW_DATABASE = {"alembic_version", "experiments", "workspaces"}
"""Tables with rows before anybody has tracked anything."""


class UnusableDatabase(ShownError, RuntimeError):
    """A database that MLflow cannot use; names the file, what is wrong and the way out."""


def prepare(database: Path, artifact_location: str) -> None:
    """Create the database, or bring its schema to that of the installed MLflow.

    Args:
        database: Its file. One that an interrupted first start left unfinished, with nothing
            tracked in it, is set aside and made again.
        artifact_location: Folder or URL of artifacts; MLflow's experiment ``Default`` gets a
            folder there.

    Raises:
        UnusableDatabase: when a newer MLflow has made it, when it cannot be migrated, or when
            another process writes to it meanwhile. It is left as it was.
        sqlite3.Error: when it cannot be read.
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
            f"{database} was made by a newer MLflow (schema {revision}): install that version, or "
            "choose another home (ML_ASSETS_HOME)"
        )
    if _holds_nothing(database, found):
        aside = move_aside(database)
        _create(database, artifact_location)
        _LOG.warning(
            "%s was left unfinished by a first start that was interrupted, with nothing in it: "
            "it is made again, and the unfinished one kept as %s",
            database,
            aside.name,
        )
        return
    kept = _migrate(database, revision)
    _LOG.warning(
        "%s was migrated from MLflow's schema %s to %s; the one before is kept as %s",
        database,
        revision,
        newest,
        kept.name,
    )


def move_artifact_locations(database: Path, experiment: str, location: str, home: Path) -> None:
    """Have artifacts looked for, and stored, in the home that the database is in now.

    MLflow stores their absolute paths. After a home was moved they lead nowhere; in a copy they
    lead into the original.

    Args:
        database: Its file.
        experiment: Name of the experiment whose artifact location is compared.
        location: Where that experiment's artifacts belong, a folder or a URL.
        home: A database outside of it may be shared with other homes: its locations are changed
            only when nothing is left at the old ones and what they name is at the new ones.

    Raises:
        sqlite3.Error: when it cannot be read or written.
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
        with connection:  # all of them in one transaction
            for table, columns in _LOCATIONS.items():
                for column in columns:
                    connection.execute(
                        f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
                        f"WHERE {column} = :old OR instr({column}, :old || '/') = 1",
                        {"new": location, "old": former},
                    )
    if old != new:
        _LOG.warning(
            "this home was moved or copied: artifacts of MLflow are looked for and stored in %s "
            "from now on, no longer in %s",
            new,
            old,
        )


def _create(database: Path, artifact_location: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with new_database(database) as temporary:
        SqlAlchemyStore(sqlite_url(temporary), artifact_location).engine.dispose()


@cache
def _scripts() -> "ScriptDirectory":
    """MLflow's migrations; each step opens the store several times."""
    import mlflow.store.db_migrations
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(mlflow.store.db_migrations.__path__[0])))


def _revision(database: Path, found: set[str]) -> str | None:
    """The schema's revision; None when the first migration has not got that far."""
    if "alembic_version" not in found:
        return None
    with closing(connect(database)) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _migrate(database: Path, revision: str | None) -> Path:
    """Migrate a copy, and write it over the database in one transaction of SQLite.

    Returns:
        The database as it was before, under another name.
    """
    import mlflow.db

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
                raise RuntimeError("another process writes to it: stop that one first")
            with closing(connect(migrated)) as whole:
                whole.backup(current)
    except Exception as error:
        kept.unlink(missing_ok=True)
        cause = str(error).partition("\n")[0]
        raise UnusableDatabase(
            f"{database} cannot be migrated from MLflow's schema {revision} ({cause}). It is as it "
            f"was: mend that, restore it from a backup, or begin anew without its runs and models "
            f"(mv '{database}' '{database}.old')"
        ) from error
    finally:
        remove_unfinished(database)
    return kept


def _copy(current: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        current.backup(copy)


def _data_version(connection: sqlite3.Connection) -> int:
    """A number that changes when another connection writes."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _holds_nothing(database: Path, found: set[str]) -> bool:
    """Whether nobody has tracked anything there, whatever state the tables are in."""
    with closing(connect(database)) as connection:

        def has(query: str) -> bool:
            return connection.execute(f"{query} LIMIT 1").fetchone() is not None

        if any(has(f'SELECT 1 FROM "{table}"') for table in found - _OF_A_NEW_DATABASE):
            return False
        return "experiments" not in found or not has(
            "SELECT 1 FROM experiments WHERE name != 'Default'"
        )


def _has_moved(connection: sqlite3.Connection, old: Path, new: Path) -> bool:
    """Whether nothing is left at the old place, and something that was stored is at the new."""
    if old.exists() or not new.exists():
        return False
    stored = connection.execute("SELECT artifact_location FROM logged_models").fetchall()
    folders = (_local_folder(location) for (location,) in stored)
    within = (each for each in folders if each is not None and each.is_relative_to(old))
    return any((new / each.relative_to(old)).exists() for each in within)


def _local_folder(location: str) -> Path | None:
    """The folder that a location of artifacts stands for; None when it lies elsewhere."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if "://" in location else Path(location)
