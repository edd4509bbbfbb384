"""Alerts of real runs and decisions: told once, with what to do, and never at a run's expense."""

import logging
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

from ml_assets.alerts.settings import AlertSettings
from ml_assets.automation.alert_on_runs import FAILED_RUNS, SUCCEEDED_RUNS
from ml_assets.automation.alert_sensors import DECISIONS, OVERDUE_ASSETS, alert_sensors
from ml_assets.modeling.decision_log import DecisionLog
from ml_assets.modeling.records import ChampionDecision
from ml_assets.resources import project_resources
from ml_assets.sources import published_filename
from ml_assets.trips.month import Month
from ml_assets_tests.alerts.servers import (
    PASSWORD,
    free_port,
    logged,
    require_no_secret,
    running_mail,
    running_webhook,
)
from ml_assets_tests.automation.ticks import Ticking
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")
MONTHS = [Month(2023, number) for number in (1, 2, 3)]
UI = "http://dagster.example.org"
ALERTS = {FAILED_RUNS, OVERDUE_ASSETS, DECISIONS}


class Home:
    """A project whose alerts go to a mail server of this machine."""

    def __init__(self, project, folder, mail, **changed):
        self.project, self.folder, self.mail = project, folder, mail
        self.later = timedelta()
        alerts = {"email": mail.settings(), "ui_url": UI, "on_success": True, **changed}
        self.sensors = alert_sensors(project.settings, AlertSettings(**alerts), self.now)
        self.ticking = {sensor.name: Ticking(project, sensor) for sensor in self.sensors}
        for name in self.ticking:
            self.tick(name)

    def now(self):
        return datetime.now(UTC) + self.later

    def tick(self, name):
        ticking = self.ticking[name]
        with dg.build_sensor_context(
            instance=self.project.instance,
            cursor=ticking.cursor,
            resources=project_resources(self.project.settings),
            definitions=self.project.definitions,
        ) as context:
            result = ticking.sensor.evaluate_tick(context)
        assert not result.run_requests
        # What a sensor of runs raises is no error of the tick, but of its reaction to the run.
        for reaction in result.dagster_run_reactions or []:
            assert reaction.error is None, reaction.error.to_string()
        ticking.cursor = result.cursor
        return result.skip_message

    def bad_month(self, month=MONTHS[0]):
        (self.folder / published_filename("green", month)).write_text("<html>unavailable</html>")

    def ingest(self, first=MONTHS[0], last=MONTHS[0]):
        return self.project.ingest(str(first), str(last))

    @property
    def messages(self):
        return [message.get_content() for message in self.mail.inbox.messages]

    @property
    def subjects(self):
        return self.mail.inbox.subjects


@pytest.fixture(scope="module")
def server():
    with running_mail() as running:
        yield running


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    return folder


@pytest.fixture
def project(tmp_path, folder):
    with open_project(settings_for(tmp_path / "home", folder)) as project:
        yield project


@pytest.fixture
def home(project, folder, server):
    server.inbox.envelopes.clear()
    return Home(project, folder, server)


def test_a_failed_run_is_told_with_step_reason_link_and_what_to_do(home):
    home.bad_month()
    failed = home.ingest()
    home.tick(FAILED_RUNS)
    (subject,), (text,) = home.subjects, home.messages
    assert subject.startswith("[ml-assets] ingest_trips failed at raw_trips: 1 of 1 months could")
    assert f"Where: {UI}/runs/{failed.run_id}\n" in text
    ended = home.project.instance.get_run_record_by_id(failed.run_id).end_time
    assert f"Since: {datetime.fromtimestamp(ended, UTC):%Y-%m-%d %H:%M} UTC\n" in text
    assert "No run of ingest_trips has succeeded before.\n" in text
    assert "What to do: Open the run and read the log of raw_trips." in text
    home.tick(FAILED_RUNS)
    assert len(home.messages) == 1


def test_what_failed_before_the_first_look_is_not_told(project, folder, server):
    server.inbox.envelopes.clear()
    (folder / published_filename("green", MONTHS[0])).write_text("bad")
    project.ingest("2023-01", "2023-01")
    home = Home(project, folder, server)
    home.tick(FAILED_RUNS)
    assert home.messages == []


