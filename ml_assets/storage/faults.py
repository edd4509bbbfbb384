"""What an error of a disk or a database means, and what to do about it, in one line.

SQLite and SQLAlchemy say that a statement failed, MLflow and Dagster that a request did; the cause
lies somewhere in the chain of errors.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ml_assets.secrets import one_line, scrub
from ml_assets.storage.atomic import NO_ROOM, StorageError
from ml_assets.storage.sqlite import BUSY_SECONDS

_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}
_MIN_FREE_BYTES = 1_000_000
"""With less than that a disk is full for SQLite, whatever it calls the error."""
_DAMAGED = ("file is not a database", "malformed", "file is encrypted")
_FULL = ("database or disk is full",)
_LOCKED = ("database is locked", "database table is locked", "database schema is locked")
_READ_ONLY = ("readonly database",)
_AMBIGUOUS = ("unable to open database file", "disk i/o error")
"""SQLite says so of a full disk and of a folder that cannot be written, and of much else."""


@contextlib.contextmanager
def storage_failures(place: str | Path) -> Iterator[None]:
    """Turn errors of the disk or the database in the block into a message for people.

    Args:
        place: The database, or the folder of databases, that the block works on.

    Raises:
        StorageError: in place of such an error; any other passes.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        line = storage_fault(error, place)
        if line is None:
            raise
        raise StorageError(line) from error


def storage_fault(error: BaseException, place: str | Path) -> str | None:
    """The cause and the way out; None when the error is of another kind.

    Args:
        error: Whatever was raised, by any library.
        place: The database, or the folder of databases, that was used.
    """
    place = Path(place)
    chain = [*_chain(error)]
    numbers = {each.errno for each in chain if isinstance(each, OSError)}
    texts = [str(each) for each in chain if _is_of_a_database(each)]
    told = " ".join(texts).lower()
    if numbers & NO_ROOM or _any(_FULL, told):
        return _full(place)
    if _any(_AMBIGUOUS, told):
        return _ambiguous(place, one_line(texts[-1]))
    if numbers & _UNWRITABLE or _any(_READ_ONLY, told):
        return _unwritable(_named(chain) or place)
    if _any(_LOCKED, told):
        return (
            f"{place} is locked by another process, which was waited for {BUSY_SECONDS:.0f} s: "
            "wait until that one has ended, or stop it"
        )
    if _any(_DAMAGED, told):
        return (
            f"{place} is damaged ({one_line(scrub(texts[-1]), 100)}): restore it from a backup, or "
            f"begin anew without what it holds (mv '{place}' '{place}.damaged')"
        )
    return None


def knock(database: Path, *, write: bool) -> None:
    """Wait until a SQLite database can be used, for as long as :data:`BUSY_SECONDS`.

    Args:
        database: Its file; one that is not there is none to wait for.
        write: Whether it is to be written to.

    Raises:
        StorageError: when it cannot be used; says why, and what to do.
    """
    if not database.exists():
        return
    with storage_failures(database):
        uri = f"{database.absolute().as_uri()}?mode={'rw' if write else 'ro'}"
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        ) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if write:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")


def _full(place: Path) -> str:
    return f"the disk of {place} is full: free space there, or set ML_ASSETS_HOME to another disk"


def _unwritable(place: Path) -> str:
    if os.access(place, os.F_OK) and not os.access(place, os.R_OK):
        return f"{place} cannot be read (no permission): make it readable for this user"
    return (
        f"{place} cannot be written (read-only, or without permission): make it writable, or set "
        "ML_ASSETS_HOME to a folder that is"
    )


def _ambiguous(place: Path, told: str) -> str:
    folder = next((each for each in (place, *place.parents) if each.is_dir()), Path("/"))
    if shutil.disk_usage(folder).free < _MIN_FREE_BYTES:
        return _full(place)
    if not os.access(folder, os.W_OK) or (place.is_file() and not os.access(place, os.W_OK)):
        return _unwritable(place)
    return (
        f"{place} cannot be opened or written ({told}: the disk fails or is full, or a limit on "
        "the size of files is reached): free space there, or set ML_ASSETS_HOME to another disk"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that led to it, also where SQLAlchemy keeps them.

    What an error of Python's own types was raised beside counts only if it is named as its cause: a
    ``KeyError`` while a locked database is handled is a mistake of its own.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        original = getattr(each, "orig", None)
        hidden = each.__suppress_context__ or type(each).__module__ == "builtins"
        waiting += [
            original if isinstance(original, BaseException) else None,
            each.__cause__,
            None if hidden else each.__context__,
        ]


def _is_of_a_database(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error)


def _named(chain: list[BaseException]) -> Path | None:
    """The file that the operating system named."""
    for each in chain:
        if isinstance(each, OSError) and each.errno in _UNWRITABLE and each.filename:
            return Path(os.fsdecode(each.filename))
    return None


def _any(phrases: tuple[str, ...], text: str) -> bool:
    return any(phrase in text for phrase in phrases)
