"""Temporary files and folders: marked while they are in use, and removed after a kill.

The mark is an operating system lock on the file or folder, which ends with its process. It
distinguishes leftovers of killed processes from files of live ones.
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

MIN_AGE_SECONDS = 2.0
"""A younger file or folder is kept: it is marked right after it was created, not at once."""

STALE_SECONDS = 24 * 3600
"""On a file system without locks, files not written to for this time are leftovers."""

PROCESS_FOLDER: Final = "ml_assets_process_"
"""Prefix of each process's own folder in the system's temporary folder."""

UNMARKED_SUFFIX: Final = ".db.tmp"
"""Suffix of unfinished databases, which are created and cleaned up under their own lock."""

_KEPT_FOLDERS = {"mlartifacts", "request_log", "storage"}
"""Folders of a home that are skipped: others write there, or they hold no temporary files.
``dagster/storage`` has a folder for each run."""


@contextlib.contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Mark a temporary file or folder as used by this process until the block ends.

    Args:
        path: An existing file or folder; everything written to it under this name is marked.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: only the age counts
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove a folder's entries that match a glob pattern, unless a process uses them."""
    for path in folder.glob(pattern):
        # Another process may remove them too, and a shared folder holds files of other users.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            _remove_unless_used(path)


def clean_home(home: Path) -> None:
    """Remove the leftovers of killed processes from a local home, which need not exist."""
    for name, folders, _ in os.walk(home):
        folders[:] = [each for each in folders if each not in _KEPT_FOLDERS and each[0] != "."]
        for pattern in (".*.tmp", ".incoming_*"):
            remove_leftovers(Path(name), pattern)


@contextlib.contextmanager
def process_folder() -> Iterator[None]:
    """Keep the temporary files of this process, its children and its libraries in one folder.

    It is removed when the block ends or, after a kill, by the next process that creates one.
    """
    try:
        place = _shared_temporary_folder()
        folder = tempfile.mkdtemp(dir=place, prefix=PROCESS_FOLDER)
    except OSError:  # a command may need no temporary files; whatever needs one fails itself
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
        remove_leftovers(place, f"{PROCESS_FOLDER}*")  # some were too young at the start


def _shared_temporary_folder() -> Path:
    """Return the system's temporary folder, not the parent process's, which ends with it."""
    place = Path(tempfile.gettempdir())
    return place.parent if place.name.startswith(PROCESS_FOLDER) else place


def _remove_unless_used(path: Path) -> None:
    if path.name.endswith(UNMARKED_SUFFIX):
        return
    age = time.time() - path.lstat().st_mtime
    if abs(age) < MIN_AGE_SECONDS or path.is_symlink():
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
