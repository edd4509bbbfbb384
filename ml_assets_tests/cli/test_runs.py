"""``ml-assets run`` while other runs are active: one training at a time, no mixed results."""

import json
import socket
import threading
import time

import dagster as dg
import pytest
from click import ClickException

from ml_assets.cli import runs
from ml_assets.cli.instance import dagster_home
from ml_assets.cli.runs import require_no_active_run
from ml_assets.defs.operations import orphaned_runs, run_process
from ml_assets.defs.operations.run_process import Heartbeats, RunProcess, process_tags
from ml_assets.evaluation.records import TrainingSet
from ml_assets.storage.record_store import RecordStore
from ml_assets.trips.month import Month
from ml_assets_tests.cli.calling import call, start
from ml_assets_tests.project import settings_for
from ml_assets_tests.published_months import publish

MONTHS = ["--first", "2023-01", "--last", "2023-02"]
STARTED = dg.DagsterRunStatus.STARTED
MODEL = ["--models", "linear_regression", "--trials", "0"]


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    for number in (1, 2):
        publish(tmp_path / "published", Month(2023, number))

    def called(*arguments):
        variables = {
            "ML_ASSETS_HOME": tmp_path / "home",
            "ML_ASSETS_TRIPS": tmp_path / "published",
        }
        return call(monkeypatch, capsys, list(arguments), variables)

    return called


@pytest.fixture
def working(tmp_path, monkeypatch):
    """A run in progress whose process, this one, is alive."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    home = dagster_home(settings_for(tmp_path / "home"))

    @dg.job
    def train_models() -> None: ...

    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = instance.create_run_for_job(train_models, status=dg.DagsterRunStatus.STARTED)
        instance.add_run_tags(run.run_id, process_tags(run.run_id))
        yield run.run_id


def test_training_does_not_start_while_a_run_is_in_progress(cli, working, tmp_path):
    answer = cli("run", *MONTHS, *MODEL)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.count("\n") == 1
    for text in (f"error: run {working} (train_models) is in progress since 20",
                 "wait until it has ended", "cancel it in the UI"):  # fmt: skip
        assert text in answer.err
    assert not (tmp_path / "home" / "raw_trips").exists()


def test_months_are_ingested_while_a_run_is_in_progress(cli, working, tmp_path):
    assert cli("run", *MONTHS, "--ingest-only").status == 0
    assert (tmp_path / "home" / "raw_trips").exists()


def test_a_leaderboard_of_another_runs_training_set_is_not_shown(cli, tmp_path):
    records = RecordStore(str(tmp_path / "home"), "green")
    over = threading.Event()

    def change_the_training_set():
        """Replace the record of the training set, as another run would."""
        while not over.is_set():
            made = records.find("training_set", TrainingSet)
            if made is not None:
                records.write("training_set", made.model_copy(update={"gaps": ["2022-12"]}))
                return
            time.sleep(0.001)

    other = threading.Thread(target=change_the_training_set)
    other.start()
    try:
        answer = cli("run", *MONTHS, *MODEL)
    finally:
        over.set()
        other.join()
    assert (answer.status, answer.out) == (1, "")
    message = answer.err.splitlines()[-1]
    assert "another run changed the training set meanwhile" in message
    assert "Run it again, alone" in message


def train_for_long(environment):
    """Start a long training in its own process, and wait until it is in progress."""
    process = start(["run", *MONTHS, "--models", "xgboost", "--trials", "1000"], environment)
    home = environment["ML_ASSETS_HOME"]
    settings = settings_for(home)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if (home / "mlflow.db").exists():
            with dg.DagsterInstance.from_config(str(dagster_home(settings))) as instance:
                if running := instance.get_runs(dg.RunsFilter(statuses=[STARTED])):
                    return process, running[0].run_id
        time.sleep(0.5)
    process.kill()
    raise TimeoutError(process.communicate())


def test_a_run_of_another_process_is_listed_and_ended(cli, tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    variables = {"ML_ASSETS_HOME": tmp_path / "home", "ML_ASSETS_TRIPS": tmp_path / "published"}
    process, run_id = train_for_long(variables)
    try:
        (shown,) = json.loads(cli("runs", "--json").out)["runs"]
        assert (shown["id"], shown["job"], shown["status"]) == (run_id, "train_models", "started")
        assert f"process {process.pid} on {socket.gethostname()} (alive" in shown["where"]
        assert shown["heartbeat_age_seconds"] < 30
        answer = cli("runs", "end", run_id[:8])
        assert answer.status == 0, answer.err
        assert answer.out == (
            f"run {run_id} (train_models) is canceled: its process {process.pid} was interrupted\n"
        )
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.communicate()
    assert "No run is in progress" in cli("runs").out
    again = cli("runs", "end", run_id)
    assert (again.status, again.err.count("\n")) == (2, 1)
    assert f"run {run_id} has ended already: canceled" in again.err


def test_a_run_of_another_machine_is_ended_on_request_unless_it_sends_heartbeats(
    cli, working, tmp_path
):
    with dg.DagsterInstance.from_config(str(tmp_path / "home" / "dagster")) as instance:
        process = RunProcess("another-machine", 7, "1", "its-boot")
        instance.add_run_tags(working, process.to_tags(working))
        with Heartbeats.of(instance).beating(working):
            rejected = cli("runs", "end", working[:8])
            assert (rejected.status, rejected.out, rejected.err.count("\n")) == (1, "", 1)
            assert "process 7 on another-machine sent a heartbeat" in rejected.err
            assert instance.get_run_by_id(working).status == STARTED
        ended = cli("runs", "end", working[:8], "--json")
        assert json.loads(ended.out) == {
            "id": working,
            "status": "canceled",
            "how": "its process 7 on another-machine is gone or cannot be looked up",
        }
        assert instance.get_run_by_id(working).status == dg.DagsterRunStatus.CANCELED


def test_an_unknown_id_is_answered_with_the_known_ones(cli, working):
    answer = cli("runs", "end", "nonsense")
    assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert f"there are: {working[:8]} (train_models)" in answer.err


def test_without_a_run_any_id_is_rejected(cli):
    answer = cli("runs", "end", "nonsense")
    assert (answer.status, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert "'nonsense' is no run in progress or queued: there is none" in answer.err


def test_a_run_that_died_on_another_machine_is_observed_until_it_counts_as_dead(
    cli, working, tmp_path, monkeypatch
):
    for module in (run_process, orphaned_runs, runs):
        monkeypatch.setattr(module, "STALE_HEARTBEAT_SECONDS", 2.0)
    for module in (run_process, runs):
        monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.3)
    with dg.DagsterInstance.from_config(str(tmp_path / "home" / "dagster")) as instance:
        process = RunProcess("another-machine", 7, "1", "its-boot")
        instance.add_run_tags(working, process.to_tags(working))
        lines = []
        with Heartbeats.of(instance).beating(working), pytest.raises(ClickException):
            require_no_active_run(instance, lines.append)  # it is alive
        Heartbeats.of(instance)._beat(working)
        require_no_active_run(instance, lines.append)
        assert "last heartbeat 0 s ago: waiting for" in lines[0]
        assert lines[-1].startswith(f"run {working} was still in progress, but its process is gone")
        assert instance.get_run_by_id(working).status == dg.DagsterRunStatus.FAILURE