def test_repeated_failures_are_one_message_until_the_window_is_over(home):
    home.bad_month()
    for _ in range(3):
        home.ingest()
        home.tick(FAILED_RUNS)
    assert len(home.messages) == 1
    home.later = timedelta(hours=6, minutes=1)
    home.ingest()
    home.tick(FAILED_RUNS)
    assert "Repeated: 2 more since " in home.messages[1]


def test_a_success_ends_the_fold_and_is_told_where_that_was_asked_for(home):
    home.bad_month()
    home.ingest()
    home.tick(FAILED_RUNS)
    publish(home.folder, MONTHS[0])
    assert home.ingest().success
    home.tick(SUCCEEDED_RUNS)
    assert home.subjects[1] == "[ml-assets] ingest_trips succeeded again, after it had failed"
    home.bad_month()
    home.ingest()
    home.tick(FAILED_RUNS)
    assert "ingest_trips last succeeded at " in home.messages[2]
    assert "Repeated" not in home.messages[2]


def test_a_success_ends_the_fold_where_it_is_not_told(project, folder, server):
    server.inbox.envelopes.clear()
    home = Home(project, folder, server, on_success=False)
    assert SUCCEEDED_RUNS not in home.ticking
    home.bad_month()
    home.ingest()
    home.tick(FAILED_RUNS)
    publish(home.folder, MONTHS[0])
    assert home.ingest().success
    home.bad_month()
    home.ingest()
    home.tick(FAILED_RUNS)
    assert len(home.messages) == 2


def test_a_blocking_check_is_told_with_its_finding_once_for_a_run(home):
    publish(home.folder, MONTHS[0], published_month(MONTHS[0], rows=0))
    failed = home.ingest()
    assert not failed.success
    home.tick(FAILED_RUNS)
    home.tick(FAILED_RUNS)
    (subject,), (text,) = home.subjects, home.messages
    evaluations = [
        check
        for check in failed.get_asset_check_evaluations()
        if check.blocking and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
    ]
    first = evaluations[0]
    name = f"{first.check_name} of {first.asset_key.to_user_string()}"
    assert subject.startswith(f"[ml-assets] Blocking check {name}: ")
    assert text.startswith(f"Blocking check {name}: {first.description}")
    assert f"See {UI}/assets/{first.asset_key.to_user_string()}?view=checks ." in text
    assert f"Where: {UI}/runs/{failed.run_id}\n" in text


def test_a_run_whose_process_was_killed_is_told_unless_it_is_started_again(home):
    instance = home.project.instance
    job = home.project.definitions.resolve_job_def("retrain")
    for tags in ({"dagster/will_retry": "true"}, {}):
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
        instance.report_run_failed(run, "The process that worked on this run is gone.")
    assert "is started again by itself" in home.tick(FAILED_RUNS)
    home.tick(FAILED_RUNS)
    assert home.subjects == [
        "[ml-assets] retrain failed: The process that worked on this run is gone."
    ]


@pytest.mark.parametrize("broken", [{"password": f"not-{PASSWORD}"}, {"port": None}])
def test_a_channel_that_fails_fails_no_run_and_no_sensor(
    project, folder, server, caplog, capfd, broken
):
    caplog.set_level(logging.DEBUG)
    server.inbox.envelopes.clear()
    broken = {name: value or free_port() for name, value in broken.items()}
    with running_webhook() as hook:
        mail = server.settings(**broken)
        home = Home(project, folder, server, email=mail, webhook=hook.url)
        home.bad_month()
        failed = home.ingest()
        home.tick(FAILED_RUNS)
        publish(folder, MONTHS[1])
        assert home.ingest(MONTHS[1], MONTHS[1]).success
        assert len(hook.texts) == 1
    assert f"{UI}/runs/{failed.run_id}" in hook.texts[0]
    assert home.messages == []
    told = capfd.readouterr()
    assert "was not sent by email: " in told.err + told.out
    events = "\n".join(str(entry) for entry in project.instance.all_logs(failed.run_id))
    tags = str(project.instance.get_run_by_id(failed.run_id).tags)
    require_no_secret(logged(caplog), told.err, told.out, events, tags, repr(home.sensors))


