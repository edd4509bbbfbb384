"""Corrupt, unusual and empty published months: each is reported, and the others are stored."""

from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ml_assets.trips.month import Month
from ml_assets_tests.graph.test_ingestion import failure, store_of
from ml_assets_tests.project import RANGE_END, RANGE_START, open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

JANUARY, FEBRUARY, MARCH = (Month(2023, number) for number in (1, 2, 3))
ROWS = 200
MONTHS = {RANGE_START: "2023-01", RANGE_END: "2023-03"}


@pytest.fixture
def project(tmp_path):
    """A project with three small published months."""
    for month in (JANUARY, FEBRUARY, MARCH):
        publish(tmp_path / "published", month)
    with open_project(settings_for(tmp_path / "home", tmp_path / "published")) as opened:
        yield opened


def damage(folder, month, change):
    path = publish(folder, month)
    path.write_bytes(change(path.read_bytes()))


def test_each_unreadable_month_is_named_with_its_error_and_the_others_are_stored(project, tmp_path):
    published = tmp_path / "published"
    damage(published, Month(2023, 2), lambda whole: b"")
    damage(published, Month(2023, 4), lambda whole: whole[: len(whole) // 2])
    damage(published, Month(2023, 5), lambda whole: b"VendorID,zone\n1,2\n")
    for number, overrides in enumerate(STRANGE_COLUMNS, start=6):
        month = Month(2023, number)
        publish(published, month, published_month(month, ROWS, **overrides))
    run = project.ingest("2023-01", "2023-09")
    assert not run.success
    message = failure(run, "raw_trips")
    assert "7 of 9 months could not be ingested" in message
    assert "ingested and kept: 2023-01, 2023-03" in message
    assert "--exclude 2023-02,2023-04,2023-05,2023-06,2023-07,2023-08,2023-09" in message
    expected = [*["not a readable Parquet file"] * 3, *COLUMN_FAULTS]
    for number, fault in zip(BAD_NUMBERS, expected, strict=True):
        line = message.split(f"2023-0{number}: ", 1)[1].split(" | ")[0]
        assert line.startswith(f"{published}/green_tripdata_2023-0{number}.parquet")
        assert fault in line
        assert "at its source" in line

    store = store_of(project)
    for month in (JANUARY, MARCH):
        assert project.metadata("raw_trips", str(month))["dagster/row_count"] == ROWS
        assert store.raw_record(month).rows == ROWS
    assert store.raw_record(FEBRUARY) is None
    recorded = project.instance.get_materialized_partitions(asset_key=dg.AssetKey("raw_trips"))
    assert recorded == {"2023-01", "2023-03"}

    publish(published, FEBRUARY)
    assert project.ingest("2023-01", "2023-03").success


BAD_NUMBERS = (2, 4, 5, 6, 7, 8, 9)
STRANGE_COLUMNS: tuple[dict[str, Any], ...] = (
    {"PULocationID": None},
    {"trip_distance": None, "distance": [1.0] * ROWS},
    {"trip_distance": ["1.0"] * ROWS},
    {"DOLocationID": pa.nulls(ROWS)},
)
COLUMN_FAULTS = (
    "column PULocationID is missing",
    "column trip_distance is missing",
    "column trip_distance is string",
    "column DOLocationID is null",
)


def test_a_month_republished_corrupt_keeps_the_stored_one(project, tmp_path):
    assert project.ingest("2023-01", "2023-03").success
    damage(tmp_path / "published", FEBRUARY, lambda whole: whole[:-100])
    assert not project.ingest("2023-01", "2023-03").success
    store = store_of(project)
    record = store.raw_record(FEBRUARY)
    assert record is not None
    assert record.rows == ROWS
    assert store.verify_raw(FEBRUARY, record)
    assert store.read_table("trip_features", FEBRUARY).height == ROWS
    assert project.run("train_models", selection=["training_set"]).success


def lasting(month, minutes):
    table = published_month(month, ROWS)
    length = pa.scalar(round(minutes * 60e6), pa.duration("us"))
    return {"dropoff": pc.add(table["lpep_pickup_datetime"], length)}


WITHOUT_TRIPS = {
    "no rows": lambda month: published_month(month, 0),
    "only trips under a minute": lambda month: published_month(month, ROWS, **lasting(month, 0.2)),
    "only trips over an hour": lambda month: published_month(month, ROWS, **lasting(month, 90)),
    "drop-off before pick-up": lambda month: published_month(month, ROWS, **lasting(month, -5)),
    "all zones absent": lambda month: published_month(
        month, ROWS, PULocationID=pa.nulls(ROWS, pa.int64())
    ),
    "all distances absent": lambda month: published_month(
        month, ROWS, trip_distance=pa.nulls(ROWS, pa.float64())
    ),
    "pick-ups of 2098": lambda month: published_month(
        month,
        ROWS,
        pickup=pa.array([4_040_000_000] * ROWS, pa.timestamp("s")),
        dropoff=pa.array([4_040_000_600] * ROWS, pa.timestamp("s")),
    ),
}


def test_months_without_a_kept_trip_are_stored_reported_and_skipped_on_request(project, tmp_path):
    bad = {Month(2023, number): make for number, make in enumerate(WITHOUT_TRIPS.values(), start=4)}
    for month, make in bad.items():
        publish(tmp_path / "published", month, make(month))
    project.ingest("2023-01", "2023-10")
    store = store_of(project)
    for month, make in bad.items():
        assert store.read_table("trip_features", month).height == 0
        assert store.read_table("rejected_trips", month).height == make(month).num_rows
    refused = project.run("train_models", selection=["training_set"])
    assert not refused.success
    message = failure(refused, "training_set")
    assert "exclude_months" in message
    assert all(f"{month}: " in message for month in bad)
    config = {"training_set": {"config": {"exclude_months": [str(month) for month in bad]}}}
    assert project.run("train_models", config, ["training_set"]).success


def test_duplicate_rows_are_stored_and_counted(project, tmp_path):
    once = published_month(FEBRUARY, ROWS // 2)
    publish(tmp_path / "published", FEBRUARY, pa.concat_tables([once, once]))
    project.ingest("2023-02", "2023-02")
    assert store_of(project).read_table("trip_features", FEBRUARY).height == ROWS


def test_extreme_values_become_rejected_trips(project, tmp_path):
    distances = published_month(FEBRUARY, ROWS)["trip_distance"].to_pylist()
    distances[:4] = [-1.0, float("nan"), float("inf"), 201_421.0]
    zones = published_month(FEBRUARY, ROWS)["PULocationID"].to_pylist()
    zones[4:7] = [0, 264, 999]
    wild = published_month(FEBRUARY, ROWS, trip_distance=distances, PULocationID=zones)
    publish(tmp_path / "published", FEBRUARY, wild)
    assert project.ingest("2023-01", "2023-03").success
    metadata = project.metadata("rejected_trips", "2023-02")
    assert metadata["rejected/impossible_distance"] == 3
    assert metadata["rejected/zone_outside_map"] == 2
    assert project.metadata("trip_features", "2023-02")["dagster/row_count"] == ROWS - 5
    assert project.run("train_models", selection=["training_set"]).success


def test_an_unwritable_home_is_reported_once_and_not_for_every_month(project, tmp_path):
    (tmp_path / "home" / "raw_trips").mkdir(parents=True)
    (tmp_path / "home" / "raw_trips" / "green").write_text("in the way")
    run = project.ingest("2023-01", "2023-03")
    assert not run.success
    message = failure(run, "raw_trips")
    assert "1 of 3 months could not be ingested: 2023-01: " in message
    assert "could not be stored (" in message
    assert "not tried: 2023-02 to 2023-03" in message
    assert not list((tmp_path / "home").glob(".incoming_*"))


def test_a_month_over_the_row_limit_is_refused_also_when_stored(project, tmp_path):
    publish(tmp_path / "published", FEBRUARY, published_month(FEBRUARY, ROWS + 1))
    limited = settings_for(
        tmp_path / "home", tmp_path / "published", ML_ASSETS_MAX_MONTH_ROWS=str(ROWS)
    )
    with open_project(limited) as other:
        message = failure(other.ingest("2023-01", "2023-03"), "raw_trips")
        assert "1 of 3 months could not be ingested: 2023-02: " in message
        assert f"too large: it has {ROWS + 1} rows, more than the {ROWS} rows" in message
    assert project.run("ingest_trips", selection=["raw_trips"], tags=MONTHS).success
    with open_project(limited) as other:
        run = other.run("ingest_trips", selection=["trip_features"], tags=MONTHS)
        assert "ML_ASSETS_MAX_MONTH_ROWS" in failure(run, "trip_features")


def test_an_unreadable_stored_month_does_not_stop_the_others(project):
    assert project.run("ingest_trips", selection=["raw_trips"], tags=MONTHS).success
    store = store_of(project)
    with open(store.raw_path(FEBRUARY), "r+b") as file:
        size = len(file.read())
        file.truncate(0)
        file.truncate(size)
    run = project.run("ingest_trips", selection=["trip_features"], tags=MONTHS)
    message = failure(run, "trip_features")
    assert "1 of 3 months could not be stored: 2023-02: " in message
    assert "stored and kept: 2023-01, 2023-03" in message
    assert store.months("trip_features") == [JANUARY, MARCH]
    key = dg.AssetKey("trip_features")
    assert project.instance.get_materialized_partitions(key) == {"2023-01", "2023-03"}
    assert project.metadata("trip_features", "2023-03")["dagster/row_count"] == ROWS


def test_an_extreme_time_in_the_first_rows_is_shown(project, tmp_path):
    pickups = published_month(FEBRUARY, ROWS)["lpep_pickup_datetime"].cast(pa.int64()).to_pylist()
    pickups[:2] = [253_402_300_800_000_000, 2**63 - 1]  # 10000-01-01, and the largest timestamp
    wild = published_month(FEBRUARY, ROWS, pickup=pa.array(pickups, pa.timestamp("us")))
    publish(tmp_path / "published", FEBRUARY, wild)
    assert project.ingest("2023-01", "2023-03").success
    for asset, column in (
        ("raw_trips", "lpep_pickup_datetime"),
        ("rejected_trips", "pickup_datetime"),
    ):
        shown = project.metadata(asset, "2023-02")["preview"].records
        assert shown[0].data[column] == "253,402,300,800,000,000 us since 1970"
    assert project.metadata("rejected_trips", "2023-02")["rejected/pickup_outside_month"] == 2
