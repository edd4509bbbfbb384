"""SQLite databases that are created whole or not at all.

Libraries create their tables by many statements, each committed on its own: a process that ends
meanwhile leaves a database that they can neither use nor complete.
"""

import contextlib
import glob
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ml_assets.storage.atomic import atomic_write

SIDE_FILES = ("-journal", "-wal", "-shm")
"""What SQLite keeps beside a database, by how the name ends: a changed name leaves them behind."""

BUSY_SECONDS = 30.0
"""How long to wait for another process that writes; as long as Dagster does."""


@contextlib.contextmanager
def creating(database: Path) -> Iterator[Path]:
    """A temporary path that becomes this database when the block ends without an error.

    To be entered under a lock: what an earlier process left of its attempt is removed first.

    Args:
        database: What is not there yet, or is empty.

    Yields:
        The path to create it at; no connection to it may be open when the block ends.
    """
    remove_attempts(database)
    try:
        with atomic_write(str(database), marked=False) as temporary:
            yield temporary
            with closing(sqlite3.connect(temporary)) as created:
                created.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            # A journal of a database that was removed would be played back into this one.
            _unlink(database, SIDE_FILES)
    finally:
        remove_attempts(database)


def remove_attempts(database: Path) -> None:
    """Remove what processes that were killed left of their attempts to create this database."""
    for attempt in database.parent.glob(f".{glob.escape(database.name)}.*.tmp*"):
        attempt.unlink(missing_ok=True)


def set_aside(database: Path) -> Path:
    """Give a database another name, ``.unfinished`` behind its own, so that a new one is made.

    Returns:
        The new path.
    """
    number, aside = 1, database.with_name(f"{database.name}.unfinished")
    while aside.exists():
        number += 1
        aside = database.with_name(f"{database.name}.unfinished-{number}")
    for ending in SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{database}{ending}").rename(f"{aside}{ending}")
    return database.rename(aside)


def connect(database: Path) -> sqlite3.Connection:
    """Connect to a database that exists; unlike ``sqlite3.connect`` it makes no empty one.

    Raises:
        sqlite3.Error: when it is not there.
    """
    uri = f"{database.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)


def tables(database: Path) -> set[str]:
    """Names of a database's tables; none when the file is not there or empty.

    Raises:
        sqlite3.Error: when it cannot be read.
    """
    if not database.exists() or database.stat().st_size == 0:
        return set()
    with closing(connect(database)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in found}


def _unlink(database: Path, endings: tuple[str, ...]) -> None:
    for ending in endings:
        Path(f"{database}{ending}").unlink(missing_ok=True)
