"""A folder of part files is one month; an error names the part and the reason."""

import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from ml_assets.ingestion.folder import FolderSource
from ml_assets.ingestion.ingest_month import ingest_month
from ml_assets.ingestion.open_source import open_source
from ml_assets.ingestion.source import ChangedDuringDownload, InvalidFile, published_filename
from ml_assets.storage.trip_store import checksum
from ml_assets.trips.month_limits import MonthLimits
from ml_assets_tests.ingestion.conftest import JANUARY
from ml_assets_tests.published_months import published_month
from ml_assets_tests.storage.stored_months import store_at

NAME = published_filename("green", JANUARY)
WHOLE = published_month(JANUARY, 300)
SPARK = ("part-00000-c000.snappy.parquet", "part-00001-c000.snappy.parquet", "part-00002.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A month as Spark writes it: three parts of 100 rows, with marker and checksum files."""
    folder = tmp_path / "published" / NAME
    folder.mkdir(parents=True)
    for number, name in reversed(list(enumerate(SPARK))):
        pq.write_table(WHOLE.slice(100 * number, 100), folder / name)
        (folder / f".{name}.crc").write_bytes(b"crc")
    (folder / "_SUCCESS").touch()
    return folder


def listed(folder: Path) -> FolderSource:
    return FolderSource(str(folder.parent), "green")


def fetch(folder: Path, to: Path, limits: MonthLimits | None = None) -> None:
    source = FolderSource(str(folder.parent), "green", limits)
    source.fetch(source.published([JANUARY])[JANUARY], to)


def test_the_parts_are_one_month_in_the_order_of_their_names(folder: Path, tmp_path: Path) -> None:
    source, store = open_source(str(folder.parent), "green"), store_at(tmp_path / "home")
    found = source.published([JANUARY])[JANUARY]
    assert found.size_bytes == sum((folder / name).stat().st_size for name in SPARK)
    assert found.changed_at is not None
    record = ingest_month(source, store, JANUARY, found).record
    assert record is not None
    assert (record.rows, record.location) == (300, str(folder))
    assert [part.name for part in record.parts] == list(SPARK)
    assert [part.sha256 for part in record.parts] == [checksum(folder / name) for name in SPARK]
    stored = Path(store.raw_path(JANUARY))
    assert pq.read_table(stored).replace_schema_metadata().equals(WHOLE)
    assert record.sha256 == checksum(stored)
    again = source.published([JANUARY])[JANUARY]
    assert ingest_month(source, store, JANUARY, again).outcome == "unchanged"
    pq.write_table(WHOLE.slice(200, 50), folder / SPARK[2])
    newer = source.published([JANUARY])[JANUARY]
    assert ingest_month(source, store, JANUARY, newer).outcome == "republished"
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["raw_trips"]


def test_a_folder_that_is_still_being_written_counts_as_changing(folder: Path) -> None:
    (folder / "_temporary").mkdir()
    found = listed(folder).published([JANUARY])[JANUARY]
    assert found.changed_at is not None
    assert datetime.now(UTC) - found.changed_at < timedelta(seconds=5)


def test_a_single_part_is_copied_unchanged(folder: Path, destination: Path) -> None:
    for name in SPARK[1:]:
        (folder / name).unlink()
    fetch(folder, destination)
    assert destination.read_bytes() == (folder / SPARK[0]).read_bytes()


def test_a_folder_of_another_writer_in_a_store(destination: Path, tmp_path: Path) -> None:
    ds.write_dataset(
        WHOLE, tmp_path / NAME, format="parquet", max_rows_per_file=70, max_rows_per_group=70
    )
    store, url = fsspec.filesystem("memory"), f"memory://parts-{uuid.uuid4().hex}"
    for part in (tmp_path / NAME).iterdir():
        store.pipe(f"{url}/{NAME}/{part.name}", part.read_bytes())
    source = FolderSource(url, "green")
    progress: list[tuple[int, int | None]] = []
    found = source.published([JANUARY])[JANUARY]
    source.fetch(found, destination, lambda done, total: progress.append((done, total)))
    rows = pq.read_table(destination).select(WHOLE.schema.names)
    assert rows.sort_by("lpep_pickup_datetime").num_rows == 300
    assert progress[-1] == (found.size_bytes, found.size_bytes)
    store.rm(url, recursive=True)


def test_numbers_of_different_widths_and_empty_columns_are_joined(
    folder: Path, destination: Path
) -> None:
    part = WHOLE.slice(100, 100)
    for name, values in (
        ("PULocationID", part["PULocationID"].cast(pa.int32())),
        ("passenger_count", pa.nulls(100)),
        ("store_and_fwd_flag", part["store_and_fwd_flag"].dictionary_encode()),
    ):
        part = part.set_column(part.schema.get_field_index(name), name, values)
    pq.write_table(part, folder / SPARK[1])
    pq.write_table(WHOLE.slice(0, 0), folder / "part-00003.parquet")
    fetch(folder, destination)
    joined = pq.read_table(destination)
    for name in ("PULocationID", "store_and_fwd_flag", "lpep_pickup_datetime"):
        assert joined[name].to_pylist() == WHOLE[name].to_pylist()
    assert joined["passenger_count"].null_count == 100


def _change(column: str, values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        part = WHOLE.slice(100, 100)
        columns = {name: part[name] for name in part.schema.names} | {column: values}
        kept = {name: values for name, values in columns.items() if values is not None}
        pq.write_table(pa.table(kept), folder / SPARK[1])

    return change


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "still written": (lambda folder: (folder / "_temporary").mkdir(), "still being written"),
    "a folder in it": (
        lambda folder: (folder / "day=1").mkdir(),
        "holds day=1, which is not a part file",
    ),
    "another file": (
        lambda folder: (folder / "a.csv").touch(),
        "holds a.csv, which is not a part file",
    ),
    "a pipe": (
        lambda folder: os.mkfifo(folder / "x.parquet"),
        "holds x.parquet, which is not a part file",
    ),
    "an empty part": (
        lambda folder: (folder / SPARK[1]).write_bytes(b""),
        f"{SPARK[1]} is not a readable Parquet file",
    ),
    "a column missing": (
        _change("trip_distance", None),
        f"{SPARK[1]} is not a file of green trips",
    ),
    "another missing": (
        _change("tip_amount", None),
        f"{SPARK[1]} has other columns than {SPARK[0]}: tip_amount only in one of them",
    ),
    "another type": (
        _change("tip_amount", ["1"] * 100),
        f"{SPARK[1]} has other types than {SPARK[0]}",
    ),
    "nested": (_change("tip_amount", [[1]] * 100), f"{SPARK[1]} has a column tip_amount of type"),
    "a long text": (
        _change("store_and_fwd_flag", ["x" * 5_000] * 100),
        f"{SPARK[1]} has a string of 5,000 bytes in column store_and_fwd_flag",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_part_is_named_and_nothing_is_kept(
    folder: Path, destination: Path, assert_kept: Callable[[], None], name: str
) -> None:
    change, fault = FAULTS[name]
    change(folder)
    with pytest.raises(InvalidFile) as error:
        fetch(folder, destination)
    assert fault in str(error.value)
    assert str(folder) in str(error.value)
    assert_kept()


def test_the_rows_of_all_parts_count_towards_the_limit(
    folder: Path, destination: Path, assert_kept: Callable[[], None]
) -> None:
    fetch(folder, destination, MonthLimits.of("green", 300))
    destination.write_bytes(b"the last good version")
    with pytest.raises(InvalidFile, match="the 3 parts have 300 rows, more than the 299 rows"):
        fetch(folder, destination, MonthLimits.of("green", 299))
    assert_kept()


def test_a_part_added_while_the_others_are_read_makes_another_version(
    folder: Path, destination: Path, assert_kept: Callable[[], None]
) -> None:
    source = listed(folder)
    found = source.published([JANUARY])[JANUARY]
    with pytest.raises(ChangedDuringDownload):
        source.fetch(found, destination, lambda *_: (folder / "part-9.parquet").touch())
    assert_kept()
