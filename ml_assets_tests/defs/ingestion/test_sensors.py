"""Published months come in by themselves: each publication once, whatever happens on the way."""

import os
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from ml_assets.defs.automation import run_reason_of
from ml_assets.defs.ingestion import sensors
from ml_assets.defs.ingestion.sensors import months_until, new_months_sensor, poll_seconds
from ml_assets.ingestion import SourceUnavailable, published_filename
from ml_assets.ingestion.folder import FolderSource
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.calendar import new_york_date
from ml_assets.trips.month import Month
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


def test_new_months_come_in_once_and_more_of_them_as_they_are_published(ticking, published):
    assert ticking.tick() == []
    assert "nothing is published from 2023-01" in ticking.skipped
    for month in MONTHS[:2]:
        publish(published, month)
    asked = ticking.tick()
    assert months_of(asked) == [("2023-01", "2023-02")]
    assert run_reason_of(asked[0].tags) == "new: 2023-01 to 2023-02"
    (done,) = ticking.carry_out(asked)
    assert done.success
    assert store_of(ticking).months("trip_features") == MONTHS[:2]
    assert ticking.tick() == []
    publish(published, MONTHS[2])
    (asked,) = ticking.tick()
    assert asked.run_key.startswith("2023-03@")
    assert ticking.run(asked).success
    assert ticking.tick() == []


def test_what_looks_like_a_month_is_named_while_it_is_not_read(ticking, published):
    publish(published, MONTHS[0]).rename(published / "green_tripdata_2023-01 (1).parquet")
    (published / "green_tripdata_2023-02.parquet").symlink_to("gone.parquet")
    assert ticking.tick() == []
    assert "nothing is published from 2023-01" in ticking.skipped
    assert "; 2023-01: green_tripdata_2023-01 (1).parquet is there, but only" in ticking.skipped
    assert "; 2023-02: green_tripdata_2023-02.parquet is a link to nothing" in ticking.skipped


def test_a_month_that_is_no_file_is_asked_for_once_and_keeps_no_other_from_coming(
    ticking, published
):
    os.mkfifo(published / "green_tripdata_2023-01.parquet")
    publish(published, MONTHS[1])
    (together,) = ticking.carry_out(ticking.tick())
    assert not together.success
    one_by_one = ticking.carry_out(ticking.tick())
    assert [run.success for run in one_by_one] == [False, True]
    assert store_of(ticking).months("trip_features") == [MONTHS[1]]
    assert ticking.tick() == []
    assert "2023-01 (new): run" in ticking.skipped


def test_a_file_that_is_still_being_written_is_left_until_it_is_still(ticking, published, clock):
    file = publish(published, MONTHS[0])
    changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    clock.now = changed + timedelta(seconds=2)
    assert ticking.tick() == []
    assert ticking.skipped == "2023-01 (new): its file is still being written"
    clock.now = changed + timedelta(seconds=6)
    assert months_of(ticking.tick()) == [("2023-01", "2023-01")]


def test_a_month_is_asked_for_once_while_nothing_becomes_of_it(ticking, published):
    publish(published, MONTHS[0])
    assert len(ticking.tick()) == 1
    assert ticking.tick() == []
    ticking.cursor = "damaged"
    assert ticking.tick() == []  # the daemon knows the key


def test_a_month_republished_thrice_in_a_minute_is_brought_as_it_is_in_the_end(ticking, published):
    republish(published, MONTHS[0], 200)
    ticking.carry_out(ticking.tick())
    runs = 0
    for rows in (210, 220, 230):
        republish(published, MONTHS[0], rows)
        asked = ticking.tick()
        runs += len(asked)
        if rows != 220:  # that run is slow: what is published meanwhile is seen after it
            ticking.carry_out(asked)
    for _ in range(3):
        asked = ticking.tick()
        runs += len(asked)
        ticking.carry_out(asked)
    assert store_of(ticking).raw_record(MONTHS[0]).rows == 230
    assert runs == 3
    assert ticking.tick() == []


def test_a_month_that_was_not_published_when_it_was_asked_for_comes_when_it_is_out(
    ticking, published
):
    publish(published, MONTHS[0])
    assert ticking.project.ingest("2023-01", "2023-02").success
    assert ticking.project.metadata("raw_trips", "2023-02")["status"] == "not published yet"
    assert ticking.tick() == []
    publish(published, MONTHS[1])
    assert months_of(ticking.tick()) == [("2023-02", "2023-02")]


def test_what_was_lost_on_the_way_is_made_again(ticking, published, clock):
    publish(published, MONTHS[0])
    ticking.carry_out(ticking.tick())
    store_of(ticking).remove("rejected_trips", [MONTHS[0]])
    # The daemon knows the key of the run that brought it: a while later there is another.
    assert ticking.tick() == ticking.tick() == []
    assert "2023-01 (lost on the way): run" in ticking.skipped
    clock.now += timedelta(hours=1, minutes=1)
    (again,) = ticking.tick()
    assert ticking.run(again).success
    assert store_of(ticking).months("rejected_trips") == [MONTHS[0]]


