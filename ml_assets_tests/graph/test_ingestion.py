"""The ingestion assets: storage, republished months, and separate datasets."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from ml_assets.evaluation.records import TrainingSet
from ml_assets.progress import watching
from ml_assets.storage import filesystem
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore, checksum
from ml_assets.trips.month import Month
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_months import publish, published_month
from ml_assets_tests.storage.stored_months import put_month, store_at

JANUARY, FEBRUARY, MARCH, APRIL = (Month(2023, number) for number in (1, 2, 3, 4))


@pytest.fixture
def published(tmp_path):
    """A folder with three small published months."""
    folder = tmp_path / "published"
    for month in (JANUARY, FEBRUARY, MARCH):
        publish(folder, month)
    return folder


@pytest.fixture
def project(tmp_path, published):
    with open_project(settings_for(tmp_path / "home", published)) as opened:
        yield opened


def store_of(project) -> TripStore:
    settings = project.settings
    return TripStore(settings.home, settings.taxi, settings.synthetic)


def failure(run: dg.ExecuteInProcessResult, step: str) -> str:
    """Return the error of a failed step with its causes."""
    error = run.failure_data_for_node(step).error
    messages = []
    while error is not None:
        messages.append(error.message)
        error = error.cause
    return "".join(messages)


def status(project, month: Month) -> str:
    return project.metadata("raw_trips", str(month))["status"]


def test_a_month_is_stored_as_published_with_checksum_and_source(project, published):
    assert project.ingest("2023-01", "2023-01").success
    file = published / "green_tripdata_2023-01.parquet"
    assert checksum(Path(store_of(project).raw_path(JANUARY))) == checksum(file)
    metadata = project.metadata("raw_trips", "2023-01")
    assert metadata["sha256"] == checksum(file)
    assert (metadata["status"], metadata["source"]) == ("fetched", str(published))
    assert (metadata["location"], metadata["dagster/row_count"]) == (str(file), 200)
    kept = project.metadata("trip_features", "2023-01")
    assert kept["dagster/row_count"] + project.metadata("rejected_trips", "2023-01")[
        "dagster/row_count"
    ] == 200  # fmt: skip
    assert kept["status"] == "published"


def test_columns_are_shown_with_their_meaning_and_origin(project):
    project.ingest("2023-01", "2023-01")
    metadata = project.metadata("trip_features", "2023-01")
    columns = {column.name: column for column in metadata["dagster/column_schema"].columns}
    assert "Target" in columns["duration_minutes"].description
    origin = metadata["dagster/column_lineage"].deps_by_column
    assert {dep.column_name for dep in origin["duration_minutes"]} == {
        "lpep_pickup_datetime",
        "lpep_dropoff_datetime",
    }


def test_ingesting_again_changes_nothing(project, tmp_path):
    project.ingest("2023-01", "2023-02")
    tables = list((tmp_path / "home").rglob("2023-0*.parquet"))
    before = {path: checksum(path) for path in tables}
    assert project.ingest("2023-01", "2023-02").success
    assert status(project, JANUARY) == "unchanged"
    assert len(before) == 4
    assert {path: checksum(path) for path in before} == before


def test_a_republished_month_replaces_the_stored_one_and_models_require_a_new_training_set(
    project, published
):
    project.ingest("2023-01", "2023-03")
    assert project.run("train_models", selection=["training_set"]).success
    publish(published, FEBRUARY, published_month(FEBRUARY, 190))
    assert project.ingest("2023-02", "2023-02").success
    assert status(project, FEBRUARY) == "republished"
    assert store_of(project).read_table("trip_features", FEBRUARY).height == 190

    refused = project.run("train_models", selection=["linear_regression_model"])
    assert "2023-02 was replaced since the training set was made" in failure(
        refused, "linear_regression_model"
    )
    assert project.run("train_models", selection=["training_set"]).success


def test_a_corrupt_raw_file_is_reported_and_ingested_again(project):
    project.ingest("2023-01", "2023-01")
    store = store_of(project)
    good = store.read_table("trip_features", JANUARY)
    with open(store.raw_path(JANUARY), "r+b") as file:
        file.truncate(0)
        file.truncate(store.raw_record(JANUARY).size_bytes if store.raw_record(JANUARY) else 9_000)
    messages = project.run("ingest_trips", selection=["trip_features"], tags=one(JANUARY))
    assert "materialize raw_trips of 2023-01" in failure(messages, "trip_features")
    assert store.read_table("trip_features", JANUARY).equals(good)
    assert project.ingest("2023-01", "2023-01").success
    assert store.read_table("trip_features", JANUARY).equals(good)


def one(month: Month) -> dict[str, str]:
    return {"dagster/partition": str(month)}


def test_unpublished_months_succeed_and_do_not_stop_training(tmp_path):
    published = tmp_path / "published"
    for month in (JANUARY, MARCH, APRIL):
        publish(published, month)
    with open_project(settings_for(tmp_path / "home", published)) as project:
        assert project.ingest("2023-01", "2023-06").success
        for month in (FEBRUARY, Month(2023, 6)):
            assert status(project, month) == "not published yet"
            for table in ("trip_features", "rejected_trips"):
                assert project.metadata(table, str(month))["dagster/row_count"] == 0
        assert store_of(project).months("trip_features") == [JANUARY, MARCH, APRIL]
        assert project.run("train_models", selection=["training_set"]).success
        described = RecordStore(project.settings.home, "green").read("training_set", TrainingSet)
        assert described.gaps == ["2023-02"]
        assert [str(month) for month in described.months_in("test")] == ["2023-04"]

        publish(published, FEBRUARY)
        assert project.ingest("2023-02", "2023-02").success
        assert store_of(project).months("trip_features") == [JANUARY, FEBRUARY, MARCH, APRIL]


def test_a_month_that_the_source_no_longer_lists_stays_stored(project, published):
    project.ingest("2023-01", "2023-02")
    (published / "green_tripdata_2023-02.parquet").unlink()
    assert project.ingest("2023-01", "2023-02").success
    assert status(project, FEBRUARY) == "no longer listed; kept"
    assert store_of(project).months("trip_features") == [JANUARY, FEBRUARY]


def test_published_trips_and_the_sample_stay_separate_in_a_home(tmp_path, published):
    home = tmp_path / "home"
    for number in range(1, 7):
        put_month(store_at(home, synthetic=True), Month(2023, number), 250, "sample")
    with open_project(settings_for(home, published)) as project:
        assert project.run("train_models", selection=["training_set"]).success is False
        assert project.ingest("2023-01", "2023-03").success
        assert project.run("train_models", selection=["training_set"]).success
        real = RecordStore(str(home), "green").read("training_set", TrainingSet)
        assert [use.month for use in real.months] == ["2023-01", "2023-02", "2023-03"]
        assert {use.source for use in real.months} == {str(published)}
    with open_project(settings_for(home, "sample")) as project:
        assert project.run("train_models", selection=["training_set"]).success
        sample = RecordStore(str(home), "sample_green").read("training_set", TrainingSet)
        assert len(sample.months) == 6
        assert sample.synthetic
        assert not real.synthetic
    assert RecordStore(str(home), "green").read("training_set", TrainingSet) == real


def test_yellow_trips_go_through_the_same_graph(tmp_path):
    published = tmp_path / "published"
    publish(published, JANUARY, published_month(JANUARY, taxi="yellow"), "yellow")
    settings = settings_for(tmp_path / "home", published, ML_ASSETS_TAXI="yellow")
    with open_project(settings) as project:
        assert project.ingest("2023-01", "2023-01").success
        assert project.metadata("trip_features", "2023-01")["dagster/row_count"] == 200
    assert (tmp_path / "home" / "trip_features" / "yellow" / "2023-01.parquet").is_file()


def test_assets_are_stored_in_a_home_at_a_url(published):
    settings = settings_for("memory://ingestion/home", published)
    with open_project(settings) as project:
        assert project.ingest("2023-01", "2023-03").success
        assert project.run("train_models", selection=["training_set"]).success
        assert store_of(project).months("rejected_trips") == [JANUARY, FEBRUARY, MARCH]


def test_progress_of_every_transfer_is_reported_to_a_terminal(project, published):
    seen: dict[Month, list[tuple[int, int | None]]] = {}
    with watching(lambda event: seen.setdefault(event.month, []).append((event.done, event.total))):
        assert project.ingest("2023-01", "2023-02").success
    size = (published / "green_tripdata_2023-02.parquet").stat().st_size
    assert list(seen) == [JANUARY, FEBRUARY]
    assert seen[FEBRUARY][-1] == (size, size)


def test_a_month_republished_after_the_listing_is_listed_again(published, tmp_path):
    from ml_assets.ingestion.ingest_month import ingest_month
    from ml_assets.ingestion.open_source import open_source

    source, store = open_source(str(published), "green"), store_at(tmp_path / "home")
    listed = source.published([JANUARY])[JANUARY]
    publish(published, JANUARY, published_month(JANUARY, 150))
    result = ingest_month(source, store, JANUARY, listed)
    assert result.outcome == "fetched"
    assert (result.record.rows, store.raw_record(JANUARY).rows) == (150, 150)
    assert ingest_month(source, store, JANUARY, source.published([JANUARY])[JANUARY]).outcome == (
        "unchanged"
    )


def test_features_of_a_month_that_is_not_ingested_say_what_to_do_first(project):
    selection = ["trip_features"]
    run = project.run("ingest_trips", selection=selection, tags=one(JANUARY))
    assert not run.success
    messages = failure(run, "trip_features")
    assert "raw_trips of 2023-01 was never materialized: materialize it first" in messages


def test_features_stay_when_their_raw_file_is_missing(project):
    assert project.ingest("2023-01", "2023-01").success
    store = store_of(project)
    good = store.read_table("trip_features", JANUARY)
    filesystem.remove(store.raw_path(JANUARY))
    run = project.run("ingest_trips", selection=["trip_features"], tags=one(JANUARY))
    assert "is gone: materialize raw_trips of 2023-01 first" in failure(run, "trip_features")
    assert store.read_table("trip_features", JANUARY).equals(good)
    assert project.ingest("2023-01", "2023-01").success


def test_two_concurrent_runs_on_one_month_leave_a_complete_month(project, tmp_path):
    """Two processes; the last rename wins, and no file mixes both."""
    command = [sys.executable, "-m", "ml_assets_tests.graph.ingest_months"]
    arguments = [str(project.settings.home), project.settings.trips, "2023-01", "2023-03"]
    runs = [subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE) for _ in range(2)]
    messages = [run.communicate(timeout=120)[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], messages
    store = store_of(project)
    for month in (JANUARY, FEBRUARY, MARCH):
        record = store.raw_record(month)
        assert record is not None
        assert store.verify_raw(month, record)
        kept = store.read_table("trip_features", month).height
        assert kept + store.read_table("rejected_trips", month).height == record.rows


def test_the_first_rows_of_a_month_are_shown(project):
    assert project.ingest("2023-01", "2023-01").success
    shown = project.metadata("raw_trips", "2023-01")["preview"].records
    assert shown[0].data["lpep_pickup_datetime"].startswith("2023-01-")
    assert len(shown) == 5
