"""The files of the request log: JSON lines, for each UTC day and writing process one file or more.

Two processes never write to the same file, so nothing is interleaved, and a file that is torn is
torn by its own writer. They hold what people asked, so only their owner reads them.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

FOLDER: Final = "request_log"
"""Its name below the local home (``Settings.local_home``)."""

KEPT_DAYS: Final = 400
"""Older files are removed: a year, and a month to compare it with the one before."""

KEPT_BYTES: Final = 2 * 2**30
"""Of all files together, about eight million answers: beyond that the oldest files are removed."""

PART_BYTES: Final = 64 * 2**20
"""A day's file of this size is continued in another one, so that a part of a day can be removed."""

_FOR_THE_OWNER: Final = 0o600
_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})_[A-Za-z0-9-]+\.jsonl")


@dataclass(frozen=True)
class Appended:
    """What became of lines that were to be written.

    Attributes:
        lines: How many of them are whole on the disk, the first ones.
        torn: Whether a piece of another follows them.
        error: What stopped the writing; None when nothing did.
        size: Of the file then, in bytes, when all lines were written.
    """

    lines: int
    torn: bool = False
    error: OSError | None = None
    size: int = 0


def day_file(folder: Path, day: date, writer: str, part: int = 0) -> Path:
    """The file of a day and a writing process, or a later part of it."""
    further = f"-{part:06d}" if part else ""
    return folder / f"{day.isoformat()}_{writer}{further}.jsonl"


def day_files(folder: Path) -> Iterator[tuple[date, Path]]:
    """The log's files with their days, the oldest first; other names are passed over."""
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(folder.iterdir()):
            day = _day_of(path.name)
            if day is not None:
                yield day, path


def last_written(folder: Path) -> float | None:
    """When a file of the log was last written, in seconds since 1970; None when there is none."""
    return max((path.stat().st_mtime for _, path in day_files(folder)), default=None)


def append(path: Path, lines: Sequence[bytes], *, after_torn: bool = False) -> Appended:
    """Append lines, and cut off what an error leaves of one.

    Args:
        path: Made with its folder if it is not there.
        lines: Each with its end.
        after_torn: Whether the file ends with a piece of a line.
    """
    data = (b"\n" if after_torn else b"") + b"".join(lines)
    written = 0
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Opened each time: a file that was removed meanwhile would take lines and keep none.
        file = os.open(path, _APPENDING, _FOR_THE_OWNER)
    except OSError as error:
        return Appended(0, after_torn, error)
    try:
        while written < len(data):
            written += os.write(file, data[written:])
        return Appended(len(lines), size=os.fstat(file).st_size)
    except OSError as error:
        whole = data.rfind(b"\n", 0, written) + 1
        torn = written > whole and not _cut(file, written - whole)
        count = data.count(b"\n", 0, whole) - (after_torn and whole > 0)
        return Appended(count, torn or (after_torn and not written), error)
    finally:
        with contextlib.suppress(OSError):  # of a disk that says only now what it lost
            os.close(file)


def remove_before(folder: Path, today: date, kept_days: int = KEPT_DAYS) -> None:
    """Remove the files of days that are more than ``kept_days`` before today."""
    first = today - timedelta(days=kept_days)
    for day, path in day_files(folder):
        if day < first:
            path.unlink(missing_ok=True)


def remove_beyond(folder: Path, kept_bytes: int = KEPT_BYTES) -> int:
    """Remove the oldest files until all together have no more than ``kept_bytes``.

    Returns:
        How many were removed.
    """
    found = []
    for day, path in day_files(folder):
        with contextlib.suppress(FileNotFoundError):  # another process removes old files, too
            stat = path.stat()
            found.append((day, stat.st_mtime, path, stat.st_size))
    excess = sum(size for *_, size in found) - kept_bytes
    removed = 0
    for _, _, path, size in sorted(found):
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size
        removed += 1
    return removed


def restrict(folder: Path) -> None:
    """Keep others from reading the files, also those that an earlier version has written."""
    for _, path in day_files(folder):
        if path.stat().st_mode & 0o077:
            path.chmod(_FOR_THE_OWNER)


def _cut(file: int, excess: int) -> bool:
    """Take bytes off the end of a file; False where that cannot be done."""
    try:
        os.ftruncate(file, os.fstat(file).st_size - excess)
    except OSError:
        return False
    return True


def _day_of(name: str) -> date | None:
    match = _NAME.fullmatch(name)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None
