"""Temporary files and folders: marked while they are used, and removed after a kill.

The mark is a lock of the operating system on the file or folder itself, which goes with the process
however that ends. So what a killed process has left is told from what a living one is writing.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

UNMARKED_SECONDS = 2.0
"""A file or folder gets its mark right after it was made: so young, it may still be about to."""

STALE_SECONDS = 24 * 3600
"""Where a file system knows no locks, what nobody has written to for so long is left over."""

PROCESS_FOLDER: Final = "ml_assets_process_"
"""Beginning of the names of processes' own folders, where the system keeps temporary files."""

UNMARKED: Final = ".db.tmp"
"""Ends the names of databases under way, which are made and tidied under a lock of their own."""

_KEPT_FOLDERS = {"mlartifacts", "request_log", "storage"}
"""Of a home; others write there, or nothing temporary lies there. ``dagster/storage`` has a folder
for each run."""


@contextlib.contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Mark a temporary file or folder as used by this process until the block ends.

    Args:
        path: Of a file or folder that exists; what is written to it under this name is marked too.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: its age has to do
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove files and folders whose name fits, unless a process uses them.

    Args:
        folder: Where they lie, not deeper.
        pattern: Of their names, as in :meth:`pathlib.Path.glob`.
    """
    for path in folder.glob(pattern):
        # Another process may be tidying, too, and a shared folder holds what others own.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            _remove_unless_used(path)


def tidy(home: Path) -> None:
    """Remove what killed processes have left in a local home.

    Args:
        home: Folder; one that is not there holds nothing.
    """
    for name, folders, _ in os.walk(home):
        folders[:] = [each for each in folders if each not in _KEPT_FOLDERS and each[0] != "."]
        for pattern in (".*.tmp", ".incoming_*"):
            remove_leftovers(Path(name), pattern)


@contextlib.contextmanager
def process_folder() -> Iterator[None]:
    """Keep temporary files of this process and its children in a folder of their own.

    It is removed when the block ends or, after a kill, by the next process that makes one.
    Libraries leave there what they were working on.
    """
    try:
        place = _shared_temporary_folder()
        folder = tempfile.mkdtemp(dir=place, prefix=PROCESS_FOLDER)
    except OSError:  # whatever needs a temporary file says so; a command may need none
        yield
        return
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    try:
        with in_use(Path(folder)):
            remove_leftovers(place, f"{PROCESS_FOLDER}*")
            tempfile.tempdir = os.environ["TMPDIR"] = folder
            yield
    finally:
        tempfile.tempdir = before[0]
        if before[1] is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = before[1]
        shutil.rmtree(folder, ignore_errors=True)  # children may still be ending
        remove_leftovers(place, f"{PROCESS_FOLDER}*")  # those that were too young at the start


def _shared_temporary_folder() -> Path:
    """Where the system keeps temporary files; not the folder of the process that started this one,
    which goes when that one ends.
    """
    place = Path(tempfile.gettempdir())
    return place.parent if place.name.startswith(PROCESS_FOLDER) else place


def _remove_unless_used(path: Path) -> None:
    if path.name.endswith(UNMARKED):
        return
    age = time.time() - path.lstat().st_mtime
    if abs(age) < UNMARKED_SECONDS or path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            if age < STALE_SECONDS:
                return
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)
