"""Months in a folder: on this machine, or in any store that fsspec opens."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fsspec import AbstractFileSystem
from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations, registry

from ml_assets.ingestion.folder_listing import (
    Entry,
    ListedMonth,
    file_name,
    list_folder,
    listed_month,
    near_misses,
)
from ml_assets.ingestion.part_files import join_parts
from ml_assets.ingestion.source import (
    OTHER_SOURCES,
    ChangedDuringDownload,
    InvalidFile,
    InvalidSource,
    Progress,
    PublishedMonth,
    SourceUnavailable,
    published_filename,
)
from ml_assets.ingestion.staging import landing
from ml_assets.secrets import error_text, without_credentials
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits
from ml_assets.trips.published_schema import TripSchemaError

_CHUNK_BYTES = 1024 * 1024


class FolderSource:
    """A folder that holds the published files, read afresh at each call.

    A month may also be a folder of part files under the month's file name, as Spark and Dask write
    one; ``part_files`` says how it is read.

    Args:
        folder: a path (``~`` and relative ones too) or an fsspec URL.
        taxi: ``green`` or ``yellow``.
        limits: how large a month may be; by default that of the taxi.

    Raises:
        InvalidSource: when fsspec knows no such protocol, or a local folder does not exist. A
            remote store is first touched by ``published``.
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
                raise InvalidSource(folder, f"fsspec knows no protocol {protocol}://", taxi)
        if split_protocol(folder)[0] in (None, "file", "local") and "::" not in folder:
            self._entries()

    def published(self, months: Iterable[Month]) -> dict[Month, PublishedMonth]:
        """Those of the months whose file, or folder of parts, is in the folder.

        A month that is there but cannot be read (a named pipe, a link to itself) is listed, too:
        its fetch says why.

        Raises:
            InvalidSource: when there is no such folder.
            SourceUnavailable: when the folder cannot be listed.
        """
        filesystem, entries = self._entries()
        there: dict[Month, PublishedMonth] = {}
        for month in months:
            name = published_filename(self.taxi, month)
            found = self._listed(filesystem, entries, name)
            if found is not None:
                location = _shown(filesystem, entries[name]["name"])
                there[month] = PublishedMonth(
                    month,
                    self.taxi,
                    location,
                    found.version,
                    found.size_bytes,
                    found.changed_at(filesystem),
                    found.is_folder,
                )
        return there

    def near_misses(self, months: Iterable[Month]) -> dict[Month, str]:
        """What looks like the files of these months but is not read as such; see ``TripSource``."""
        filesystem, entries = self._entries()
        wanted = [*months]
        there = self.published(wanted)
        absent = [month for month in wanted if month not in there]
        with self._failures(self.name):
            return near_misses(filesystem, entries.values(), self.taxi, absent)

    def fetch(
        self, published: PublishedMonth, destination: Path, progress: Progress | None = None
    ) -> None:
        """Copy one month; see ``TripSource.fetch`` for what is raised and kept."""
        filesystem, found = self._same(published)
        if found.fault is not None:
            raise InvalidFile(f"{published.location} {found.fault}")
        with landing(published, destination, self._limits) as file:
            if found.is_folder:
                self._join(filesystem, found, published, destination.parent, file, progress)
            else:
                for done in self._copy(filesystem, found.files[0], file, published.location):
                    if progress is not None:
                        progress(done, published.size_bytes)
            # A file replaced while it was read would be half the one and half the other.
            self._same(published)

    def _join(
        self,
        filesystem: AbstractFileSystem,
        found: ListedMonth,
        published: PublishedMonth,
        beside: Path,
        file: BinaryIO,
        progress: Progress | None,
    ) -> None:
        """Copy the parts of a month to this machine, and write them into one file."""
        limits = self._limits or MonthLimits.of(self.taxi)
        with tempfile.TemporaryDirectory(dir=beside, prefix=".parts_") as folder:
            parts: list[Path] = []
            before = 0
            for entry in found.files:
                part = Path(folder) / file_name(entry)
                with part.open("xb") as copy:
                    for done in self._copy(filesystem, entry, copy, published.location):
                        if progress is not None:
                            progress(before + done, published.size_bytes)
                    before += copy.tell()
                parts.append(part)
            try:
                join_parts(parts, file, limits)
            except TripSchemaError as error:
                raise InvalidFile(f"{published.location}: {error}") from error

    def _copy(
        self, filesystem: AbstractFileSystem, entry: Entry, file: BinaryIO, location: str
    ) -> Iterator[int]:
        """Copy one file; yields the bytes so far after each chunk."""
        with self._failures(location):
            source = filesystem.open(entry["name"], "rb")
        with source:
            while True:
                with self._failures(location):
                    chunk = source.read(_CHUNK_BYTES)
                if not chunk:
                    return
                file.write(chunk)
                yield file.tell()

    def _same(self, published: PublishedMonth) -> tuple[AbstractFileSystem, ListedMonth]:
        filesystem, entries = self._entries()
        name = published_filename(self.taxi, published.month)
        found = self._listed(filesystem, entries, name)
        if found is None:
            raise SourceUnavailable(
                f"{published.location} was listed, but is no longer there: list the months again"
            )
        if found.version != published.version:
            raise ChangedDuringDownload(
                f"{published.location} was republished between listing and fetching (version "
                f"{published.version}, now {found.version}): list the months again, then fetch"
            )
        return filesystem, found

    def _listed(
        self, filesystem: AbstractFileSystem, entries: dict[str, Entry], name: str
    ) -> ListedMonth | None:
        with self._failures(f"{self.name}/{name}"):
            return listed_month(filesystem, entries[name]) if name in entries else None

    def _entries(self) -> tuple[AbstractFileSystem, dict[str, Entry]]:
        """The filesystem, and what its listing tells of what is in the folder, by name."""
        with self._failures(self.name):
            try:
                filesystem, path = url_to_fs(self._folder)
            except (ImportError, ValueError) as error:
                raise InvalidSource(self._folder, str(error), self.taxi) from error
            try:
                filesystem.invalidate_cache()
                entries = list_folder(filesystem, path)
            except FileNotFoundError as error:
                raise InvalidSource(self._folder, "there is no such folder", self.taxi) from error
        if [entry["name"] for entry in entries if entry["type"] == "file"] == [path]:
            raise InvalidSource(self._folder, "this is a file, not a folder", self.taxi)
        return filesystem, {file_name(entry): entry for entry in entries}

    @contextmanager
    def _failures(self, location: str) -> Iterator[None]:
        try:
            yield
        except (InvalidSource, SourceUnavailable):
            raise
        except Exception as error:  # each store raises its own kinds; many are no OSError
            raise SourceUnavailable(
                f"{location} could not be read ({error_text(error, self._folder)}); {OTHER_SOURCES}"
            ) from error


def _shown(filesystem: AbstractFileSystem, path: str) -> str:
    if isinstance(filesystem, LocalFileSystem):
        return path
    return without_credentials(filesystem.unstrip_protocol(path))
