"""Published months are ingested automatically: each publication once, despite failures."""

import os
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from ml_assets.defs.ingestion import sensors
from ml_assets.defs.ingestion.sensors import months_until, new_months_sensor, poll_seconds
from ml_assets.defs.operations.run_tags import run_reason_of
from ml_assets.ingestion.folder import FolderSource
from ml_assets.ingestion.source import SourceUnavailable, published_filename
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month, new_york_date
from ml_assets_tests.defs.ticks import Ticking, left_in_progress, months_of
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

MONTHS = [Month(2023, number) for number in (1, 2, 3)]


class Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.now = datetime.now(UTC)

    def __call__(self):
        return self.now


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    return folder


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ticking(tmp_path, published, clock):
    settings = settings_for(tmp_path / "home", published)
    with open_project(settings) as project:
        yield Ticking(project, new_months_sensor(settings, clock))


def store_of(ticking):
    settings = ticking.project.settings
    return TripStore(settings.home, settings.taxi, settings.synthetic)


def republish(folder, month, rows):
    path = publish(folder, month, published_month(month, rows))
    # A file system that counts in whole seconds would not tell two within one apart.
    os.utime(path, (rows, rows))


def test_new_months_are_ingested_once_as_they_are_published(ticking, published):
    assert ticking.tick() == []
    assert "nothing is published from 2023-01" in ticking.skipped
    for month in MONTHS[:2]:
        publish(published, month)
    requests = ticking.tick()
    assert months_of(requests) == [("2023-01", "2023-02")]
    assert run_reason_of(requests[0].tags) == "new: 2023-01 to 2023-02"
    (done,) = ticking.carry_out(requests)
    assert done.success
    assert store_of(ticking).months("trip_features") == MONTHS[:2]
    assert ticking.tick() == []
    publish(published, MONTHS[2])
    (request,) = ticking.tick()
    assert request.run_key.startswith("2023-03@")
    assert ticking.run(request).success
    assert ticking.tick() == []


def test_files_that_resemble_a_month_are_named_with_why_they_are_not_read(ticking, published):
    publish(published, MONTHS[0]).rename(published / "green_tripdata_2023-01 (1).parquet")
    (published / "green_tripdata_2023-02.parquet").symlink_to("gone.parquet")
    assert ticking.tick() == []
    assert "nothing is published from 2023-01" in ticking.skipped
    assert "; 2023-01: green_tripdata_2023-01 (1).parquet is there, but only" in ticking.skipped
    assert "; 2023-02: green_tripdata_2023-02.parquet is a broken link" in ticking.skipped


def test_a_month_that_is_no_file_is_requested_once_and_blocks_no_other(ticking, published):
    os.mkfifo(published / "green_tripdata_2023-01.parquet")
    publish(published, MONTHS[1])
    (together,) = ticking.carry_out(ticking.tick())
    assert not together.success
    one_by_one = ticking.carry_out(ticking.tick())
    assert [run.success for run in one_by_one] == [False, True]
    assert store_of(ticking).months("trip_features") == [MONTHS[1]]
    assert ticking.tick() == []
    assert "2023-01 (new): run" in ticking.skipped


def test_a_file_that_is_still_being_written_is_ingested_later(ticking, published, clock):
    file = publish(published, MONTHS[0])
    changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    clock.now = changed + timedelta(seconds=2)
    assert ticking.tick() == []
    assert ticking.skipped == "2023-01 (new): its file is still being written"
    clock.now = changed + timedelta(seconds=6)
    assert months_of(ticking.tick()) == [("2023-01", "2023-01")]


def test_a_month_is_requested_once_while_its_run_has_not_started(ticking, published):
    publish(published, MONTHS[0])
    assert len(ticking.tick()) == 1
    assert ticking.tick() == []
    ticking.cursor = "damaged"
    assert ticking.tick() == []  # the daemon knows the key


