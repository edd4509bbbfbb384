"""Storage of months of trips: unchanged raw files, and tables validated against their schemas.

Layout below the home (a folder or an fsspec URL). A dataset is ``green`` or ``yellow``, or
``sample_green`` and so on for the synthetic sample, so that real and synthetic trips never mix::

    {home}/raw_trips/{dataset}/{taxi}_tripdata_YYYY-MM.parquet   as published, unchanged, or the
                                                                 rows of its parts in order
    {home}/raw_trips/{dataset}/{taxi}_tripdata_YYYY-MM.json      its checksum, version and source
    {home}/{table}/{dataset}/YYYY-MM.parquet                     lineage inside the Parquet footer
"""

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from ml_assets.secrets import ShownError
from ml_assets.storage import filesystem
from ml_assets.storage.atomic import atomic_write, storage_errors
from ml_assets.storage.leftovers import in_use, remove_leftovers
from ml_assets.trips.month import Month
from ml_assets.trips.published_schema import DAMAGE, error_reason

LINEAGE_KEY = b"ml_assets.lineage"
INCOMING = ".incoming_"


class MonthNotFound(ShownError, LookupError):
    """A month that is not in the store; names the table, the month and how to ingest it."""


class CorruptMonth(ShownError, ValueError):
    """Stored files of a month that cannot be read; names the month and the remedy."""


class PartRecord(BaseModel):
    """Name, size and checksum of one part of a month published as a folder of parts."""

    name: str
    size_bytes: int
    sha256: str


class PublishedFileRecord(BaseModel):
    """Origin, size and checksum of a stored raw file.

    Attributes:
        parts: The published parts, in the order of their rows in the stored file; empty for a file
            that is stored unchanged.
    """

    month: str
    taxi: str
    source: str
    location: str
    version: str
    sha256: str
    size_bytes: int
    rows: int
    synthetic: bool
    parts: list[PartRecord] = []


class Lineage(BaseModel):
    """Origin of a stored month of a table; kept in its Parquet footer."""

    month: str
    dataset: str
    source: str
    raw_sha256: str
    published_rows: int
    code_version: str


