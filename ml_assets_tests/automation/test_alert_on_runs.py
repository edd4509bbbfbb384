"""Alerts of real runs: told once, with what to do, and never at a run's expense."""

import logging
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from ml_assets.automation.alert_on_runs import FAILED_RUNS, SUCCEEDED_RUNS
from ml_assets.sources import published_filename
from ml_assets_tests.alerts.servers import (
    PASSWORD,
    free_port,
    logged,
    require_no_secret,
    running_webhook,
)
from ml_assets_tests.automation.alerted_home import MONTHS, UI, Home
from ml_assets_tests.published_months import publish, published_month

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")


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
