"""Atomic writes: write a temporary file, then rename it, so that readers never see half a file.

A local file is renamed within its folder (atomic on POSIX). For a URL, the finished local file is
uploaded in one put, which object stores make visible only when it is complete.
"""

import contextlib
import errno
import fcntl
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec

from ml_assets.secrets import ShownError
from ml_assets.storage.filesystem import local_path
from ml_assets.storage.leftovers import UNMARKED_SUFFIX, in_use, remove_leftovers

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_FOLDER = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT}


class StorageError(ShownError, OSError):
    """A file could not be stored; names the file, the cause and the remedy."""


@contextlib.contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Run the block in one process of this machine at a time, and in one of its threads.

    Args:
        lock: The lock file; it is created if necessary, and kept.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def atomic_write(target: str, *, marked: bool = True) -> Iterator[Path]:
    """Replace ``target`` by a temporary file when the block ends without an error.

    Args:
        target: A local path or an fsspec URL.
        marked: Whether a local temporary file is marked as in use. False for databases: SQLite
            locks its files itself, and a network file system may confuse the two locks.

    Yields:
        The local path to write to, an empty file. After an error (a full disk, say) it is removed
        and the target is unchanged.
    """
    final = local_path(target)
    if final is None:
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / target.rsplit("/", 1)[-1]
            yield temporary
            file_system, path = fsspec.core.url_to_fs(target)
            file_system.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            file_system.put_file(str(temporary), path)
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(final.parent, ".*.tmp")
    ending = ".tmp" if marked else UNMARKED_SUFFIX
    temporary = final.parent / f".{final.name}.{uuid.uuid4().hex}{ending}"
    temporary.touch(exist_ok=False)
    try:
        with in_use(temporary) if marked else contextlib.nullcontext():
            yield temporary
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def storage_errors(target: str) -> Iterator[None]:
    """Raise StorageError, with the remedy, for a full disk or an unwritable home in the block."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno in DISK_FULL:
            remedy = "free space on that disk, or set ML_ASSETS_HOME to another"
        elif error.errno in _NO_FOLDER:
            remedy = "make that folder writable, or set ML_ASSETS_HOME to one that is"
        else:
            raise
        raise StorageError(
            f"{target} could not be stored ({os.strerror(error.errno)}): {remedy}. Existing data "
            "are unchanged"
        ) from error


def write_text(target: str, text: str) -> None:
    """Replace ``target`` (path or URL) by this text, atomically.

    Raises:
        StorageError: when the disk is full or not writable.
    """
    with storage_errors(target), atomic_write(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