@dataclass(frozen=True)
class TripStore:
    """Months of trips of one dataset in a home."""

    home: str
    taxi: str
    synthetic: bool

    @property
    def dataset(self) -> str:
        """Folder name of the dataset; it separates taxis, and synthetic from real trips."""
        return f"sample_{self.taxi}" if self.synthetic else self.taxi

    def raw_path(self, month: Month) -> str:
        """Return the path or URL of a month's raw file."""
        return f"{self.home}/raw_trips/{self.dataset}/{self.taxi}_tripdata_{month}.parquet"

    def table_path(self, table: str, month: Month) -> str:
        """Return the path or URL of a month of a table."""
        return f"{self.home}/{table}/{self.dataset}/{month}.parquet"

    def raw_record(self, month: Month) -> PublishedFileRecord | None:
        """Return a raw file's record; None unless the file is complete and has a record."""
        record_path = _record_path(self.raw_path(month))
        if not (filesystem.exists(record_path) and filesystem.exists(self.raw_path(month))):
            return None
        try:
            record = PublishedFileRecord.model_validate_json(filesystem.read_bytes(record_path))
        except ValidationError:
            return None  # damaged, or written by other code: fetch again
        if filesystem.size(self.raw_path(month)) != record.size_bytes:
            return None  # killed between the two renames: fetch again
        return record

    def require_raw(self, month: Month) -> PublishedFileRecord | None:
        """Return a raw file's record before reading the file; None when there is no file.

        Raises:
            CorruptMonth: when there is a file without a matching record.
        """
        record = self.raw_record(month)
        if record is None and filesystem.exists(self.raw_path(month)):
            raise CorruptMonth(
                f"{self.raw_path(month)} has no matching record, probably since its writing was "
                f"interrupted: materialize raw_trips of {month} again"
            )
        return record

    def verify_raw(self, month: Month, record: PublishedFileRecord) -> bool:
        """Whether the stored raw file matches its record's checksum; reads the whole file."""
        with self.open_raw(month) as file:
            digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
            return digest.hexdigest() == record.sha256

    def store_raw(self, month: Month, file: Path, record: PublishedFileRecord) -> None:
        """Store a month's fetched file and its record, replacing earlier ones.

        The new record is written first, so that a full disk is found before anything is changed.
        The old record is removed just before the file is replaced: a process killed in between
        leaves a file without a record, which counts as not fetched, never one with a wrong record.

        Raises:
            StorageError: when the disk is full or not writable.
        """
        target = self.raw_path(month)
        with storage_errors(target), atomic_write(_record_path(target)) as new_record:
            new_record.write_text(record.model_dump_json(indent=1), encoding="utf-8")
            with in_use(file), atomic_write(target) as temporary:
                shutil.move(file, temporary)
                filesystem.remove(_record_path(target))

    @contextlib.contextmanager
    def staging_dir(self) -> Iterator[Path]:
        """Create a temporary folder for incoming files, on the home's disk if the home is local.

        Raises:
            StorageError: when the home cannot be written.
        """
        local = filesystem.local_path(self.home)
        with storage_errors(self.home):
            if local is not None:
                local.mkdir(parents=True, exist_ok=True)
                remove_leftovers(local, f"{INCOMING}*")
            folder = tempfile.TemporaryDirectory(dir=local, prefix=INCOMING)
        with folder as name, in_use(Path(name)):
            yield Path(name)

    def open_raw(self, month: Month) -> BinaryIO:
        """Open a month's raw file for reading; raise MonthNotFound when it was never fetched."""
        if not filesystem.exists(self.raw_path(month)):
            raise MonthNotFound(_missing("raw_trips", month))
        return filesystem.open_binary(self.raw_path(month))

    def write_table(self, table: str, frame: pl.DataFrame, lineage: Lineage) -> int:
        """Validate and write one month of a table; returns the file's size in bytes.

        Raises:
            TableError: when the frame violates the schema; existing data are kept.
            StorageError: when the disk is full or not writable.
        """
        from ml_assets.trips.schema import enforce

        enforce(table, frame, f"{table} of {lineage.month}")
        arrow = frame.to_arrow().replace_schema_metadata(
            {LINEAGE_KEY: lineage.model_dump_json().encode()}
        )
        path = self.table_path(table, Month.parse(lineage.month))
        with storage_errors(path), atomic_write(path) as temporary:
            pq.write_table(arrow, temporary, compression="zstd")
            return temporary.stat().st_size

    def read_table(
        self, table: str, month: Month, columns: list[str] | None = None
    ) -> pl.DataFrame:
        """Read one month of a table; validate its schema when all columns are read.

        Raises:
            MonthNotFound: when the month is not stored.
            CorruptMonth: when the file cannot be read, or lacks one of the columns.
            TableError: when the file violates the schema.
        """
        from ml_assets.trips.schema import enforce

        path = self.table_path(table, month)
        with self._open(table, month) as file:
            frame = pl.from_arrow(pq.read_table(file, columns=columns))
        assert isinstance(frame, pl.DataFrame)
        return frame if columns is not None else enforce(table, frame, path)

    def lineage(self, table: str, month: Month) -> tuple[Lineage, int]:
        """Return a stored month's lineage and number of rows, reading only the footer.

        Raises:
            MonthNotFound: when the month is not stored.
            CorruptMonth: when the file cannot be read, or was not written by this project.
        """
        with self._open(table, month) as file:
            footer = pq.ParquetFile(file).metadata
        written = (footer.metadata or {}).get(LINEAGE_KEY, b"")
        try:
            return Lineage.model_validate_json(written), footer.num_rows
        except ValidationError as error:
            path, fault = self.table_path(table, month), "its footer has no lineage"
            raise CorruptMonth(_damaged(path, fault, table, month)) from error

    def months(self, table: str) -> list[Month]:
        """Return the stored months of a table, in order; files with other names are ignored."""
        stored = (
            _month_of(name) for name in filesystem.names(f"{self.home}/{table}/{self.dataset}")
        )
        return sorted(month for month in stored if month is not None)

    def remove(self, table: str, months: Iterable[Month]) -> None:
        """Remove the stored ones of these months from a table."""
        for month in months:
            filesystem.remove(self.table_path(table, month))

    @contextlib.contextmanager
    def _open(self, table: str, month: Month) -> Iterator[BinaryIO]:
        path = self.table_path(table, month)
        if not filesystem.exists(path):
            raise MonthNotFound(_missing(table, month))
        try:
            with filesystem.open_binary(path) as file:
                yield file
        except DAMAGE as error:
            raise CorruptMonth(_damaged(path, error_reason(error), table, month)) from error


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _missing(table: str, month: Month) -> str:
    return (
        f"{table} has no month {month}: ingest it with `ml-assets run --first {month} "
        f"--last {month} --ingest-only`, or materialize that partition of raw_trips and {table} "
        "in the UI"
    )


def _damaged(path: str, fault: str, table: str, month: Month) -> str:
    return f"{path} cannot be read ({fault}): materialize {table} of {month} again"


def _month_of(name: str) -> Month | None:
    """Return the month of a file name; None for any other file."""
    try:
        return Month.parse(name.removesuffix(".parquet")) if name.endswith(".parquet") else None
    except ValueError:
        return None


def _record_path(raw_path: str) -> str:
    return raw_path.removesuffix(".parquet") + ".json"
