"""``ml-assets run`` beside other runs: one training at a time, and no results of another one."""

import threading
import time

import dagster as dg
import pytest

from ml_assets.automation.run_process import process_tags
from ml_assets.cli.instance import dagster_home
from ml_assets.modeling.records import TrainingSet
from ml_assets.storage.record_store import RecordStore
from ml_assets.trips.month import Month
from ml_assets_tests.cli.calling import call
from ml_assets_tests.project import settings_for
from ml_assets_tests.published_months import publish

MONTHS = ["--first", "2023-01", "--last", "2023-02"]
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
        run = instance.create_run_for_job(
            train_models, status=dg.DagsterRunStatus.STARTED, tags=process_tags()
        )
        yield run.run_id


def test_training_does_not_start_beside_a_run_in_progress(cli, working, tmp_path):
    answer = cli("run", *MONTHS, *MODEL)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.count("\n") == 1
    for text in (f"error: run {working} (train_models) is in progress since 20",
                 "wait until it has ended", "cancel it in the UI"):  # fmt: skip
        assert text in answer.err
    assert not (tmp_path / "home" / "raw_trips").exists()


def test_months_are_brought_beside_a_run_in_progress(cli, working, tmp_path):
    assert cli("run", *MONTHS, "--ingest-only").status == 0
    assert (tmp_path / "home" / "raw_trips").exists()


def test_a_leaderboard_of_another_runs_training_set_is_not_shown_as_this_ones(cli, tmp_path):
    records = RecordStore(str(tmp_path / "home"), "green")
    over = threading.Event()

    def change_the_training_set():
        """What another run would do: another record of the training set in place of this one's."""
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
    told = answer.err.splitlines()[-1]
    assert "another run changed the training set meanwhile" in told
    assert "Run it again, alone" in told
