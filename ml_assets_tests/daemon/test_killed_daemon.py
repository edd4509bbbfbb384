"""``ml-assets dev`` killed with all its processes, or only its daemon, in the middle of a run.

The first is started again by the user, the second by ``ml-assets dev``.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from ml_assets.cli.instance import DAGSTER_YAML
from ml_assets_tests.browser.dagster_ui import running_ui, wait_for
from ml_assets_tests.cli.calling import call
from ml_assets_tests.cli.test_dev import processes_of
from ml_assets_tests.published_home import MONTHS, NEXT

FAMILY = "xgboost_model"
TRIALS = 30
"""Enough for some seconds of tuning, during which everything is killed."""

INGEST = ["run", "--first", str(MONTHS[0]), "--last", str(MONTHS[-1]), "--ingest-only", "--json"]


def retrain(ui, trials=TRIALS):
    """Launch a retraining of one family."""
    keys = ["training_set", FAMILY, "model_leaderboard", "champion_model"]
    config = {"ops": {FAMILY: {"config": {"trials": trials}}}}
    return launch(ui, "retrain", config, keys)


def ingest(ui):
    """Launch the ingestion of a month published after the others were ingested."""
    keys = ["raw_trips", "trip_features", "rejected_trips"]
    return launch(ui, "ingest_trips", {}, keys, {"dagster/partition": str(NEXT)})


def launch(ui, job, config, keys, tags=None):
    launched = ui.query(
        "mutation($job: String!, $config: RunConfigData!, $keys: [AssetKeyInput!],"
        " $tags: [ExecutionTag!]) {"
        " launchPipelineExecution(executionParams: {selector: {repositoryLocationName:"
        ' "ml_assets", repositoryName: "__repository__", pipelineName: $job,'
        " assetSelection: $keys}, runConfigData: $config, executionMetadata: {tags: $tags}})"
        " { __typename ... on LaunchRunSuccess { run { runId } } } }",
        job=job,
        config=config,
        keys=[{"path": [key]} for key in keys],
        tags=[{"key": key, "value": value} for key, value in (tags or {}).items()],
    )["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return launched["run"]["runId"]


def kill_all(session):
    """Kill UI, daemon, code server and the run's process, until none is left."""
    end = time.monotonic() + 30
    while found := processes_of(session):
        assert time.monotonic() < end
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are counted in /proc")
def test_a_retraining_is_finished_after_everything_was_killed(
    good_home, tmp_path, monkeypatch, capsys
):
    home = good_home.copy(tmp_path)
    (home.home / "dagster").mkdir()
    raised = DAGSTER_YAML.replace("max_concurrent_runs: 2", "max_concurrent_runs: 4")
    (home.home / "dagster" / "dagster.yaml").write_text(
        raised
    )  # the retry need not wait for monitoring
    assert call(monkeypatch, capsys, INGEST, home.environment).status == 0
    environment = {**home.environment, "MLFLOW_TRACKING_URI": ""}
    champion, before = home.champion(), home.decisions()

    with running_ui(environment, tmp_path / "killed.log") as ui:
        run_id = retrain(ui)
        wait_for(lambda: "RUNNING" in home.tracked(), 60, f"the training; see {ui.log}")
        worker = wait_for(lambda: ui.worker_of(run_id), 10, "the run's process")
        assert worker in processes_of(ui.session)
        kill_all(ui.session)
    assert home.champion() == champion
    assert home.decisions() == before
    assert "RUNNING" in home.tracked(), "it was killed at another moment"

    with running_ui(environment, tmp_path / "again.log") as ui:
        assert ui.ended_as(run_id) == "FAILURE"
        retried = wait_for(lambda: ui.retry_of(run_id), 60, f"the retry; see {ui.log}")
        ended = wait_for(lambda: ui.ended_as(retried), 120, f"the retry's end; see {ui.log}")
        assert ended == "SUCCESS"
    (made,) = home.decisions()[len(before) :]
    assert (made.dagster_run_id, made.applied) == (retried, True)
    assert made.test_month == str(MONTHS[-1])
    assert home.champion() == made.registry_version
    assert "RUNNING" not in home.tracked()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are counted in /proc")
@pytest.mark.parametrize("start", [ingest, retrain])
def test_a_run_succeeds_although_its_daemon_is_killed(
    good_home, tmp_path, monkeypatch, capsys, start
):
    home = good_home.copy(tmp_path)
    if start is retrain:
        assert call(monkeypatch, capsys, INGEST, home.environment).status == 0
    environment = {**home.environment, "MLFLOW_TRACKING_URI": ""}

    with running_ui(environment, tmp_path / "killed.log") as ui:
        run_id = start(ui)
        worker = wait_for(lambda: ui.worker_of(run_id), 60, f"the run's process; see {ui.log}")
        killed = daemon_of(ui.session)
        os.kill(killed, signal.SIGKILL)
        assert worker in processes_of(ui.session), "the run has ended already"
        log_text = "Dagster's daemon was killed by signal 9: restarting it (1 of 3)"
        wait_for(lambda: log_text in ui.log.read_text(), 60, f"a line on it; see {ui.log}")
        assert daemon_of(ui.session) != killed
        assert wait_for(lambda: ui.ended_as(run_id), 120, "the end of the run") == "SUCCESS"
        if start is ingest:  # queued runs are started again
            queued = ui.launch_job("run_monitoring")
            wait_for(lambda: ui.ended_as(queued), 120, f"the end of a queued run; see {ui.log}")
        assert ui.unhealthy_daemons() == []
    assert NEXT in home.store.months("trip_features")
    made = [each for each in home.decisions() if each.applied]
    assert start is ingest or run_id in [each.dagster_run_id for each in made]
    assert home.champion() == made[-1].registry_version


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are counted in /proc")
def test_an_interrupt_of_the_command_stops_its_run_with_a_message(
    good_home, tmp_path, monkeypatch, capsys
):
    home = good_home.copy(tmp_path)
    assert call(monkeypatch, capsys, INGEST, home.environment).status == 0
    environment = {**home.environment, "MLFLOW_TRACKING_URI": ""}
    with running_ui(environment, tmp_path / "stopped.log") as ui:
        run_id = retrain(ui, trials=1000)  # longer than the test
        wait_for(lambda: "RUNNING" in home.tracked(), 120, f"the training; see {ui.log}")
        os.kill(ui.session, signal.SIGINT)
        wait_for(lambda: not processes_of(ui.session), 120, "the end of all processes")
        log_text = ui.log.read_text()
    assert f"run {run_id} (retrain) was stopped; what it finished is kept" in log_text
    assert "Traceback" not in log_text.rpartition("KeyboardInterrupt received")[2]
    assert "RUNNING" not in home.tracked()


def daemon_of(session):
    """Return the daemon's process of a session."""
    (found,) = [
        process
        for process in processes_of(session)
        if b"cli.daemon" in Path(f"/proc/{process}/cmdline").read_bytes()
    ]
    return found
