"""Write to a temporary name, then rename: a reader sees the old file or the new one, never half.

Local folders rename within the folder (atomic on POSIX). For URLs the finished local file is
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
from ml_assets.storage.leftovers import UNMARKED, in_use, remove_leftovers

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_FOLDER = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT}


class StorageError(ShownError, OSError):
    """Something could not be stored; names it, why, and the way out."""


@contextlib.contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Let one process of this machine at a time into the block.

    Args:
        lock: A file that is made if need be, and stays.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def atomic_write(target: str, *, marked: bool = True) -> Iterator[Path]:
    """A local temporary path that becomes ``target`` when the block ends without an error.

    Args:
        target: A local path or an fsspec URL.
        marked: Whether a local temporary file is marked as in use. Not so for databases: SQLite
            locks its files itself, and a network file system may take the one lock for the other.

    Yields:
        The path to write to, an empty file. On an error (a full disk, say) it is removed and the
        target is left as it was.
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
    ending = ".tmp" if marked else UNMARKED
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
    """Tell of a full disk or a home that cannot be written as such, and of the way out.

    Raises:
        StorageError: in place of the operating system's own error.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno in NO_ROOM:
            way_out = "free space on that disk, or set ML_ASSETS_HOME to another"
        elif error.errno in _NO_FOLDER:
            way_out = "make that folder writable, or set ML_ASSETS_HOME to one that is"
        else:
            raise
        raise StorageError(
            f"{target} could not be stored ({os.strerror(error.errno)}): {way_out}. What was "
            "there before is untouched"
        ) from error


def write_text(target: str, text: str) -> None:
    """Replace ``target`` (path or URL) by this text, whole or not at all.

    Raises:
        StorageError: when there is no room, or no permission to write.
    """
    with storage_errors(target), atomic_write(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
