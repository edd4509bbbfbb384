"""The trip store: round trips in a folder and at URLs; damaged files are named."""

import uuid

import polars as pl
import pytest

from ml_assets.evaluation.records import MonthSplit
from ml_assets.storage.record_store import MissingRecord, RecordStore, UnreadableRecord
from ml_assets.storage.trip_store import CorruptMonth, MonthNotFound, TripStore, checksum
from ml_assets.trips.month import Month
from ml_assets.trips.schema import TableError
from ml_assets_tests.storage.stored_months import (
    MONTH,
    lineage_of,
    put_month,
    put_tables,
    store_at,
    store_raw,
)

FEBRUARY = Month(2023, 2)


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path)


@pytest.fixture(params=["folder", "file", "memory"])
def home(request, tmp_path):
    return {
        "folder": str(tmp_path),
        "file": f"file://{tmp_path}",
        "memory": f"memory://{uuid.uuid4().hex}",
    }[request.param]


def test_raw_tables_and_records_work_on_a_folder_and_on_urls(home, tmp_path):
    store, records = store_at(home), RecordStore(home, "green")
    first = put_month(store, MONTH, rows=180)
    second = put_month(store, FEBRUARY, rows=200)
    assert store.months("trip_features") == [MONTH, FEBRUARY]
    assert store.raw_record(FEBRUARY) == second
    assert store.verify_raw(MONTH, first)
    assert store.lineage("trip_features", MONTH)[0].raw_sha256 == first.sha256
    assert store.read_table("trip_features", MONTH).height == 180
    assert store.read_table("trip_features", MONTH, ["trip_id"]).columns == ["trip_id"]
    put_month(store, MONTH, rows=220)
    assert store.read_table("trip_features", MONTH).height == 220
    store.remove("trip_features", [MONTH, MONTH])
    assert store.months("trip_features") == [FEBRUARY]

    use = MonthSplit(
        month="2023-01", role="train", rows=1, raw_sha256="", source="", code_version=""
    )
    records.write("training_set", use)
    assert records.read("training_set", MonthSplit) == use
    if "memory" in home:
        assert not list(tmp_path.iterdir())


def test_the_raw_file_is_stored_unchanged(store, tmp_path):
    record = store_raw(store)
    path = tmp_path / "raw_trips" / "green" / "green_tripdata_2023-01.parquet"
    assert checksum(path) == record.sha256
    assert [entry.name for entry in tmp_path.iterdir()] == ["raw_trips"]


def test_the_same_input_twice_gives_the_same_bytes(store, tmp_path):
    written = []
    for _ in range(2):
        put_month(store)
        paths = [store.table_path(table, MONTH) for table in ("trip_features", "rejected_trips")]
        written.append([checksum(tmp_path / path) for path in paths])
    assert written[0] == written[1]


def test_sample_and_real_trips_in_one_home_never_mix(tmp_path):
    real, sample = store_at(tmp_path), store_at(tmp_path, synthetic=True)
    yellow = TripStore(str(tmp_path), "yellow", synthetic=False)
    put_month(real, MONTH, 180)
    put_month(sample, MONTH, 200)
    put_month(sample, FEBRUARY, 200)
    assert real.read_table("trip_features", MONTH).height == 180
    assert real.months("trip_features") == [MONTH]
    assert sample.months("trip_features") == [MONTH, FEBRUARY]
    assert yellow.months("trip_features") == []
    assert yellow.raw_record(MONTH) is None


def test_the_error_for_a_missing_month_names_the_command_to_ingest_it(store):
    for read in (store.read_table, store.lineage):
        with pytest.raises(MonthNotFound) as error:
            read("trip_features", MONTH)
        assert "trip_features has no month 2023-01" in str(error.value)
        assert "ml-assets run --first 2023-01 --last 2023-01" in str(error.value)
    with pytest.raises(MonthNotFound, match="raw_trips has no month 2023-01"):
        store.open_raw(MONTH)


