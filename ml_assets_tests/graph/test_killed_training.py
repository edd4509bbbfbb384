"""Kills during training: the old champion serves, and the next run finishes."""

import pytest
from pydantic import BaseModel

from ml_assets.evaluation.records import Leaderboard, ModelRecord, TrainingSet
from ml_assets.storage.record_store import RecordStore
from ml_assets_tests.cli.calling import call
from ml_assets_tests.graph.killed_training import FAMILY, MOMENTS, TRACKING, TRAIN, work
from ml_assets_tests.graph.killing import aged, killed, leftovers
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_home import MONTHS, PublishedHome

RECORDS: dict[str, type[BaseModel]] = {
    "training_set": TrainingSet,
    f"{FAMILY}_model": ModelRecord,
    "model_leaderboard": Leaderboard,
}


@pytest.fixture(scope="module")
def ingested(good_home, tmp_path_factory) -> PublishedHome:
    """The home with all published months ingested."""
    home = good_home.copy(tmp_path_factory.mktemp("ingested"))
    with open_project(settings_for(home.home, home.trips)) as project:
        assert project.ingest(str(MONTHS[0]), str(MONTHS[-1])).success
    return home


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_kill_during_training_the_next_run_finishes(
    ingested, tmp_path, monkeypatch, capsys, moment
):
    home = ingested.copy(tmp_path)
    champion, before = home.champion(), home.decisions()
    killed(work, tmp_path / "log", moment, home.environment)
    assert home.champion() == champion
    assert home.decisions() == before
    assert ("RUNNING" in home.tracked()) is (moment in TRACKING), "it died at another moment"
    records = RecordStore(str(home.home), "green")
    for asset, kind in RECORDS.items():
        records.find(asset, kind)  # the old, the new or none, but never half of one
    aged(home.home)

    again = call(monkeypatch, capsys, TRAIN, home.environment)
    assert again.status == 0, again.err
    assert "its process is gone: it is marked as failed" in again.err
    statuses = home.tracked()
    assert "RUNNING" not in statuses
    assert ("FAILED" in statuses) is (moment in TRACKING)
    made = home.decisions()
    assert len(made) == len(before) + 1
    assert made[-1].applied
    assert made[-1].challenger == FAMILY
    assert made[-1].test_month == str(MONTHS[-1])
    assert home.champion() == made[-1].registry_version
    assert leftovers(home.home) == []
