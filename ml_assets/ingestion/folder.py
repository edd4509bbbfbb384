"""Source: a local folder, or a folder in any store that fsspec opens."""

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
from ml_assets.ingestion.staging import staged_file
from ml_assets.secrets import error_text, without_credentials
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits
from ml_assets.trips.published_schema import TripSchemaError

_CHUNK_BYTES = 1024 * 1024


class FolderSource:
    """A folder that holds the published files, listed at each call.

    A month may also be a folder of part files under the month's file name, as Spark and Dask write
    it; see ``part_files``.

    Args:
        folder: a path (also relative or with ``~``) or an fsspec URL.
        limits: size limits of a month; by default those of the taxi.

    Raises:
        InvalidSource: when fsspec knows no such protocol, or a local folder does not exist. A
            remote store is first accessed by ``published``.
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
        """Return those of the months whose file, or folder of parts, is in the folder.

        A month that cannot be read (a named pipe, a link to itself) is listed as well; its fetch
        fails with the reason.

        Raises:
            InvalidSource: when there is no such folder.
            SourceUnavailable: when the folder cannot be listed.
        """
        filesystem, entries = self._entries()
        available: dict[Month, PublishedMonth] = {}
        for month in months:
            name = published_filename(self.taxi, month)
            found = self._listed(filesystem, entries, name)
            if found is not None:
                location = entries[name]["name"]
                if not isinstance(filesystem, LocalFileSystem):
                    location = without_credentials(filesystem.unstrip_protocol(location))
                available[month] = PublishedMonth(
                    month,
                    self.taxi,
                    location,
                    found.version,
                    found.size_bytes,
                    found.changed_at(filesystem),
                    found.is_folder,
                )
        return available

    def near_misses(self, months: Iterable[Month]) -> dict[Month, str]:
        """Return files that resemble missing months; see ``TripSource``."""
        filesystem, entries = self._entries()
        requested = [*months]
        available = self.published(requested)
        absent = [month for month in requested if month not in available]
        with self._failures(self.name):
            return near_misses(filesystem, entries.values(), self.taxi, absent)

    def fetch(
        self, published: PublishedMonth, destination: Path, progress: Progress | None = None
    ) -> None:
        """Copy one month; see ``TripSource.fetch`` for errors and guarantees."""
        filesystem, found = self._find_unchanged(published)
        if found.fault is not None:
            raise InvalidFile(f"{published.location} {found.fault}")
        with staged_file(published, destination, self._limits) as file:
            if found.is_folder:
                self._join(filesystem, found, published, destination.parent, file, progress)
            else:
                for done in self._copy(filesystem, found.files[0], file, published.location):
                    if progress is not None:
                        progress(done, published.size_bytes)
            # A file replaced while it was read would be a mixture of both.
            self._find_unchanged(published)

    def _join(
        self,
        filesystem: AbstractFileSystem,
        found: ListedMonth,
        published: PublishedMonth,
        beside: Path,
        file: BinaryIO,
        progress: Progress | None,
    ) -> None:
        """Copy the parts of a month to a temporary folder and join them into one file."""
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

    def _find_unchanged(self, published: PublishedMonth) -> tuple[AbstractFileSystem, ListedMonth]:
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
        """Return the filesystem and the folder's entries by name."""
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
        except Exception as error:  # stores raise their own types, many of them not OSError
            raise SourceUnavailable(
                f"{location} could not be read ({error_text(error, self._folder)}); {OTHER_SOURCES}"
            ) from error