def test_the_last_of_several_quick_republications_is_stored(ticking, published):
    republish(published, MONTHS[0], 200)
    ticking.carry_out(ticking.tick())
    runs = 0
    for rows in (210, 220, 230):
        republish(published, MONTHS[0], rows)
        requests = ticking.tick()
        runs += len(requests)
        if rows != 220:  # that run is slow: a publication meanwhile is found after it
            ticking.carry_out(requests)
    for _ in range(3):
        requests = ticking.tick()
        runs += len(requests)
        ticking.carry_out(requests)
    assert store_of(ticking).raw_record(MONTHS[0]).rows == 230
    assert runs == 3
    assert ticking.tick() == []


def test_a_month_requested_before_its_publication_is_ingested_when_it_is_out(ticking, published):
    publish(published, MONTHS[0])
    assert ticking.project.ingest("2023-01", "2023-02").success
    assert ticking.project.metadata("raw_trips", "2023-02")["status"] == "not published yet"
    assert ticking.tick() == []
    publish(published, MONTHS[1])
    assert months_of(ticking.tick()) == [("2023-02", "2023-02")]


def test_a_missing_table_of_a_stored_month_is_made_again(ticking, published, clock):
    publish(published, MONTHS[0])
    ticking.carry_out(ticking.tick())
    store_of(ticking).remove("rejected_trips", [MONTHS[0]])
    # The daemon knows the key of the first run: after a delay there is another key.
    assert ticking.tick() == ticking.tick() == []
    assert "2023-01 (incomplete): run" in ticking.skipped
    clock.now += timedelta(hours=1, minutes=1)
    (again,) = ticking.tick()
    assert ticking.run(again).success
    assert store_of(ticking).months("rejected_trips") == [MONTHS[0]]


@pytest.mark.parametrize("in_ui", [False, True])
def test_it_waits_while_a_run_ingests_months(ticking, published, in_ui):
    publish(published, MONTHS[0])
    project = ticking.project
    if in_ui:  # Materialize, on raw_trips alone
        every = project.definitions.get_repository_def().get_implicit_global_asset_job_def()
        job = every.get_subset(asset_selection={dg.AssetKey("raw_trips")})
        status = dg.DagsterRunStatus.STARTED
        run = project.instance.create_run_for_job(job, status=status)
    else:
        run = left_in_progress(project, "ingest_trips", dg.DagsterRunStatus.NOT_STARTED)
    assert ticking.tick() == []
    assert run.run_id[:8] in ticking.skipped
    project.instance.delete_run(run.run_id)
    assert len(ticking.tick()) == 1


@pytest.mark.parametrize(("asset", "waits"), [("trip_features", True), ("taxi_zones", False)])
def test_it_waits_while_a_backfill_ingests_months(ticking, published, asset, waits):
    publish(published, MONTHS[0])
    ticking.project.instance.add_backfill(
        PartitionBackfill(
            "from-the-ui",
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=time.time(),
            asset_selection=[dg.AssetKey(asset)],
        )
    )
    assert bool(ticking.tick()) != waits
    assert ("backfill from-the-ui is in progress" in (ticking.skipped or "")) == waits


def test_a_training_does_not_block_ingestion(ticking, published):
    publish(published, MONTHS[0])
    left_in_progress(ticking.project, "retrain", dg.DagsterRunStatus.STARTED)
    assert len(ticking.tick()) == 1


def test_a_bad_month_blocks_no_other_and_is_not_requested_again(ticking, published):
    publish(published, MONTHS[0])
    publish(published, MONTHS[2])
    bad = published / published_filename("green", MONTHS[1])
    bad.write_text("<html>service unavailable</html>")
    (failed,) = ticking.carry_out(ticking.tick())
    assert not failed.success
    requests = ticking.tick()
    assert months_of(requests) == [(str(month), str(month)) for month in MONTHS]
    assert [done.success for done in ticking.carry_out(requests)] == [True, False, True]
    assert store_of(ticking).months("trip_features") == [MONTHS[0], MONTHS[2]]
    for _ in range(3):
        assert ticking.tick() == []
    assert "2023-02 (new): run" in ticking.skipped
    assert "it will be requested again when it is republished" in ticking.skipped
    republish(published, MONTHS[1], 200)
    assert months_of(ticking.tick()) == [("2023-02", "2023-02")]