def test_a_failure_that_nobody_could_be_told_of_comes_with_the_next(
    project, folder, server, monkeypatch
):
    server.inbox.envelopes.clear()
    down = Home(project, folder, server, email=server.settings(port=free_port()))
    down.bad_month()
    down.ingest()
    assert "no channel took it" in down.tick(FAILED_RUNS)
    up = Home(project, folder, server)
    up.ingest()
    up.tick(FAILED_RUNS)
    assert "Repeated: 1 more since " in up.messages[0]


def test_a_home_that_cannot_be_written_keeps_nobody_from_being_told(home, tmp_path):
    home.bad_month()
    home.ingest()
    (tmp_path / "home" / "alerts").write_text("in the way")
    home.tick(FAILED_RUNS)
    assert len(home.messages) == 1


def change(home, asset, state, at):
    home.project.instance._report_runless_asset_event(
        FreshnessStateChange(
            key=dg.AssetKey(asset),
            previous_state=FreshnessState.PASS,
            new_state=state,
            state_change_timestamp=at.timestamp(),
        )
    )


def test_an_overdue_asset_is_told_once_and_again_when_it_is_overdue_anew(home):
    publish(home.folder, MONTHS[0])
    home.ingest()
    since = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
    assert home.tick(OVERDUE_ASSETS) == "0 overdue, nothing new to tell"
    change(home, "trip_features", FreshnessState.FAIL, since)
    home.tick(OVERDUE_ASSETS)
    (text,) = home.messages
    assert text.startswith("trip_features is overdue: it has not been materialized since 20")
    assert f"Where: {UI}/assets/trip_features\nSince: 2026-11-20 12:30 UTC\n" in text
    assert "What to do: See with `ml-assets months`" in text
    assert home.tick(OVERDUE_ASSETS) == "1 overdue, nothing new to tell"
    change(home, "trip_features", FreshnessState.PASS, since + timedelta(days=1))
    home.tick(OVERDUE_ASSETS)
    change(home, "trip_features", FreshnessState.FAIL, since + timedelta(days=60))
    home.tick(OVERDUE_ASSETS)
    assert len(home.messages) == 2


def test_dagster_s_own_daemon_finds_months_overdue_by_the_policy(home, monkeypatch):
    """The state that the sensor reads is what the evaluator of Dagster's daemon makes of it."""
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


class Decisions:
    """Decisions as trainings and people leave them."""

    def __init__(self, home):
        self.home, self.number = home, 0
        self.log = DecisionLog(home.project.settings.home, "green")

    def add(self, kind="training", promoted=False, **changed):
        self.number += 1
        made = {
            "decision_id": f"d{self.number}",
            "decided_at": (self.home.now() + timedelta(seconds=self.number)).isoformat(),
            "kind": kind,
            "promoted": promoted,
            "reason": f"reason {self.number}",
            "champion": "xgboost",
            "registry_version": "3",
            "previous_version": "2",
            "training_set": "",
            "synthetic": False,
            "served": "xgboost",
            "test_rmse": 1.0,
            "judged_month": "2023-03",
            "dagster_run_id": f"run{self.number}",
        }
        decision = ChampionDecision(**{**made, **changed})
        self.log.write(decision)
        return decision


@pytest.fixture
def decisions(home):
    return Decisions(home)


def test_two_refusals_in_a_row_are_told_with_both_reasons_and_so_is_each_further_one(
    home, decisions
):
    decisions.add(promoted=True)
    decisions.add()
    home.tick(DECISIONS)
    assert home.messages == []
    decisions.add()
    home.tick(DECISIONS)
    (text,) = home.messages
    assert text.startswith("Retraining was refused twice in a row: xgboost, version 3, goes on")
    assert ", judged on 2023-03: reason 2\n" in text
    assert ", judged on 2023-03: reason 3\n" in text
    assert f"Where: {UI}/runs/run3\n" in text
    assert "`ml-assets decisions d3`" in text
    home.tick(DECISIONS)
    decisions.add("rollback", promoted=True)  # a person's word between two trainings
    decisions.add()
    home.tick(DECISIONS)
    assert [subject.split(":")[0] for subject in home.subjects[1:]] == [
        "[ml-assets] The champion was rolled back",
        "[ml-assets] Retraining was refused twice in a row",
    ]


