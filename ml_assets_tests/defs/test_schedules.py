"""Schedules: in New York time whatever happens to the clocks, and only when something changed."""

import os
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from ml_assets.config.environment import SettingsError
from ml_assets.defs.operations.run_tags import run_reason_of
from ml_assets.defs.schedules import project_schedules
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.new_data import next_training
from ml_assets.serving.request_log.files import FOLDER
from ml_assets.serving.request_log.writer import RequestLog
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets_tests.defs.ticks import evaluate, left_in_progress, months_of
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.promotion.made_decisions import decision_on
from ml_assets_tests.published_months import publish
from ml_assets_tests.serving.request_log.logged_requests import one

NEW_YORK = ZoneInfo("America/New_York")
AT = datetime(2026, 11, 22, 4, tzinfo=NEW_YORK)
MONTHS = [Month(2023, number) for number in (1, 2, 3)]


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    return folder


@pytest.fixture
def project(tmp_path, published):
    with open_project(settings_for(tmp_path / "home", published)) as project:
        yield project


def tick(project, name, at=AT):
    schedules = {schedule.name: schedule for schedule in project_schedules(project.settings)}
    return evaluate(project, schedules[name], at)


def materialize(project, *assets):
    for asset in assets:
        project.instance.report_runless_asset_event(dg.AssetMaterialization(asset))


def decide(project, **changed):
    store = TripStore(project.settings.home, "green", synthetic=False)
    training_set = next_training(store).training_set
    assert training_set is not None
    decision = decision_on(training_set).model_copy(update=changed)
    DecisionLog(project.settings.home, "green").write(decision)


def test_missing_and_given_up_months_are_ingested(project, published):
    assert tick(project, "ingest_monthly")[1] == "every published month is stored"
    for month in MONTHS[:2]:
        publish(published, month)
    (request,), _ = tick(project, "ingest_monthly")
    assert months_of([request]) == [("2023-01", "2023-02")]
    assert request.run_key.endswith("at 2026-11-22 04:00")
    assert project.run("ingest_trips", tags=request.tags).success
    assert tick(project, "ingest_monthly")[1] == "every published month is stored"
    left_in_progress(project, "ingest_trips", dg.DagsterRunStatus.STARTED)
    assert "months are being ingested" in tick(project, "ingest_monthly")[1]


def test_a_source_that_is_down_is_a_skip_with_its_reason(project, published):
    published.rmdir()
    assert "there is no such folder" in tick(project, "ingest_monthly")[1]


def test_only_new_months_of_the_sample_are_ingested(tmp_path):
    settings = settings_for(tmp_path, ML_ASSETS_FIRST_MONTH="2023-05")
    october = datetime(2023, 10, 5, 10, tzinfo=UTC)
    with open_project(settings) as project:
        schedule = project_schedules(settings, lambda: october)[0]
        assert evaluate(project, schedule, october)[0] == []
        assert project.ingest("2023-05", "2023-05").success
        assert months_of(evaluate(project, schedule, october)[0]) == [("2023-08", "2023-08")]


def test_monitoring_waits_for_a_champion_and_then_for_changes(project):
    assert "no trip_features and no champion_model" in tick(project, "monitor_monthly")[1]
    materialize(project, "trip_features", "champion_model")
    assert len(tick(project, "monitor_monthly")[0]) == 1
    materialize(project, "feature_drift", "prediction_performance")
    assert "newer than the last measurement" in tick(project, "monitor_monthly")[1]
    materialize(project, "champion_model")
    assert len(tick(project, "monitor_monthly")[0]) == 1
    left_in_progress(project, "retrain", dg.DagsterRunStatus.STARTED)
    assert "months or the champion may change" in tick(project, "monitor_monthly")[1]


def test_the_request_log_is_measured_when_it_has_new_entries(project):
    log = project.settings.local_home / FOLDER
    assert "no prediction has been served yet" in tick(project, "summarize_requests_daily")[1]
    answered(log)
    (request,), _ = tick(project, "summarize_requests_daily")
    assert request.asset_selection == [dg.AssetKey("request_log_metrics")]
    result = project.run("run_monitoring", selection=["request_log_metrics"], tags=request.tags)
    assert result.success
    assert "no prediction was served since" in tick(project, "summarize_requests_daily")[1]
    answered(log)
    assert len(tick(project, "summarize_requests_daily")[0]) == 1


def test_entries_written_during_a_measurement_are_measured_again(project):
    log = project.settings.local_home / FOLDER
    answered(log)
    assert project.run("run_monitoring", selection=["request_log_metrics"]).success
    (before,) = (path.stat().st_mtime for path in log.iterdir())
    answered(log)
    for path in log.iterdir():  # after the log was read, before the asset was materialized
        os.utime(path, (before + 0.001, before + 0.001))
    assert len(tick(project, "summarize_requests_daily")[0]) == 1


