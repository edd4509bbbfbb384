"""``ml-assets dev`` while its daemon, a run or all of its processes are killed, and interrupted.

The daemon is started again by ``ml-assets dev``, a run by the daemon, and everything by the user.
"""

import contextlib
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import requests

from ml_assets.cli.instance import DAGSTER_YAML
from ml_assets.defs.training import sensors as training_sensor
from ml_assets_tests.browser.dagster_ui import processes_of, running_ui, wait_for
from ml_assets_tests.cli.calling import call
from ml_assets_tests.project_copy import copy_with_two_families
from ml_assets_tests.published_home import MONTHS, NEXT

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are counted in /proc")
FAMILY = "xgboost_model"
TRIALS = 20
"""Enough for some seconds of tuning, during which something is killed."""


def retrain(ui, trials=TRIALS):
    """Launch a retraining of one family."""
    assets = ["training_set", FAMILY, "model_leaderboard", "champion_model"]
    return ui.launch_job("retrain", assets, {FAMILY: {"config": {"trials": trials}}})


def ingest(ui):
    """Launch the ingestion of a month published after the others were ingested."""
    assets = ["raw_trips", "trip_features", "rejected_trips"]
    return ui.launch_job("ingest_trips", assets, tags={"dagster/partition": str(NEXT)})