@pytest.mark.parametrize(
    ("kind", "title"), [("rollback", "was rolled back"), ("override", "was changed by hand")]
)
def test_a_champion_changed_by_a_person_is_told_once(home, decisions, kind, title):
    decisions.add(kind, promoted=True, dagster_run_id="")
    home.tick(DECISIONS)
    home.tick(DECISIONS)
    (text,) = home.messages
    what = f"The champion {title}: xgboost, version 3, serves instead of version 2\n"
    assert text.startswith(what)
    assert "Reason: reason 1\n" in text
    assert f"Where: {UI}/assets/champion_model\n" in text
    assert "`ml-assets promote 2 --reason …`" in text


def test_decisions_of_before_the_first_look_are_not_told(project, folder, server):
    server.inbox.envelopes.clear()
    early = Home(project, folder, server, email=None)
    before = Decisions(early)
    for kind in ("training", "training", "rollback"):
        before.add(kind)
    home = Home(project, folder, server)
    home.tick(DECISIONS)
    assert home.messages == []


def test_a_rollback_on_its_way_is_told_when_it_is_carried_out(home, decisions):
    on_its_way = decisions.add("rollback", promoted=True, carried_out=False)
    home.tick(DECISIONS)
    assert home.messages == []
    decisions.log.write(on_its_way.model_copy(update={"carried_out": True}))
    home.tick(DECISIONS)
    assert len(home.messages) == 1


def test_a_rollback_that_could_not_be_told_is_told_a_minute_later_but_not_for_ever(
    home, decisions, project, folder, server
):
    down = Home(project, folder, server, email=server.settings(port=free_port()))
    decisions.add("rollback", promoted=True)
    assert "no channel took it" in down.tick(DECISIONS)
    home.ticking[DECISIONS].cursor = down.ticking[DECISIONS].cursor
    home.tick(DECISIONS)
    assert len(home.messages) == 1
    decisions.add("rollback", promoted=True)
    down.later = timedelta(hours=2)
    assert "no channel took it" in down.tick(DECISIONS)
    assert down.tick(DECISIONS) == "no decision that people must know of"


def test_a_damaged_decision_is_a_skip_with_its_reason(home, decisions, tmp_path):
    decisions.add()
    (file,) = (tmp_path / "home" / "decisions" / "green").glob("*.json")
    file.write_text("{")
    assert "cannot be read as a decision" in home.tick(DECISIONS)


def test_without_a_channel_sensors_are_there_look_hourly_and_say_what_to_set(project, server):
    sensors = {sensor.name: sensor for sensor in alert_sensors(project.settings, AlertSettings())}
    assert set(sensors) == ALERTS
    for sensor in sensors.values():
        assert sensor.minimum_interval_seconds == 3600
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
        ticking = Ticking(project, sensor)
        assert ticking.tick() == []
        assert "alerts are off: set ML_ASSETS_ALERT_EMAIL_TO" in ticking.skipped


def test_a_channel_that_comes_after_a_time_without_begins_with_what_is_to_come(
    project, folder, server
):
    server.inbox.envelopes.clear()
    off = {s.name: Ticking(project, s) for s in alert_sensors(project.settings, AlertSettings())}
    for ticking in off.values():
        ticking.tick()
    home = Home(project, folder, server, email=None, webhook=None)
    home.bad_month()
    home.ingest()
    Decisions(home).add("rollback")
    home = Home(project, folder, server)
    for name, ticking in off.items():
        home.ticking[name].cursor = ticking.cursor
        home.tick(name)
        home.tick(name)
    assert home.messages == []
    home.ingest()
    home.tick(FAILED_RUNS)
    assert len(home.messages) == 1


def test_the_project_has_them_all_on_and_its_definitions_hold_no_secret(tmp_path, monkeypatch):
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
    with ExitStack() as stack:
        project = stack.enter_context(open_project(settings_for(tmp_path)))
        repository = project.definitions.get_repository_def()
        sensors = {sensor.name: sensor for sensor in repository.sensor_defs}
        assert {*ALERTS, SUCCEEDED_RUNS} <= set(sensors)
        for name in (*ALERTS, SUCCEEDED_RUNS):
            assert sensors[name].default_status == dg.DefaultSensorStatus.RUNNING
        require_no_secret(repr(RepositorySnap.from_def(repository)), repr(sensors))
