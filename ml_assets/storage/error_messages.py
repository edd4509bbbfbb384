"""One-line explanations of disk and database errors, with the remedy.

SQLite and SQLAlchemy report that a statement failed, MLflow and Dagster that a request failed; the
cause is somewhere in the chain of errors.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ml_assets.secrets import one_line, scrub
from ml_assets.storage.atomic import DISK_FULL, StorageError
from ml_assets.storage.sqlite import BUSY_SECONDS

_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}
_MIN_FREE_BYTES = 1_000_000
"""With less free space the disk counts as full, whatever SQLite calls the error."""
_DAMAGED = ("file is not a database", "malformed", "file is encrypted")
_FULL = ("database or disk is full",)
_LOCKED = ("database is locked", "database table is locked", "database schema is locked")
_READ_ONLY = ("readonly database",)
_AMBIGUOUS = ("unable to open database file", "disk i/o error")
"""SQLite's messages for a full disk, an unwritable folder, and other causes."""


@contextlib.contextmanager
def translate_storage_errors(place: str | Path) -> Iterator[None]:
    """Raise StorageError for disk and database errors in the block; others are not changed."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        line = storage_error_message(error, place)
        if line is None:
            raise
        raise StorageError(line) from error


def storage_error_message(error: BaseException, place: str | Path) -> str | None:
    """Return the cause and the remedy; None for other kinds of errors.

    Args:
        place: The database, or the folder of databases, that was used.
    """
    place = Path(place)
    chain = [*_chain(error)]
    numbers = {each.errno for each in chain if isinstance(each, OSError)}
    texts = [str(each) for each in chain if isinstance(each, sqlite3.Error)]
    text = " ".join(texts).lower()
    if numbers & DISK_FULL or _any(_FULL, text):
        return _full(place)
    if _any(_AMBIGUOUS, text):
        return _ambiguous(place, one_line(texts[-1]))
    if numbers & _UNWRITABLE or _any(_READ_ONLY, text):
        return _unwritable(_named_file(chain) or place)
    if _any(_LOCKED, text):
        return (
            f"{place} is locked by another process, for more than {BUSY_SECONDS:.0f} s: "
            "wait until that process has ended, or stop it"
        )
    if _any(_DAMAGED, text):
        return (
            f"{place} is damaged ({one_line(scrub(texts[-1]), 100)}): restore it from a backup, or "
            f"start with an empty one (mv '{place}' '{place}.damaged')"
        )
    return None


def wait_until_usable(database: Path, *, write: bool) -> None:
    """Wait until an existing SQLite database can be read or written, at most :data:`BUSY_SECONDS`.

    Raises:
        StorageError: when it cannot be used; with the cause and the remedy.
    """
    if not database.exists():
        return
    with translate_storage_errors(database):
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


def _ambiguous(place: Path, message: str) -> str:
    folder = next((each for each in (place, *place.parents) if each.is_dir()), Path("/"))
    if shutil.disk_usage(folder).free < _MIN_FREE_BYTES:
        return _full(place)
    if not os.access(folder, os.W_OK) or (place.is_file() and not os.access(place, os.W_OK)):
        return _unwritable(place)
    return (
        f"{place} cannot be opened or written ({message}: the disk fails or is full, or a limit on "
        "the size of files is reached): free space there, or set ML_ASSETS_HOME to another disk"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, including SQLAlchemy's ``orig``.

    The context of a built-in error counts only as its explicit cause: a ``KeyError`` while a locked
    database is handled is a separate bug.
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


def _named_file(chain: list[BaseException]) -> Path | None:
    """Return the file that the operating system named."""
    for each in chain:
        if isinstance(each, OSError) and each.errno in _UNWRITABLE and each.filename:
            return Path(os.fsdecode(each.filename))
    return None


def _any(phrases: tuple[str, ...], text: str) -> bool:
    return any(phrase in text for phrase in phrases)