def test_a_table_that_violates_its_schema_does_not_replace_a_good_one(store):
    record = put_month(store)
    good = store.read_table("trip_features", MONTH)
    with pytest.raises(TableError, match="trip_features of 2023-01 violates the schema"):
        store.write_table(
            "trip_features", good.with_columns(pl.lit(0.0).alias("tip")), lineage_of(store, record)
        )
    assert store.read_table("trip_features", MONTH).equals(good)


def test_the_schema_is_enforced_on_reading(store, tmp_path):
    put_month(store)
    path = tmp_path / store.table_path("trip_features", MONTH)
    pl.read_parquet(path).with_columns(pl.lit(999.0).alias("duration_minutes")).write_parquet(path)
    with pytest.raises(TableError, match=r"2023-01\.parquet violates.*duration_minutes"):
        store.read_table("trip_features", MONTH)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"trip_id,zone\n1,2\n",
        lambda whole: whole[:500] + bytes(len(whole) - 1500) + whole[-1000:],
    ],
    ids=["zero bytes", "half", "CSV", "zeros inside"],
)
def test_a_damaged_table_names_the_file_and_the_way_out(store, tmp_path, damage):
    put_month(store)
    path = tmp_path / store.table_path("trip_features", MONTH)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptMonth) as error:
        store.lineage("trip_features", MONTH)
        store.read_table("trip_features", MONTH)
    assert str(path) in str(error.value)
    assert "materialize trip_features of 2023-01 again" in str(error.value)


def test_a_file_that_the_project_did_not_write_is_rejected(store, tmp_path):
    put_month(store)
    path = tmp_path / store.table_path("trip_features", MONTH)
    pl.DataFrame({"trip_id": [1]}).write_parquet(path)
    with pytest.raises(CorruptMonth, match="its footer has no lineage"):
        store.lineage("trip_features", MONTH)
    with pytest.raises(CorruptMonth, match=r"trip_distance.*materialize trip_features"):
        store.read_table("trip_features", MONTH, ["trip_id", "trip_distance"])


def test_other_files_among_the_months_are_ignored(store, tmp_path):
    put_month(store)
    folder = tmp_path / "trip_features" / "green"
    for name in ("2023-02 (copy).parquet", "2023-13.parquet", ".2023-02.parquet.x.tmp", "README"):
        (folder / name).write_text("")
    assert store.months("trip_features") == [MONTH]


@pytest.mark.parametrize("content", ["", "{", '{"month": "2023-01"}'])
def test_a_raw_file_without_a_readable_record_counts_as_not_fetched(store, tmp_path, content):
    store_raw(store)
    record = tmp_path / "raw_trips" / "green" / "green_tripdata_2023-01.json"
    record.write_text(content)
    assert store.raw_record(MONTH) is None
    with pytest.raises(CorruptMonth, match="materialize raw_trips of 2023-01 again"):
        store.require_raw(MONTH)
    put_tables(store, MONTH, store_raw(store))
    assert store.require_raw(MONTH) is not None


def test_a_month_without_a_file_is_none_rather_than_corrupt(store):
    assert store.require_raw(MONTH) is None


def test_a_changed_byte_in_a_raw_file_is_detected(store, tmp_path):
    record = store_raw(store)
    path = tmp_path / store.raw_path(MONTH)
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    assert store.raw_record(MONTH) == record
    assert not store.verify_raw(MONTH, record)


def test_a_record_that_was_never_written_names_the_asset(tmp_path):
    records = RecordStore(str(tmp_path), "green")
    assert records.find("training_set", MonthSplit) is None
    with pytest.raises(MissingRecord, match="materialize training_set first"):
        records.read("training_set", MonthSplit)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff\xfe", b"[1]"])
def test_a_damaged_record_names_its_file_and_the_way_out(tmp_path, content):
    records = RecordStore(str(tmp_path), "green")
    path = tmp_path / "training_set" / "green.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UnreadableRecord, match="materialize training_set again") as error:
        records.read("training_set", MonthSplit)
    assert str(path) in str(error.value)
