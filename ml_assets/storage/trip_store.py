"""Where months of trips live: raw files byte for byte, and tables under their contracts.

Layout below the home (a folder or an fsspec URL), a dataset being ``green`` or ``yellow``, or
``sample_green`` and so on for the synthetic sample, so that the two never mix::

    {home}/raw_trips/{dataset}/{taxi}_tripdata_YYYY-MM.parquet   as published, byte for byte
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

import fsspec
import polars as pl
import pyarrow.parquet as pq
from pydantic import BaseModel

from ml_assets.storage.atomic import replacing, write_text
from ml_assets.trips.month import Month

LINEAGE_KEY = b"ml_assets.lineage"


class MissingMonth(LookupError):
    """A month that is not in the store; names the table, the month and the way to bring it."""


class PublishedFileRecord(BaseModel):
    """What is known of a stored raw file."""

    month: str
    taxi: str
    source: str
    location: str
    version: str
    sha256: str
    size_bytes: int
    rows: int
    synthetic: bool


class Lineage(BaseModel):
    """What a stored month of a table was made from; travels inside its Parquet footer."""

    month: str
    dataset: str
    source: str
    raw_sha256: str
    published_rows: int
    code_version: str


@dataclass(frozen=True)
class TripStore:
    """Months of trips of one dataset, below one home.

    Attributes:
        home: Local folder or fsspec URL.
        taxi: ``green`` or ``yellow``.
        synthetic: Whether the dataset is the embedded sample.
    """

    home: str
    taxi: str
    synthetic: bool

    @property
    def dataset(self) -> str:
        """Folder name that keeps taxis, and synthetic and real trips, apart."""
        return f"sample_{self.taxi}" if self.synthetic else self.taxi

    def raw_path(self, month: Month) -> str:
        """Path or URL of a month's raw file."""
        return f"{self.home}/raw_trips/{self.dataset}/{self.taxi}_tripdata_{month}.parquet"

    def table_path(self, table: str, month: Month) -> str:
        """Path or URL of a month of a table."""
        return f"{self.home}/{table}/{self.dataset}/{month}.parquet"

    def raw_record(self, month: Month) -> PublishedFileRecord | None:
        """The record of a stored raw file; None when there is no whole file with its record."""
        record_path = _record_path(self.raw_path(month))
        if not (_exists(record_path) and _exists(self.raw_path(month))):
            return None
        record = PublishedFileRecord.model_validate_json(_read_bytes(record_path))
        if _size(self.raw_path(month)) != record.size_bytes:
            return None  # killed between the two renames: fetch again
        return record

    def put_raw(self, month: Month, file: Path, record: PublishedFileRecord) -> None:
        """Store a fetched file under the month, then its record; replaces what was there.

        The old record goes first: a process killed in between leaves a file without a record,
        which counts as not fetched, and never a record that tells of another file.
        """
        _remove(_record_path(self.raw_path(month)))
        with replacing(self.raw_path(month)) as temporary:
            _move(file, temporary)
        write_text(_record_path(self.raw_path(month)), record.model_dump_json(indent=1))

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for files on their way in: on the home's own disk where it is local."""
        local = None if "://" in self.home else self.home
        if local is not None:
            Path(local).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=local, prefix=".incoming_") as folder:
            yield Path(folder)

    def open_raw(self, month: Month) -> BinaryIO:
        """Open a month's raw file for reading.

        Raises:
            MissingMonth: when it was never fetched.
        """
        if not _exists(self.raw_path(month)):
            raise MissingMonth(_missing("raw_trips", month))
        return _open(self.raw_path(month))

    def write_table(self, table: str, frame: pl.DataFrame, lineage: Lineage) -> int:
        """Write one month of a table under its contract; returns the file's size in bytes.

        Raises:
            TableError: when the frame breaks the contract; what was stored before stays.
        """
        from ml_assets.trips.schema import enforce

        enforce(table, frame, f"{table} of {lineage.month}")
        arrow = frame.to_arrow().replace_schema_metadata(
            {LINEAGE_KEY: lineage.model_dump_json().encode()}
        )
        with replacing(self.table_path(table, Month.parse(lineage.month))) as temporary:
            pq.write_table(arrow, temporary, compression="zstd")
            return temporary.stat().st_size

    def read_table(
        self, table: str, month: Month, columns: list[str] | None = None
    ) -> pl.DataFrame:
        """Read one month of a table, held to its contract (when all columns are read).

        Raises:
            MissingMonth: when the month is not there.
            TableError: when the file does not meet the contract.
        """
        from ml_assets.trips.schema import enforce

        path = self.table_path(table, month)
        if not _exists(path):
            raise MissingMonth(_missing(table, month))
        with _open(path) as file:
            frame = pl.from_arrow(pq.read_table(file, columns=columns))
        assert isinstance(frame, pl.DataFrame)
        return frame if columns is not None else enforce(table, frame, path)

    def lineage(self, table: str, month: Month) -> tuple[Lineage, int]:
        """What a stored month was made from, and its number of rows, from the footer alone.

        Raises:
            MissingMonth: when the month is not there.
        """
        path = self.table_path(table, month)
        if not _exists(path):
            raise MissingMonth(_missing(table, month))
        with _open(path) as file:
            footer = pq.ParquetFile(file).metadata
            return Lineage.model_validate_json(footer.metadata[LINEAGE_KEY]), footer.num_rows

    def months(self, table: str) -> list[Month]:
        """The months of a table that are there, in order."""
        file_system, folder = fsspec.core.url_to_fs(f"{self.home}/{table}/{self.dataset}")
        if not file_system.exists(folder):
            return []
        names = (path.rsplit("/", 1)[-1] for path in file_system.ls(folder, detail=False))
        return sorted(
            Month.parse(name.removesuffix(".parquet"))
            for name in names
            if name.endswith(".parquet") and not name.startswith(".")
        )

    def remove(self, table: str, months: Iterable[Month]) -> None:
        """Remove months of a table, where they are there."""
        for month in months:
            _remove(self.table_path(table, month))


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _missing(table: str, month: Month) -> str:
    return (
        f"{table} has no month {month}: bring it with `ml-assets run --first {month} "
        f"--last {month}`, or materialize that partition of raw_trips and {table} in the UI"
    )


def _record_path(raw_path: str) -> str:
    return raw_path.removesuffix(".parquet") + ".json"


def _move(source: Path, target: Path) -> None:
    shutil.move(source, target)


def _exists(path: str) -> bool:
    file_system, place = fsspec.core.url_to_fs(path)
    return bool(file_system.exists(place))


def _remove(path: str) -> None:
    file_system, place = fsspec.core.url_to_fs(path)
    if file_system.exists(place):
        file_system.rm_file(place)


def _size(path: str) -> int:
    file_system, place = fsspec.core.url_to_fs(path)
    return int(file_system.size(place))


def _open(path: str) -> BinaryIO:
    return fsspec.open(path, "rb").open()  # type: ignore[no-any-return]


def _read_bytes(path: str) -> bytes:
    with _open(path) as file:
        return file.read()
