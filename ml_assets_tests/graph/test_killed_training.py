"""Kills during training: the old champion serves, and the next run finishes."""

import dagster as dg
import pytest
from pydantic import BaseModel

from ml_assets.evaluation.records import Leaderboard, ModelRecord, TrainingSet
from ml_assets.storage.record_store import RecordStore
from ml_assets_tests.cli.calling import call
from ml_assets_tests.graph.killed_training import (
    FAMILY,
    MOMENTS,
    RUNNING,
    TRAIN,
    TRAIN_ON_ALL_ROWS,
    work,
    work_on_disk,
)
from ml_assets_tests.graph.killing import aged, killed, leftovers
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_home import MONTHS, PublishedHome

RECORDS: dict[str, type[BaseModel]] = {
    "training_set": TrainingSet,
    f"{FAMILY}_model": ModelRecord,
    "model_leaderboard": Leaderboard,
}


GONE = "was still in progress, but its process is gone: it is marked as failed"


@pytest.fixture(scope="module")
def ingested(good_home, tmp_path_factory) -> PublishedHome:
    """The home with all published months ingested."""
    home = good_home.copy(tmp_path_factory.mktemp("ingested"))
    with open_project(settings_for(home.home, home.trips)) as project:
        assert project.ingest(str(MONTHS[0]), str(MONTHS[-1])).success
    return home


def test_after_kills_during_training_the_next_run_finishes(ingested, tmp_path, monkeypatch, capsys):
    """Each run goes on after the kill of the one before, and is killed at a later moment itself."""
    home = ingested.copy(tmp_path)
    champion, before = home.champion(), home.decisions()
    pids, run_id = [], ""
    for moment in MOMENTS:
        log = tmp_path / moment
        pids.append(killed(work, log, moment, home.environment))
        assert (GONE in log.read_text()) is (len(pids) > 1)
        assert not run_id or f"run {run_id} {GONE}" in log.read_text()
        assert home.champion() == champion
        assert home.decisions() == before
        assert home.tracked().count("RUNNING") == RUNNING[moment], moment
        records = RecordStore(str(home.home), "green")
        for asset, kind in RECORDS.items():
            records.find(asset, kind)  # the old, the new or none, but never half of one
        aged(home.home)
        with dg.DagsterInstance.from_config(str(home.home / "dagster")) as instance:
            (newest,) = instance.get_runs(limit=1)
            assert newest.status == dg.DagsterRunStatus.STARTED
            run_id = newest.run_id

    again = call(monkeypatch, capsys, TRAIN, home.environment)
    assert again.status == 0, again.err
    assert f"run {run_id} {GONE}" in again.err
    statuses = home.tracked()
    assert "RUNNING" not in statuses
    assert statuses.count("FAILED") == sum(RUNNING.values())
    made = home.decisions()
    assert len(made) == len(before) + 1
    assert made[-1].applied
    assert made[-1].challenger == FAMILY
    assert made[-1].test_month == str(MONTHS[-1])
    assert home.champion() == made[-1].registry_version
    assert leftovers(home.home) == []
    with dg.DagsterInstance.from_config(str(home.home / "dagster")) as instance:
        failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        last = [instance.all_logs(run.run_id)[-1].message for run in reversed(failed)]
        assert instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])) == []
    assert len(last) == len(pids)
    for pid, message in zip(pids, last, strict=True):
        assert f"pid {pid}" in message


def test_after_a_kill_of_a_fit_on_disk_the_next_command_removes_its_rows(
    ingested, tmp_path, monkeypatch, capsys
):
    home = ingested.copy(tmp_path)
    champion, before = home.champion(), home.decisions()
    killed(work_on_disk, tmp_path / "log", home.environment)
    [folder] = aged(home.home)
    assert folder.parent == home.home
    assert sum(file.stat().st_size for file in folder.iterdir()) > 10_000  # some of the rows
    assert (home.champion(), home.decisions()) == (champion, before)

    again = call(monkeypatch, capsys, TRAIN_ON_ALL_ROWS, home.environment)
    assert again.status == 0, again.err
    assert leftovers(home.home) == []
    assert "RUNNING" not in home.tracked()
    assert home.decisions()[-1].challenger == "xgboost"
