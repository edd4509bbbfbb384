"""The files of the request log: JSON lines, a file for each UTC day and writing process.

Two processes never write to the same file, so nothing is interleaved, and a file that is torn is
torn by its own writer.
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

_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})_[A-Za-z0-9-]+\.jsonl")


@dataclass(frozen=True)
class Appended:
    """What became of lines that were to be written.

    Attributes:
        lines: How many of them are whole on the disk, the first ones.
        torn: Whether a piece of another follows them.
        error: What stopped the writing; None when nothing did.
    """

    lines: int
    torn: bool = False
    error: OSError | None = None


def day_file(folder: Path, day: date, writer: str) -> Path:
    """The file of a day and a writing process."""
    return folder / f"{day.isoformat()}_{writer}.jsonl"


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
        path.parent.mkdir(parents=True, exist_ok=True)
        # Opened each time: a file that was removed meanwhile would take lines and keep none.
        file = os.open(path, _APPENDING, 0o666)
    except OSError as error:
        return Appended(0, after_torn, error)
    try:
        while written < len(data):
            written += os.write(file, data[written:])
        return Appended(len(lines))
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