def test_a_source_that_fails_during_a_transfer_is_retried_later(
    ticking, published, clock, monkeypatch
):
    publish(published, MONTHS[0])

    def fail(*_):
        raise SourceUnavailable("the line went dead")

    with monkeypatch.context() as broken:
        broken.setattr(FolderSource, "fetch", fail)
        (failed,) = ticking.carry_out(ticking.tick())
    assert not failed.success
    assert ticking.tick() == []
    assert "failed for a transient reason; next attempt at" in ticking.skipped
    clock.now += timedelta(hours=1, minutes=1)
    (again,) = ticking.tick()
    assert again.run_key.endswith(" #2")
    assert ticking.run(again).success
    assert ticking.tick() == []


def test_a_source_that_fails_briefly_is_retried_in_the_same_run(ticking, published, monkeypatch):
    publish(published, MONTHS[0])
    fetch, calls = FolderSource.fetch, []

    def fail_once(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise SourceUnavailable("the line went dead")
        fetch(*arguments)

    monkeypatch.setattr(FolderSource, "fetch", fail_once)
    (done,) = ticking.carry_out(ticking.tick())
    assert done.success
    assert len(calls) == 2


def test_a_source_that_is_down_is_a_skip_with_its_reason(ticking, published):
    published.rmdir()
    assert ticking.tick() == []
    assert "there is no such folder" in ticking.skipped
    published.mkdir()
    publish(published, MONTHS[0])
    assert len(ticking.tick()) == 1


def test_a_source_that_does_not_respond_in_time_is_a_skip_with_its_reason(
    ticking, published, monkeypatch
):
    listing = FolderSource.published

    def slowly(*arguments):
        time.sleep(1)
        return listing(*arguments)

    monkeypatch.setattr(FolderSource, "published", slowly)
    monkeypatch.setattr(sensors, "LISTING_SECONDS", 0.1)
    assert ticking.tick() == []
    assert "did not list its months within 0.1 s" in ticking.skipped
    time.sleep(1.2)


def test_the_sample_is_not_ingested_until_its_first_month_is_and_then_only_new_months(
    tmp_path, clock
):
    settings = settings_for(tmp_path / "home", ML_ASSETS_FIRST_MONTH="2023-06")
    clock.now = datetime(2023, 9, 30, 12, tzinfo=UTC)
    with open_project(settings) as project:
        ticking = Ticking(project, new_months_sensor(settings, clock))
        assert ticking.tick() == []
        assert "Materialize all" in ticking.skipped
        assert project.ingest("2023-06", "2023-06").success
        assert ticking.tick() == []
        assert "nothing is published from 2023-06 to 2023-07" in ticking.skipped
        clock.now = datetime(2023, 10, 1, 12, tzinfo=UTC)
        assert months_of(ticking.tick()) == [("2023-08", "2023-08")]


def test_the_months_end_with_new_yorks_date_in_any_time_zone(tmp_path, monkeypatch):
    settings = settings_for(tmp_path, ML_ASSETS_FIRST_MONTH="2023-10")
    expected = {
        datetime(2026, 1, 1, 4, 59, tzinfo=UTC): "2025-10",  # the last minute of the year there
        datetime(2026, 1, 1, 5, 0, tzinfo=UTC): "2025-11",
        datetime(2026, 4, 1, 3, 59, tzinfo=UTC): "2026-01",  # daylight saving has begun
        datetime(2026, 4, 1, 4, 0, tzinfo=UTC): "2026-02",
        datetime(2026, 11, 1, 3, 59, tzinfo=UTC): "2026-08",  # it ends on this day
        datetime(2026, 11, 1, 4, 0, tzinfo=UTC): "2026-09",
    }
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        found = {now: str(months_until(settings, new_york_date(now))[-1]) for now in expected}
        assert found == expected
    monkeypatch.undo()
    time.tzset()


def test_slow_sources_are_polled_less_often(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    seconds = {
        trips: poll_seconds(settings_for(tmp_path, trips))
        for trips in (str(folder), "tlc", "sample", "https://example.org/trips", "s3://bucket")
    }
    assert seconds.pop(str(folder)) == 30
    assert {*seconds.values()} == {3600}
    assert poll_seconds(settings_for("memory://home", folder)) == 300
