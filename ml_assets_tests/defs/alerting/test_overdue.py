"""Alerts about overdue assets, and the alert sensors with and without a channel."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)

from ml_assets.config.alert_settings import AlertSettings
from ml_assets.defs.alerting.champion import DECISIONS, DEGRADATION
from ml_assets.defs.alerting.overdue import (
    OVERDUE_ASSETS,
    RETRY,
    alert_sensors,
    reset_alert_cursors,
)
from ml_assets.defs.alerting.runs import FAILED_RUNS, SUCCEEDED_RUNS
from ml_assets_tests.alerts.servers import (
    PASSWORD,
    free_port,
    require_no_secret,
)
from ml_assets_tests.defs.alerting.alerted_home import MONTHS, UI, Decisions, Home
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_months import publish

ALERTS = {FAILED_RUNS, OVERDUE_ASSETS, DECISIONS, DEGRADATION, RETRY}
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")


def change(home, asset, state, at):
    home.project.instance._report_runless_asset_event(
        FreshnessStateChange(
            key=dg.AssetKey(asset),
            previous_state=FreshnessState.PASS,
            new_state=state,
            state_change_timestamp=at.timestamp(),
        )
    )


def test_an_overdue_asset_is_reported_once_each_time_it_becomes_overdue(home):
    publish(home.folder, MONTHS[0])
    home.ingest()
    since = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
    assert home.tick(OVERDUE_ASSETS) == "0 overdue, nothing new to report"
    change(home, "trip_features", FreshnessState.FAIL, since)
    home.tick(OVERDUE_ASSETS)
    (text,) = home.messages
    assert text.startswith("trip_features is overdue: it has not been materialized since 20")
    assert f"Where: {UI}/assets/trip_features\nSince: 2026-11-20 12:30 UTC\n" in text
    assert "What to do: Check with `ml-assets months`" in text
    assert home.tick(OVERDUE_ASSETS) == "1 overdue, nothing new to report"
    change(home, "trip_features", FreshnessState.PASS, since + timedelta(days=1))
    home.tick(OVERDUE_ASSETS)
    change(home, "trip_features", FreshnessState.FAIL, since + timedelta(days=60))
    home.tick(OVERDUE_ASSETS)
    assert len(home.messages) == 2


def test_an_undelivered_overdue_alert_is_resent_when_the_channel_is_back(
    home, project, folder, server
):
    down = Home(project, folder, server, email=server.settings(port=free_port()))
    change(down, "trip_features", FreshnessState.FAIL, datetime.now(UTC) - timedelta(days=2))
    assert "no channel accepted it" in down.tick(OVERDUE_ASSETS)
    home.tick(RETRY)
    (subject,) = home.subjects
    assert subject.startswith("[ml-assets] trip_features is overdue: ")


def test_dagster_s_own_daemon_finds_months_overdue_by_the_policy(home, monkeypatch):
    """The sensor reads the state that the freshness evaluator of Dagster's daemon writes."""
    import asyncio

    from dagster._core.definitions import freshness_evaluator
    from dagster._core.loader import LoadingContextForTest

    publish(home.folder, MONTHS[0])
    home.ingest()
    graph = home.project.definitions.resolve_asset_graph()
    node = graph.get(dg.AssetKey("trip_features"))
    evaluator = freshness_evaluator.TimeWindowFreshnessPolicyEvaluator()
    states = {}
    for days in (34, 36, 46):
        later = (datetime.now(UTC) + timedelta(days=days)).timestamp()
        monkeypatch.setattr(freshness_evaluator, "get_current_timestamp", lambda at=later: at)
        context = LoadingContextForTest(home.project.instance)
        states[days] = asyncio.run(evaluator.evaluate_freshness(context, node)).value
    assert states == {34: "PASS", 36: "WARN", 46: "FAIL"}


def test_without_a_channel_there_are_no_alert_sensors(project):
    assert alert_sensors(project.settings, AlertSettings()) == []
    names = {sensor.name for sensor in project.definitions.get_repository_def().sensor_defs}
    assert names and not [name for name in names if "alert" in name]


def test_a_newly_configured_channel_gets_only_later_events(project, folder, server):
    home = Home(project, folder, server)
    for name in home.ticking:
        home.tick(name)
    home.bad_month()
    home.ingest()
    Decisions(home).add("rollback")
    home = Home(project, folder, server)  # its sensors have no cursors, as after a reset
    for name in home.ticking:
        home.tick(name)
        home.tick(name)
    assert home.messages == []
    home.ingest()
    home.tick(FAILED_RUNS)
    assert len(home.messages) == 1


def test_cursors_of_alert_sensors_are_reset_and_no_others(tmp_path):
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        for name in (FAILED_RUNS, "another_sensor"):
            instance.add_instigator_state(instigator_state(name, cursor="before"))
        reset_alert_cursors(instance)  # as `ml-assets dev` does without a channel
        states = instance.all_instigator_state()
        cursors = {state.name: state.instigator_data.cursor for state in states}
        assert cursors == {FAILED_RUNS: None, "another_sensor": "before"}
        # A sensor that was switched off in the UI stays off.
        assert {state.status for state in states} == {InstigatorStatus.STOPPED}


def instigator_state(name: str, cursor: str | None) -> InstigatorState:
    """Dagster's state of a sensor that was switched off in the UI."""
    location = RegisteredCodeLocationOrigin("ml_assets")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    data = SensorInstigatorData(cursor=cursor, sensor_type=SensorType.STANDARD)
    return InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.STOPPED, data)


def test_all_alert_sensors_are_on_and_the_definitions_hold_no_secret(tmp_path, monkeypatch):
    from dagster._core.remote_representation.external_data import RepositorySnap

    environment = {
        "ML_ASSETS_ALERT_EMAIL_TO": "a@example.org",
        "ML_ASSETS_SMTP_HOST": "127.0.0.1",
        "ML_ASSETS_SMTP_USER": "mailer-of-alerts",
        "ML_ASSETS_SMTP_PASSWORD": PASSWORD,
        "ML_ASSETS_ALERT_WEBHOOK": "https://hooks.example.org/services/T0KEN123/B0T4567",
        "ML_ASSETS_ALERT_ON_SUCCESS": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with open_project(settings_for(tmp_path)) as project:
        repository = project.definitions.get_repository_def()
        sensors = {sensor.name: sensor for sensor in repository.sensor_defs}
        assert {*ALERTS, SUCCEEDED_RUNS} <= set(sensors)
        for name in (*ALERTS, SUCCEEDED_RUNS):
            assert sensors[name].default_status == dg.DefaultSensorStatus.RUNNING
        require_no_secret(repr(RepositorySnap.from_def(repository)), repr(sensors))
