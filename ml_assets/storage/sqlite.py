"""Create SQLite databases atomically.

Libraries create their tables in many separate commits: a process that ends meanwhile leaves a
database that they can neither use nor complete.
"""

import contextlib
import glob
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ml_assets.storage.atomic import atomic_write

SIDE_FILES = ("-journal", "-wal", "-shm")
"""Suffixes of SQLite's files beside a database, which a rename of the database does not move."""

BUSY_SECONDS = 30.0
"""How long to wait for another process that writes; Dagster's own timeout."""


@contextlib.contextmanager
def new_database(database: Path) -> Iterator[Path]:
    """Create a database at a temporary path that becomes ``database`` when the block succeeds.

    The caller holds a lock: leftovers of earlier attempts are removed first.

    Yields:
        The temporary path; no connection to it may be open when the block ends.
    """
    remove_unfinished(database)
    try:
        with atomic_write(str(database), marked=False) as temporary:
            yield temporary
            with closing(sqlite3.connect(temporary)) as created:
                created.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            # The journal of a removed database would be replayed into this one.
            for ending in SIDE_FILES:
                Path(f"{database}{ending}").unlink(missing_ok=True)
    finally:
        remove_unfinished(database)


def remove_unfinished(database: Path) -> None:
    """Remove unfinished attempts of killed processes to create this database."""
    for attempt in database.parent.glob(f".{glob.escape(database.name)}.*.tmp*"):
        attempt.unlink(missing_ok=True)


def move_aside(database: Path) -> Path:
    """Rename a database, appending ``.unfinished``, so that a new one can be created.

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
    """Connect to an existing database; unlike ``sqlite3.connect``, raise when there is none."""
    uri = f"{database.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)


def tables(database: Path) -> set[str]:
    """Return the names of a database's tables; none when the file is missing or empty.

    Raises:
        sqlite3.Error: when it cannot be read.
    """
    if not database.exists() or database.stat().st_size == 0:
        return set()
    with closing(connect(database)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in found}
