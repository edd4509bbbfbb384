"""Months in a folder: on this machine, or in any store that fsspec opens."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations, registry

from ml_assets.secrets import error_text, without_credentials
from ml_assets.sources.landing import landing
from ml_assets.sources.published import (
    OTHER_SOURCES,
    Progress,
    PublishedMonth,
    RepublishedMeanwhile,
    SourceUnavailable,
    WrongSource,
    published_filename,
)
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits

_CHUNK_BYTES = 1024 * 1024
# What stores call them: s3fs, adlfs, gcsfs, webdav; git hosts; Hugging Face; zip archives.
_CONTENT_TAGS = ("ETag", "etag", "md5Hash", "checksum", "sha", "blob_id", "CRC")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "modify", "created")


class FolderSource:
    """A folder that holds the published files, read afresh at each call.

    Args:
        folder: a path (``~`` and relative ones too) or an fsspec URL.
        taxi: ``green`` or ``yellow``.
        limits: how large a month may be; by default that of the taxi.

    Raises:
        WrongSource: when fsspec knows no such protocol, or a local folder does not exist. A remote
            store is first touched by ``published``.
    """

    synthetic = False

    def __init__(self, folder: str, taxi: str, limits: MonthLimits | None = None) -> None:
        self._limits = limits
        self.name = without_credentials(folder)
        self.taxi = taxi
        self._folder = folder
        for piece in folder.split("::"):
            protocol = split_protocol(piece)[0]
            if protocol and protocol not in known_implementations and protocol not in registry:
                raise WrongSource(folder, f"fsspec knows no protocol {protocol}://", taxi)
        if split_protocol(folder)[0] in (None, "file", "local") and "::" not in folder:
            self._entries()

    def published(self, months: Iterable[Month]) -> dict[Month, PublishedMonth]:
        """Those of the months whose file is in the folder, by one listing of it.

        Raises:
            WrongSource: when there is no such folder.
            SourceUnavailable: when the folder cannot be listed.
        """
        filesystem, entries = self._entries()
        there: dict[Month, PublishedMonth] = {}
        for month in months:
            entry = entries.get(published_filename(self.taxi, month))
            if entry is not None:
                location = _shown(filesystem, entry["name"])
                there[month] = PublishedMonth(
                    month,
                    self.taxi,
                    location,
                    _version(entry),
                    entry.get("size"),
                    _changed_at(filesystem, entry),
                )
        return there

    def fetch(
        self, published: PublishedMonth, destination: Path, progress: Progress | None = None
    ) -> None:
        """Copy one month; see ``TripSource.fetch`` for what is raised and kept."""
        filesystem, entries = self._entries()
        entry = self._same(published, entries)
        with landing(published, destination, self._limits) as file:
            with self._failures(published.location):
                source = filesystem.open(entry["name"], "rb")
            with source:
                while True:
                    with self._failures(published.location):
                        chunk = source.read(_CHUNK_BYTES)
                    if not chunk:
                        break
                    file.write(chunk)
                    if progress is not None:
                        progress(file.tell(), published.size_bytes)
            # A file replaced while it was read would be half the one and half the other.
            self._same(published, self._entries()[1])

    def _same(
        self, published: PublishedMonth, entries: dict[str, dict[str, Any]]
    ) -> dict[str, Any]:
        entry = entries.get(published_filename(self.taxi, published.month))
        if entry is None:
            raise SourceUnavailable(
                f"{published.location} was listed, but is no longer there: list the months again"
            )
        if _version(entry) != published.version:
            raise RepublishedMeanwhile(
                f"{published.location} was republished between listing and fetching (version "
                f"{published.version}, now {_version(entry)}): list the months again, then fetch"
            )
        return entry

    def _entries(self) -> tuple[AbstractFileSystem, dict[str, dict[str, Any]]]:
        """The filesystem, and what its listing tells of each file in the folder, by file name."""
        with self._failures(self.name):
            try:
                filesystem, path = url_to_fs(self._folder)
            except (ImportError, ValueError) as error:
                raise WrongSource(self._folder, str(error), self.taxi) from error
            try:
                filesystem.invalidate_cache()
                listed = filesystem.ls(path, detail=True)
                entries = [_followed(filesystem, entry) for entry in listed]
            except FileNotFoundError as error:
                raise WrongSource(self._folder, "there is no such folder", self.taxi) from error
        files = [entry for entry in entries if entry is not None and entry["type"] == "file"]
        if [file["name"] for file in files] == [path]:
            raise WrongSource(self._folder, "this is a file, not a folder", self.taxi)
        return filesystem, {file["name"].rpartition("/")[2]: file for file in files}

    @contextmanager
    def _failures(self, location: str) -> Iterator[None]:
        try:
            yield
        except (WrongSource, SourceUnavailable):
            raise
        except Exception as error:  # each store raises its own kinds; many are no OSError
            raise SourceUnavailable(
                f"{location} could not be read ({error_text(error, self._folder)}); {OTHER_SOURCES}"
            ) from error


def _followed(filesystem: AbstractFileSystem, entry: dict[str, Any]) -> dict[str, Any] | None:
    """The target of a link, whose own time and size a listing gives; None for a dangling one."""
    if not entry.get("islink"):
        return entry
    try:
        return {**filesystem.info(entry["name"]), "name": entry["name"]}
    except FileNotFoundError:
        return None


def _version(entry: dict[str, Any]) -> str:
    """A tag of the content where the store has one, else size and time."""
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


def _changed_at(filesystem: AbstractFileSystem, entry: dict[str, Any]) -> datetime | None:
    """When a file of this machine changed last; what a store lists was written whole."""
    moment = entry.get("mtime")
    if not isinstance(filesystem, LocalFileSystem) or not isinstance(moment, int | float):
        return None
    return datetime.fromtimestamp(moment, UTC)


def _shown(filesystem: AbstractFileSystem, path: str) -> str:
    if isinstance(filesystem, LocalFileSystem):
        return path
    return without_credentials(filesystem.unstrip_protocol(path))