@pytest.mark.parametrize("pressed", [False, True])
def test_it_waits_while_a_run_brings_months(ticking, published, pressed):
    publish(published, MONTHS[0])
    project = ticking.project
    if pressed:  # Materialize, on raw_trips alone
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
def test_it_waits_while_a_backfill_brings_months(ticking, published, asset, waits):
    publish(published, MONTHS[0])
    ticking.project.instance.add_backfill(
        PartitionBackfill(
            "pressed",
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=time.time(),
            asset_selection=[dg.AssetKey(asset)],
        )
    )
    assert bool(ticking.tick()) != waits
    assert ("backfill pressed is in progress" in (ticking.skipped or "")) == waits


def test_a_training_does_not_keep_months_from_coming(ticking, published):
    publish(published, MONTHS[0])
    left_in_progress(ticking.project, "retrain", dg.DagsterRunStatus.STARTED)
    assert len(ticking.tick()) == 1


def test_a_bad_month_keeps_no_other_from_coming_and_is_not_asked_for_again(ticking, published):
    publish(published, MONTHS[0])
    publish(published, MONTHS[2])
    bad = published / published_filename("green", MONTHS[1])
    bad.write_text("<html>service unavailable</html>")
    (failed,) = ticking.carry_out(ticking.tick())
    assert not failed.success
    asked = ticking.tick()
    assert months_of(asked) == [(str(month), str(month)) for month in MONTHS]
    assert [done.success for done in ticking.carry_out(asked)] == [True, False, True]
    assert store_of(ticking).months("trip_features") == [MONTHS[0], MONTHS[2]]
    for _ in range(3):
        assert ticking.tick() == []
    assert "2023-02 (new): run" in ticking.skipped
    assert "asked for again when it is published anew" in ticking.skipped
    republish(published, MONTHS[1], 200)
    assert months_of(ticking.tick()) == [("2023-02", "2023-02")]


def test_a_source_that_falls_over_during_a_transfer_is_asked_again_later(
    ticking, published, clock, monkeypatch
):
    publish(published, MONTHS[0])

    def falls_over(*_):
        raise SourceUnavailable("the line went dead")

    with monkeypatch.context() as broken:
        broken.setattr(FolderSource, "fetch", falls_over)
        (failed,) = ticking.carry_out(ticking.tick())
    assert not failed.success
    assert ticking.tick() == []
    assert "failed for a transient reason; next attempt at" in ticking.skipped
    clock.now += timedelta(hours=1, minutes=1)
    (again,) = ticking.tick()
    assert again.run_key.endswith(" #2")
    assert ticking.run(again).success
    assert ticking.tick() == []


def test_a_source_that_falls_over_for_a_moment_is_asked_again_in_the_same_run(
    ticking, published, monkeypatch
):
    publish(published, MONTHS[0])
    fetch, calls = FolderSource.fetch, []

    def falls_over_once(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise SourceUnavailable("the line went dead")
        fetch(*arguments)

    monkeypatch.setattr(FolderSource, "fetch", falls_over_once)
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


def test_a_source_that_does_not_answer_in_time_is_a_skip_with_its_reason(
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


def test_nothing_of_the_sample_begins_by_itself_until_it_was_asked_for_and_then_only_what_comes_out(
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


def test_the_months_end_with_new_yorks_date_wherever_the_process_runs(tmp_path, monkeypatch):
    settings = settings_for(tmp_path, ML_ASSETS_FIRST_MONTH="2023-10")
    expected = {
        datetime(2026, 1, 1, 4, 59, tzinfo=UTC): "2025-10",  # the old year's last minute there
        datetime(2026, 1, 1, 5, 0, tzinfo=UTC): "2025-11",
        datetime(2026, 4, 1, 3, 59, tzinfo=UTC): "2026-01",  # daylight saving has begun
        datetime(2026, 4, 1, 4, 0, tzinfo=UTC): "2026-02",
        datetime(2026, 11, 1, 3, 59, tzinfo=UTC): "2026-08",  # and ends on this very day
        datetime(2026, 11, 1, 4, 0, tzinfo=UTC): "2026-09",
    }
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        found = {now: str(months_until(settings, new_york_date(now))[-1]) for now in expected}
        assert found == expected
    monkeypatch.undo()
    time.tzset()


def test_nothing_is_looked_at_more_often_than_it_needs(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    seconds = {
        trips: poll_seconds(settings_for(tmp_path, trips))
        for trips in (str(folder), "tlc", "sample", "https://example.org/trips", "s3://bucket")
    }
    assert seconds.pop(str(folder)) == 30
    assert {*seconds.values()} == {3600}
    assert poll_seconds(settings_for("memory://home", folder)) == 300
