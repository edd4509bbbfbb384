"""Alerts about real runs: sent once, with what to do, and never failing a run."""

import logging
import shutil
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from ml_assets.defs.alerting.overdue import RETRY
from ml_assets.defs.alerting.runs import FAILED_RUNS, SUCCEEDED_RUNS
from ml_assets.ingestion.source import published_filename
from ml_assets_tests.alerts.servers import (
    PASSWORD,
    free_port,
    logged,
    require_no_secret,
    running_webhook,
)
from ml_assets_tests.defs.alerting.alerted_home import MONTHS, UI, Home
from ml_assets_tests.defs.ticks import left_in_progress
from ml_assets_tests.published_months import publish, published_month

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")


def test_a_failed_run_is_reported_with_step_reason_link_and_what_to_do(home):
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


def test_failures_before_the_first_tick_are_not_reported(project, folder, server):
    (folder / published_filename("green", MONTHS[0])).write_text("bad")
    project.ingest("2023-01", "2023-01")
    home = Home(project, folder, server)
    home.tick(FAILED_RUNS)
    assert home.messages == []


def test_repeated_failures_are_one_message_until_the_end_of_the_window(home):
    home.bad_month()
    for _ in range(3):
        home.ingest()
        home.tick(FAILED_RUNS)
    assert len(home.messages) == 1
    home.later = timedelta(hours=6, minutes=1)
    home.ingest()
    home.tick(FAILED_RUNS)
    assert "Repeated: 2 more since " in home.messages[1]


def test_the_number_of_repeats_is_sent_at_the_end_of_the_window_without_a_further_failure(home):
    home.bad_month()
    for _ in range(3):
        newest = home.ingest()
        home.tick(FAILED_RUNS)
    assert home.tick(RETRY) == "no pending alerts"
    home.later = timedelta(hours=6, minutes=1)
    home.tick(RETRY)
    home.tick(RETRY)
    _, text = home.messages
    assert "Repeated: 2 more since " in text
    assert "; this is the newest of them.\n" in text
    assert f"Where: {UI}/runs/{newest.run_id}\n" in text


def test_a_failure_for_another_reason_is_sent_at_once(home):
    home.bad_month(MONTHS[0])
    home.ingest(MONTHS[0], MONTHS[0])
    home.tick(FAILED_RUNS)
    (home.folder / published_filename("green", MONTHS[1])).write_bytes(b"PAR1 cut short")
    for month in (MONTHS[1], MONTHS[0]):
        home.ingest(month, month)
        home.tick(FAILED_RUNS)
    first, second = home.subjects
    assert "2023-01: " in first and "a web page" in home.messages[0]
    assert "2023-02: " in second and "a web page" not in home.messages[1]


def test_the_last_success_is_the_one_before_the_failure(home):
    home.bad_month()
    home.ingest()
    publish(home.folder, MONTHS[1])
    assert home.ingest(MONTHS[1], MONTHS[1]).success
    home.bad_month()
    home.ingest()
    home.tick(FAILED_RUNS)
    early, late = home.messages
    assert "No run of ingest_trips has succeeded before.\n" in early
    assert "ingest_trips last succeeded at " in late


def test_a_run_that_started_before_and_succeeded_after_the_failure_is_no_earlier_success(home):
    other = left_in_progress(home.project, "ingest_trips", dg.DagsterRunStatus.STARTED)
    home.bad_month()
    home.ingest()
    ended = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=other.job_name)
    home.project.instance.report_dagster_event(ended, other.run_id)
    home.tick(FAILED_RUNS)
    (text,) = home.messages
    assert "No run of ingest_trips has succeeded before.\n" in text


def test_a_success_resolves_the_failure_and_is_reported_where_configured(home):
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


def test_a_success_resolves_the_failure_where_it_is_not_reported(project, folder, server):
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


def test_a_blocking_check_is_reported_once_per_run_with_its_description(home):
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


def test_a_killed_run_is_reported_unless_it_is_retried(home):
    instance = home.project.instance
    job = home.project.definitions.resolve_job_def("retrain")
    for tags in ({"dagster/will_retry": "true"}, {}):
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
        instance.report_run_failed(run, "The process that worked on this run is gone.")
    assert "is retried automatically" in home.tick(FAILED_RUNS)
    home.tick(FAILED_RUNS)
    assert home.subjects == [
        "[ml-assets] retrain failed: The process that worked on this run is gone."
    ]


@pytest.mark.parametrize("broken", [{"password": f"not-{PASSWORD}"}, {"port": None}])
def test_a_failing_channel_fails_no_run_and_no_sensor(
    project, folder, server, caplog, capfd, broken
):
    caplog.set_level(logging.DEBUG)
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
    output = capfd.readouterr()
    assert "was not sent by email: " in output.err + output.out
    events = "\n".join(str(entry) for entry in project.instance.all_logs(failed.run_id))
    tags = str(project.instance.get_run_by_id(failed.run_id).tags)
    require_no_secret(logged(caplog), output.err, output.out, events, tags, repr(home.sensors))


@pytest.fixture
def outage(server):
    """Switches an outage on and off: the mail server rejects all recipients."""
    everyone = server.settings().to

    def switch(on):
        server.inbox.refused = everyone if on else ()

    yield switch
    switch(False)


def test_an_undelivered_failure_is_resent_when_the_channel_is_back(home, outage):
    outage(True)
    home.bad_month()
    failed = home.ingest()
    assert "no channel accepted it, it will be retried" in home.tick(FAILED_RUNS)
    home.tick(RETRY)
    outage(False)
    home.tick(RETRY)
    assert home.tick(RETRY) == "no pending alerts"
    (text,) = home.messages
    assert text.startswith("ingest_trips failed at raw_trips: ")
    assert f"Where: {UI}/runs/{failed.run_id}\n" in text


def test_an_undelivered_failure_is_counted_in_the_next(home, outage):
    outage(True)
    home.bad_month()
    home.ingest()
    home.tick(FAILED_RUNS)
    outage(False)
    home.ingest()
    home.tick(FAILED_RUNS)
    home.tick(RETRY)
    (text,) = home.messages
    assert "Repeated: 1 more since " in text


def test_an_alert_undelivered_for_days_is_dropped_with_a_warning(home, outage, capfd):
    outage(True)
    home.bad_month()
    home.ingest()
    home.tick(FAILED_RUNS)
    home.later = timedelta(days=3, minutes=1)
    home.tick(RETRY)
    outage(False)
    home.tick(RETRY)
    assert home.messages == []
    logged_text = "".join(capfd.readouterr())
    assert "No channel accepted this alert for days, dropped: ingest_trips failed at" in logged_text


def test_an_undelivered_success_is_resent_when_the_channel_is_back(home, outage):
    outage(True)
    publish(home.folder, MONTHS[0])
    home.ingest()
    home.tick(SUCCEEDED_RUNS)
    outage(False)
    home.tick(RETRY)
    assert home.subjects == ["[ml-assets] ingest_trips succeeded"]


def test_alerts_are_sent_when_the_home_cannot_be_written(home, tmp_path):
    home.bad_month()
    home.ingest()
    shutil.rmtree(tmp_path / "home" / "alerts")
    (tmp_path / "home" / "alerts").write_text("in the way")
    home.tick(FAILED_RUNS)
    home.tick(RETRY)
    assert len(home.messages) == 1
