"""Published months that are damaged, strange or empty: told with the way out, and kept apart."""

import pyarrow as pa
import pytest

from ml_assets.trips.month import Month
from ml_assets_tests.graph.test_ingestion import failure, store_of
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

JANUARY, BAD, MARCH = (Month(2023, number) for number in (1, 2, 3))
ROWS = 200


def without(*columns):
    return published_month(BAD, ROWS, **dict.fromkeys(columns))


def written(folder, content):
    path = publish(folder, BAD)
    if isinstance(content, pa.Table):
        publish(folder, BAD, content)
    else:
        path.write_bytes(content(path.read_bytes()))


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    for month in (JANUARY, BAD, MARCH):
        publish(folder, month)
    return folder


@pytest.fixture
def project(tmp_path, published):
    with open_project(settings_for(tmp_path / "home", published)) as opened:
        yield opened


UNREADABLE = {
    "zero bytes": (lambda whole: b"", "not a readable Parquet file"),
    "cut short": (lambda whole: whole[: len(whole) // 2], "not a readable Parquet file"),
    "CSV named .parquet": (lambda whole: b"VendorID,zone\n1,2\n", "not a readable Parquet file"),
    "column missing": (without("PULocationID"), "column PULocationID is missing"),
    "column renamed": (
        published_month(BAD, ROWS, trip_distance=None, distance=[1.0] * ROWS),
        "column trip_distance is missing",
    ),
    "column re-typed": (
        published_month(BAD, ROWS, trip_distance=["1.0"] * ROWS),
        "column trip_distance is string",
    ),
    "column without type": (
        published_month(BAD, ROWS, DOLocationID=pa.nulls(ROWS)),
        "column DOLocationID is null",
    ),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_an_unreadable_month_is_named_and_the_good_ones_are_kept(project, published, fault):
    content, told = UNREADABLE[fault]
    written(published, content)
    run = project.ingest("2023-01", "2023-03")
    assert not run.success
    message = failure(run, "raw_trips")
    for text in ("2023-02: ", "green_tripdata_2023-02.parquet", told, "at its source",
                 "1 of 3 months", "brought and kept: 2023-01, 2023-03"):  # fmt: skip
        assert text in message
    for month in (JANUARY, MARCH):
        assert project.metadata("raw_trips", str(month))["dagster/row_count"] == ROWS
        assert store_of(project).raw_record(month).rows == ROWS
    assert store_of(project).raw_record(BAD) is None
    assert project.instance.get_materialized_partitions(asset_key(project)) == {
        "2023-01",
        "2023-03",
    }
    publish(published, BAD)
    assert project.ingest("2023-01", "2023-03").success


def asset_key(project):
    import dagster as dg

    return dg.AssetKey("raw_trips")


def test_a_month_republished_damaged_keeps_the_good_one(project, published):
    assert project.ingest("2023-01", "2023-03").success
    written(published, lambda whole: whole[:-100])
    assert not project.ingest("2023-01", "2023-03").success
    store = store_of(project)
    assert store.raw_record(BAD).rows == ROWS
    assert store.raw_is_whole(BAD, store.raw_record(BAD))
    assert store.read_table("trip_features", BAD).height == ROWS
    assert project.run("train_models", selection=["training_set"]).success


def shifted(minutes):
    import pyarrow.compute as pc

    table = published_month(BAD, ROWS)
    pickups = table["lpep_pickup_datetime"]
    later = pc.add(pickups, pa.scalar(round(minutes * 60e6), pa.duration("us")))
    return published_month(BAD, ROWS, dropoff=later)


WITHOUT_TRIPS = {
    "no rows": published_month(BAD, 0),
    "only trips under a minute": shifted(0.2),
    "only trips over an hour": shifted(90),
    "drop-off before pick-up": shifted(-5),
    "all zones absent": published_month(BAD, ROWS, PULocationID=pa.nulls(ROWS, pa.int64())),
    "all distances absent": published_month(BAD, ROWS, trip_distance=pa.nulls(ROWS, pa.float64())),
    "pick-ups of 2098": published_month(
        BAD, ROWS, pickup=pa.array([4_040_000_000] * ROWS, pa.timestamp("s")),
        dropoff=pa.array([4_040_000_600] * ROWS, pa.timestamp("s")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", WITHOUT_TRIPS)
def test_a_month_without_a_kept_trip_is_stored_told_and_left_out_on_request(
    project, published, fault
):
    publish(published, Month(2023, 4))
    written(published, WITHOUT_TRIPS[fault])
    project.ingest("2023-01", "2023-04")
    store = store_of(project)
    rows = WITHOUT_TRIPS[fault].num_rows
    assert store.read_table("trip_features", BAD).height == 0
    assert store.read_table("rejected_trips", BAD).height == rows
    refused = project.run("train_models", selection=["training_set"])
    assert not refused.success
    message = failure(refused, "training_set")
    assert "2023-02" in message
    assert "exclude_months" in message
    config = {"training_set": {"config": {"exclude_months": ["2023-02"]}}}
    assert project.run("train_models", config, ["training_set"]).success


def test_duplicate_rows_are_all_there_to_be_counted(project, published):
    once = published_month(BAD, ROWS // 2)
    written(published, pa.concat_tables([once, once]))
    project.ingest("2023-02", "2023-02")
    assert store_of(project).read_table("trip_features", BAD).height == ROWS


def test_wild_values_become_rejected_trips_and_the_rest_goes_on(project, published):
    distances = published_month(BAD, ROWS)["trip_distance"].to_pylist()
    distances[:4] = [-1.0, float("nan"), float("inf"), 201_421.0]
    zones = published_month(BAD, ROWS)["PULocationID"].to_pylist()
    zones[4:7] = [0, 264, 999]
    written(published, published_month(BAD, ROWS, trip_distance=distances, PULocationID=zones))
    assert project.ingest("2023-01", "2023-03").success
    metadata = project.metadata("rejected_trips", "2023-02")
    assert metadata["rejected/impossible_distance"] == 3
    assert metadata["rejected/zone_outside_map"] == 2
    assert project.metadata("trip_features", "2023-02")["dagster/row_count"] == ROWS - 5
    assert project.train().success