def answered(folder):
    """The service answers a request."""
    log = RequestLog(folder)
    log.add(one())
    log.close(10)
    assert log.written == 1


def test_the_weekly_retraining_depends_on_months_and_code(project, published):
    assert "there are no months of trips" in tick(project, "retrain_weekly")[1]
    for month in MONTHS[:2]:
        publish(published, month)
    assert project.ingest("2023-01", "2023-02").success
    (request,), _ = tick(project, "retrain_weekly")
    assert run_reason_of(request.tags) == "weekly retraining (new: 2023-01 to 2023-02)"
    decide(project)
    assert "those of the last training" in tick(project, "retrain_weekly")[1]
    decide(project, training_set="made by other code", decided_at="2026-11-02T00:00:00+0000")
    (request,), _ = tick(project, "retrain_weekly")
    assert run_reason_of(request.tags) == "weekly retraining (the code, or older months, changed)"
    left_in_progress(project, "train_models", dg.DagsterRunStatus.STARTED)
    assert "another run is in progress" in tick(project, "retrain_weekly")[1]


def test_an_interrupted_decision_is_repeated_by_the_weekly_retraining(project, published):
    for month in MONTHS[:2]:
        publish(published, month)
    assert project.ingest("2023-01", "2023-02").success
    decide(project, applied=False)
    assert len(tick(project, "retrain_weekly")[0]) == 1


def test_each_schedule_can_be_switched_off(tmp_path):
    settings = settings_for(
        tmp_path, ML_ASSETS_INGEST_CRON="off", ML_ASSETS_RETRAIN_CRON="5 5 * * 1"
    )
    schedules = {schedule.name: schedule for schedule in project_schedules(settings)}
    assert {*schedules} == {"monitor_monthly", "retrain_weekly", "summarize_requests_daily"}
    assert schedules["retrain_weekly"].cron_schedule == "5 5 * * 1"
    for schedule in schedules.values():
        assert schedule.execution_timezone == "America/New_York"
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


@pytest.mark.parametrize(
    "expression",
    ["0 4 * * 0", " 5  4 * * *", "*/15 0-6,12 1-7/2 JAN,jul mon-FRI", "0 0 29 2 *", "@daily"],
)
def test_common_cron_expressions_are_accepted(tmp_path, expression):
    settings = settings_for(tmp_path, ML_ASSETS_MONITOR_CRON=expression)
    (made,) = (each for each in project_schedules(settings) if each.name == "monitor_monthly")
    assert made.cron_schedule == " ".join(expression.split())


@pytest.mark.parametrize(
    "expression",
    ["monthly", "OFF", "* * *", "* * * * * *", "0 25 * * *", "0 4 30 2 *", "0 0 31 4,6 *"],
)
def test_invalid_cron_expressions_raise_with_variable_and_remedy(tmp_path, expression):
    settings = settings_for(tmp_path, ML_ASSETS_RETRAIN_CRON=expression)
    with pytest.raises(SettingsError) as error:
        project_schedules(settings)
    line = str(error.value)
    assert line.startswith(f"ML_ASSETS_RETRAIN_CRON={expression!r} is not allowed: use five fields")
    assert line.endswith("in New York time that match a date, for example '0 4 * * 0', or off")


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/New_York"])
@pytest.mark.parametrize("day", [datetime(2026, 3, 8), datetime(2026, 11, 1)])
def test_schedules_run_once_on_days_of_clock_changes(tmp_path, monkeypatch, zone, day):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    settings = settings_for(
        tmp_path,
        ML_ASSETS_INGEST_CRON=f"0 6 {day.day} * *",
        ML_ASSETS_MONITOR_CRON="30 2 * * *",  # an hour that March skips and November has twice
    )
    start = day.replace(tzinfo=NEW_YORK)
    end = (day + timedelta(days=1)).replace(tzinfo=NEW_YORK)
    for schedule in project_schedules(settings):
        ticks = []
        times = schedule_execution_time_iterator(
            start.timestamp(), schedule.cron_schedule, schedule.execution_timezone
        )
        while (at := next(times)).timestamp() < end.timestamp():
            ticks.append(at.astimezone(NEW_YORK))
        hours = {"ingest_monthly": 6, "retrain_weekly": 4, "summarize_requests_daily": 5}
        assert len(ticks) == 1, schedule.name
        if schedule.name != "monitor_monthly":
            assert ticks[0].hour == hours[schedule.name]
    monkeypatch.undo()
    time.tzset()
