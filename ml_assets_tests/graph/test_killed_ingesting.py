"""Kills during ingestion: stored months stay complete, and the next run finishes."""

import pytest

from ml_assets.promotion.new_data import next_training
from ml_assets.storage.trip_store import CorruptMonth
from ml_assets_tests.cli.calling import call
from ml_assets_tests.graph.killed_ingesting import INGEST, MOMENTS, work
from ml_assets_tests.graph.killing import aged, killed, leftovers
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_home import EARLIER, MONTHS, NEXT, REPUBLISHED, TABLES, PublishedHome


@pytest.fixture(scope="module")
def finished(good_home, tmp_path_factory):
    """The result of an undisturbed ingestion of the same months."""
    home = PublishedHome(tmp_path_factory.mktemp("finished"), good_home.trips)
    with open_project(settings_for(home.home, home.trips)) as project:
        assert project.ingest(str(MONTHS[0]), str(MONTHS[-1])).success
    return home


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_kill_during_ingestion_the_next_run_finishes(
    good_home, finished, tmp_path, monkeypatch, capsys, moment
):
    home = good_home.copy(tmp_path)
    champion = home.champion()
    killed(work, tmp_path / "log", moment, home.environment)
    left = aged(home.home)
    pattern = MOMENTS[moment].leftover
    assert pattern is None or {*home.home.glob(pattern)} & {*left}, "it died at another moment"
    require_whole_months(home, good_home, finished)
    assert home.champion() == champion

    again = call(monkeypatch, capsys, INGEST, home.environment)
    assert again.status == 0, again.err
    assert "its process is gone: it is marked as failed" in again.err
    require_months_of(home, finished)
    assert leftovers(home.home) == []
    assert home.champion() == champion


def require_whole_months(home, before, after):
    """Assert that every month is the old or the new one, and that there is no other."""
    for table in TABLES:
        stored = home.store.months(table)
        assert stored in (EARLIER, MONTHS)
        for month in stored:
            found = home.store.read_table(table, month)
            ways = [way.store for way in (before, after) if month in way.store.months(table)]
            assert any(found.equals(store.read_table(table, month)) for store in ways)
    for month in MONTHS:
        try:
            record = home.store.require_raw(month)
        except CorruptMonth as error:
            assert month == REPUBLISHED
            assert f"materialize raw_trips of {month} again" in str(error)
        else:
            assert (record is None) <= (month == NEXT)
            assert record is None or home.store.verify_raw(month, record)
    assert next_training(home.store).training_set is not None, "training goes on with what is there"


def require_months_of(home, finished):
    for month in MONTHS:
        record = home.store.raw_record(month)
        assert record is not None
        assert home.store.verify_raw(month, record)
        assert record.sha256 == finished.store.raw_record(month).sha256
        for table in TABLES:
            expected = finished.store.read_table(table, month)
            assert home.store.read_table(table, month).equals(expected)
            lineage, _ = home.store.lineage(table, month)
            assert lineage.raw_sha256 == record.sha256
