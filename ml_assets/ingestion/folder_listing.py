"""Find a month in a folder's listing: a file, a folder of parts, or an entry that is neither."""

import errno
import hashlib
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from ml_assets.ingestion.source import published_filename
from ml_assets.trips.month import Month
from ml_assets.trips.published_schema import TAXIS, shown_name

Entry = dict[str, Any]
"""fsspec's entry for a file or folder: ``name``, ``type``, ``size``, and more for some stores."""

# Names of content hashes in s3fs, adlfs, gcsfs, webdav; git hosts; Hugging Face; zip archives.
_CONTENT_TAGS = ("ETag", "etag", "md5Hash", "checksum", "sha", "blob_id", "CRC")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "modify", "created")

_DANGLING = "dangling"
_PART_ENDINGS = (".parquet", ".parq", ".pq")
_SPECIAL = (
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# 2023-01, 2023_01, 202301; not the first six digits of a longer number.
_MONTH_IN_NAME = re.compile(r"(?<!\d)([12]\d{3})[-_.]?(0[1-9]|1[0-2])(?!\d)")
_YEAR_FOLDER = re.compile(r"(?:\w+_)?(?:year|yr|y)=([12]\d{3})", re.IGNORECASE)
_MONTH_FOLDER = re.compile(r"(?:\w+_)?(?:month|mon|m)=0?(1[0-2]|[1-9])", re.IGNORECASE)
# .PARQUET, .pq, .parquet (1); not .parquet.gz
_PARQUET_NAME = re.compile(r"\.(parquet|parq|pq)( ?\(\d+\)|[-_ ]?copy)?$", re.IGNORECASE)
_LIKE_TRIPS = re.compile(r"tripdata|\.parq|=", re.IGNORECASE)


@dataclass(frozen=True)
class ListedMonth:
    """The listed file or parts of a month.

    Attributes:
        files: The file, or the parts in the order of their names.
        fault: Why it cannot be read; None when it can.
        is_unfinished: Whether its writer has marked it as incomplete.
    """

    files: tuple[Entry, ...]
    is_folder: bool = False
    fault: str | None = None
    is_unfinished: bool = False

    @property
    def version(self) -> str:
        """Identifier of this publication of the month."""
        if self.fault is not None:
            return f"unreadable: {self.fault}"
        if not self.is_folder:
            return _version(self.files[0])
        parts = "\n".join(f"{file_name(part)} {_version(part)}" for part in self.files)
        return f"{len(self.files)} parts, {hashlib.sha256(parts.encode()).hexdigest()[:16]}"

    @property
    def size_bytes(self) -> int | None:
        """Total size in bytes; None where the store does not list it."""
        sizes = [file.get("size") for file in self.files]
        known = [int(size) for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) and known else None

    def changed_at(self, filesystem: AbstractFileSystem) -> datetime | None:
        """Return when a local file changed last; None in a store, whose files are complete.

        An unfinished month counts as changed now.
        """
        if self.is_unfinished:
            return datetime.now(UTC)
        moments = [file.get("mtime") for file in self.files]
        known = [moment for moment in moments if isinstance(moment, int | float)]
        if not isinstance(filesystem, LocalFileSystem) or not known:
            return None
        return datetime.fromtimestamp(max(known), UTC)


def file_name(entry: Entry) -> str:
    """Return the last part of an entry's path."""
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def list_folder(filesystem: AbstractFileSystem, path: str) -> list[Entry]:
    """List a folder, following links; a broken link has the type ``dangling``."""
    return [_followed(filesystem, entry) for entry in filesystem.ls(path, detail=True)]


def listed_month(filesystem: AbstractFileSystem, entry: Entry) -> ListedMonth | None:
    """Interpret an entry with a month's name; None when it holds no data."""
    if entry["type"] == "file":
        return ListedMonth((entry,))
    if entry["type"] == "directory":
        return _parts(filesystem, entry)
    if entry["type"] == _DANGLING:
        return None
    return ListedMonth((), fault=f"is {_kind(entry)}, not a file: put a file in its place")


def near_misses(
    filesystem: AbstractFileSystem, entries: Iterable[Entry], taxi: str, months: Iterable[Month]
) -> dict[Month, str]:
    """Return files that resemble a missing month's file, and why they are not read."""
    missing = {*months}
    found: dict[Month, list[str]] = {}
    for entry in sorted(entries, key=file_name):
        for month in _months_of(filesystem, entry) & missing:
            found.setdefault(month, []).append(_why_not_read(entry, taxi, month))
    return {month: "; ".join(found[month][:3]) for month in sorted(found)}


def _followed(filesystem: AbstractFileSystem, entry: Entry) -> Entry:
    """Return a link's target, since a listing has the link's own time and size."""
    if not entry.get("islink"):
        return entry
    try:
        return {**filesystem.info(entry["name"]), "name": entry["name"]}
    except FileNotFoundError:
        return {**entry, "type": _DANGLING}
    except OSError as error:
        loop = error.errno == errno.ELOOP
        return {**entry, "type": "other", "fault": "a link to itself" if loop else None}


def _kind(entry: Entry) -> str:
    mode = int(entry.get("mode") or 0)
    special = next((name for is_of, name in _SPECIAL if is_of(mode)), "of another kind")
    return entry.get("fault") or special


def _parts(filesystem: AbstractFileSystem, folder: Entry) -> ListedMonth | None:
    """Return the parts in a folder; as in Hadoop, names with ``_`` or ``.`` first are not data."""
    try:
        entries = list_folder(filesystem, folder["name"])
    except OSError as error:
        why = f"is a folder that cannot be listed ({type(error).__name__}: {error.strerror})"
        return ListedMonth((), is_folder=True, fault=f"{why}: make it readable")
    if any(file_name(entry).startswith("_temporary") for entry in entries):
        fault = "is still being written: its folder holds a _temporary"
        return ListedMonth((), is_folder=True, fault=fault, is_unfinished=True)
    data = sorted(
        (entry for entry in entries if not file_name(entry).startswith(("_", "."))), key=file_name
    )
    other = [entry for entry in data if not _is_part(entry)]
    if other:
        names = ", ".join(shown_name(file_name(entry)) for entry in other[:3])
        fault = (
            f"is a folder that holds {names}, which is not a part file: only files named "
            "*.parquet may be in it, and no subfolders"
        )
        return ListedMonth((), is_folder=True, fault=fault)
    return ListedMonth(tuple(data), is_folder=True) if data else None


def _is_part(entry: Entry) -> bool:
    return entry["type"] == "file" and file_name(entry).lower().endswith(_PART_ENDINGS)


def _months_of(filesystem: AbstractFileSystem, entry: Entry) -> set[Month]:
    """Return the months that a name contains; for a Hive year folder, those of its subfolders."""
    name = file_name(entry)
    if _LIKE_TRIPS.search(name) is None:
        return set()
    year = _YEAR_FOLDER.fullmatch(name)
    if year is None or entry["type"] != "directory":
        return {Month(int(of[1]), int(of[2])) for of in _MONTH_IN_NAME.finditer(name)}
    try:
        below = filesystem.ls(entry["name"], detail=True)
    except OSError:
        return set()
    numbers = (_MONTH_FOLDER.fullmatch(file_name(inner)) for inner in below)
    return {Month(int(year[1]), int(number[1])) for number in numbers if number}


def _why_not_read(entry: Entry, taxi: str, month: Month) -> str:
    name, expected = file_name(entry), published_filename(taxi, month)
    if name == expected:
        if entry["type"] == _DANGLING:
            return f"{expected} is a broken link"
        return f"{expected} is a folder without part files (*.parquet)"
    other = next((kind for kind in TAXIS if name == published_filename(kind, month)), None)
    if other is not None:
        return f"{name} is there, of the other taxi: to read it, set ML_ASSETS_TAXI={other}"
    is_folder = entry["type"] == "directory"
    shown = f"{shown_name(name)}{'/' if is_folder else ''}"
    return f"{shown} is there, but only {expected} is read: {_remedy(name, is_folder=is_folder)}"


def _remedy(name: str, *, is_folder: bool) -> str:
    """Return how to make it readable; renaming does not turn a CSV file into Parquet."""
    if is_folder and _YEAR_FOLDER.fullmatch(name):
        return "move the month's folder out of it and rename it"
    if is_folder or _PARQUET_NAME.search(name):
        return "rename it"
    return "it has to be a Parquet file of that name"


def _version(entry: Mapping[str, Any]) -> str:
    """Return a content hash where the store lists one, else size and time."""
    for key in _CONTENT_TAGS:
        if entry.get(key):
            return str(entry[key]).strip('"')
    size = f"{entry.get('size', 'unknown')} bytes"
    for key in _TIMES:
        moment = entry.get(key)
        if isinstance(moment, int | float):
            moment = datetime.fromtimestamp(moment, UTC)
        if moment:
            shown = moment.isoformat() if isinstance(moment, datetime) else str(moment)
            return f"{size}, modified {shown}"
    return size
