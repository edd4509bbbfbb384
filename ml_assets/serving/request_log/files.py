"""Files of the request log: JSON lines, one or more files per UTC day and writing process.

No two processes write to the same file, so lines are never interleaved. Files are readable by their
owner only, since they contain users' requests.
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
"""Folder name below the local home (``Settings.local_home``)."""

MAX_DAYS: Final = 400
"""Files of older days are removed: a year, and a month to compare with the previous year."""

MAX_BYTES: Final = 2 * 2**30
"""Size of all files, about eight million predictions, above which the oldest are removed."""

PART_BYTES: Final = 64 * 2**20
"""Size at which a new file is started, so that a part of a day can be removed."""

_OWNER_ONLY: Final = 0o600
_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})_[A-Za-z0-9-]+\.jsonl")


@dataclass(frozen=True)
class AppendResult:
    """Result of appending lines.

    Attributes:
        lines: Number of lines that were written completely.
        torn: Whether a part of another line follows them.
        error: Error that stopped the write; None without one.
        size: Size of the file in bytes; 0 after an error.
    """

    lines: int
    torn: bool = False
    error: OSError | None = None
    size: int = 0


def day_file(folder: Path, day: date, writer: str, part: int = 0) -> Path:
    """Return the path of a day's file, or of a later part of it, for a writing process."""
    suffix = f"-{part:06d}" if part else ""
    return folder / f"{day.isoformat()}_{writer}{suffix}.jsonl"


def day_files(folder: Path) -> Iterator[tuple[date, Path]]:
    """Yield the log's files with their days, oldest first; other files are ignored."""
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(folder.iterdir()):
            day = _day_of(path.name)
            if day is not None:
                yield day, path


def last_written(folder: Path) -> float | None:
    """Return the time of the last write, in seconds since 1970; None when there are no files."""
    return max((path.stat().st_mtime for _, path in day_files(folder)), default=None)


def append(path: Path, lines: Sequence[bytes], *, after_torn: bool = False) -> AppendResult:
    """Append lines; after an error, the part of a line that was written is cut off.

    Args:
        path: File; created with its folder if missing.
        after_torn: Whether the file ends with a part of a line.
    """
    data = (b"\n" if after_torn else b"") + b"".join(lines)
    written = 0
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Opened each time: writes to a file that has been removed would be lost.
        file = os.open(path, _APPENDING, _OWNER_ONLY)
    except OSError as error:
        return AppendResult(0, after_torn, error)
    try:
        while written < len(data):
            written += os.write(file, data[written:])
        return AppendResult(len(lines), size=os.fstat(file).st_size)
    except OSError as error:
        complete = data.rfind(b"\n", 0, written) + 1
        torn = written > complete and not _truncate(file, written - complete)
        count = data.count(b"\n", 0, complete) - (after_torn and complete > 0)
        return AppendResult(count, torn or (after_torn and not written), error)
    finally:
        with contextlib.suppress(OSError):  # some disks report lost data only here
            os.close(file)


def remove_old(folder: Path, today: date, max_days: int = MAX_DAYS) -> None:
    """Remove the files of days that are more than ``max_days`` before today."""
    first = today - timedelta(days=max_days)
    for day, path in day_files(folder):
        if day < first:
            path.unlink(missing_ok=True)


def remove_excess(folder: Path, max_bytes: int = MAX_BYTES) -> int:
    """Remove the oldest files until the size of all files is at most ``max_bytes``.

    Returns:
        Number of removed files.
    """
    files = []
    for day, path in day_files(folder):
        with contextlib.suppress(FileNotFoundError):  # another process may have removed it
            stat = path.stat()
            files.append((day, stat.st_mtime, path, stat.st_size))
    excess = sum(size for *_, size in files) - max_bytes
    removed = 0
    for _, _, path, size in sorted(files):
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size
        removed += 1
    return removed


def restrict(folder: Path) -> None:
    """Make the files readable by their owner only, also those that earlier versions wrote."""
    for _, path in day_files(folder):
        if path.stat().st_mode & 0o077:
            path.chmod(_OWNER_ONLY)


def _truncate(file: int, count: int) -> bool:
    """Remove bytes from the end of a file; returns False if that is not possible."""
    try:
        os.ftruncate(file, os.fstat(file).st_size - count)
    except OSError:
        return False
    return True


def _day_of(name: str) -> date | None:
    match = _NAME.fullmatch(name)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None