def kill_all(session):
    """Kill UI, daemon, code server and the run's process, until none is left."""
    end = time.monotonic() + 30
    while found := processes_of(session):
        assert time.monotonic() < end
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def daemon_of(session):
    """Return the daemon's process of a session."""
    (found,) = [
        process
        for process in processes_of(session)
        if b"cli.daemon" in Path(f"/proc/{process}/cmdline").read_bytes()
    ]
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_with_two_families(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def home(good_home, tmp_path_factory):
    """A home with a month to ingest, in which a retry need not wait for monitoring."""
    copy = good_home.copy(tmp_path_factory.mktemp("killed"))
    with copy.open() as project:
        assert project.ingest(str(MONTHS[0]), str(MONTHS[-2])).success
    (copy.home / "dagster").mkdir()
    raised = DAGSTER_YAML.replace("max_concurrent_runs: 2", "max_concurrent_runs: 4")
    assert raised != DAGSTER_YAML
    (copy.home / "dagster" / "dagster.yaml").write_text(raised)
    return copy


@pytest.fixture(scope="module")
def environment(home):
    return {**home.environment, "MLFLOW_TRACKING_URI": ""}


@pytest.fixture(scope="module")
def ui(home, environment, project):
    with running_ui(environment, home.home / "dev.log", project) as running:
        running.switch_off(training_sensor.NAME)  # the retrainings are those of the tests
        yield running


def test_runs_succeed_although_their_daemon_is_killed(ui, home):
    runs = training, _ = retrain(ui), ingest(ui)
    workers = [
        wait_for(partial(ui.worker_of, run), 60, f"a run's process; see {ui.log}") for run in runs
    ]
    killed = daemon_of(ui.session)
    os.kill(killed, signal.SIGKILL)
    assert {*workers} <= {*processes_of(ui.session)}, "a run has ended already"
    log_text = "Dagster's daemon was killed by signal 9: restarting it (1 of 3)"
    wait_for(lambda: log_text in ui.log.read_text(), 60, f"a line on it; see {ui.log}")
    assert daemon_of(ui.session) != killed
    for run in runs:
        ended = wait_for(partial(ui.ended_as, run), 120, f"the end of a run; see {ui.log}")
        assert ended == "SUCCESS"
    assert NEXT in home.store.months("trip_features")
    made = [each for each in home.decisions() if each.applied]
    assert made[-1].dagster_run_id == training
    assert home.champion() == made[-1].registry_version
    # Queued runs are started again.
    queued = ui.launch_job("run_monitoring")
    wait_for(lambda: ui.ended_as(queued), 120, f"the end of a queued run; see {ui.log}")
    assert ui.unhealthy_daemons() == []


@pytest.fixture(scope="module")
def killed(ui, home):
    """A retraining that was killed with everything else; and the number of decisions before."""
    champion, before = home.champion(), home.decisions()
    run = retrain(ui)
    wait_for(lambda: "RUNNING" in home.tracked(), 60, f"the training; see {ui.log}")
    worker = wait_for(lambda: ui.worker_of(run), 10, "the run's process")
    assert worker in processes_of(ui.session)
    kill_all(ui.session)
    assert home.champion() == champion
    assert home.decisions() == before
    assert "RUNNING" in home.tracked(), "it was killed at another moment"
    return run, len(before)


@pytest.fixture(scope="module")
def again(killed, home, environment, project):
    """The UI on the same home, as a background job."""
    with running_ui(environment, home.home / "again.log", project, background=True) as running:
        yield running


@pytest.fixture(scope="module")
def retried(killed, again):
    """The retry of the killed run, and its process."""
    run, _ = killed
    assert again.ended_as(run) == "FAILURE"
    retry = wait_for(lambda: again.retry_of(run), 60, f"the retry; see {again.log}")
    return retry, wait_for(lambda: again.worker_of(retry), 60, "the retry's process")


@pytest.fixture(scope="module")
def waiting(again, retried):
    """A retraining that is launched while another one is in progress."""
    return retrain(again)


def test_of_two_simultaneous_retrainings_one_waits(again, retried, waiting):
    retry, _ = retried
    for _ in range(3):
        assert (again.status_of(retry), again.status_of(waiting)) == ("STARTED", "QUEUED")
        time.sleep(1)


def test_a_retraining_is_retried_after_each_kill_and_a_cancelled_one_is_not(
    again, home, killed, retried, waiting
):
    retry, worker = retried
    again.terminate(waiting)
    os.kill(worker, signal.SIGKILL)
    assert wait_for(lambda: again.ended_as(retry), 90, "the end of the killed run") == "FAILURE"
    last = wait_for(lambda: again.retry_of(retry), 60, "the killed run's retry")
    ended = wait_for(lambda: again.ended_as(last), 120, f"the retry's end; see {again.log}")
    assert ended == "SUCCESS"
    _, before = killed
    (made,) = home.decisions()[before:]
    assert (made.dagster_run_id, made.applied) == (last, True)
    assert made.test_month == str(MONTHS[-1])
    assert home.champion() == made.registry_version
    assert "RUNNING" not in home.tracked()
    assert again.ended_as(waiting) == "CANCELED"
    assert again.retry_of(waiting) is None


def test_only_this_machine_and_one_command_use_a_home(again, environment, monkeypatch, capsys):
    stranger = requests.get(f"{again.address}/server_info", headers={"Host": "evil.example"})
    assert stranger.status_code == 403
    other = str(int(again.address.rpartition(":")[2]) % 65535 + 1)
    second = call(monkeypatch, capsys, ["dev", "--port", other], environment)
    assert (second.status, second.err.count("\n")) == (1, 1)
    assert f"already runs on this home, at {again.address}" in second.err


def test_an_interrupt_of_a_background_job_stops_its_run_with_a_message(again, home):
    run = retrain(again, trials=1000)  # longer than the test
    wait_for(lambda: again.worker_of(run), 60, f"the run's process; see {again.log}")
    wait_for(lambda: "RUNNING" in home.tracked(), 120, f"the training; see {again.log}")
    os.kill(again.session, signal.SIGINT)
    wait_for(lambda: not processes_of(again.session), 20, "the end of all processes")
    log_text = again.log.read_text()
    assert f"run {run} (retrain) was stopped; what it finished is kept" in log_text
    assert "Traceback" not in log_text.rpartition("KeyboardInterrupt received")[2]
    assert "RUNNING" not in home.tracked()
