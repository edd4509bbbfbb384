"""The sensor that continues a backtest until it is complete."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from ml_assets.backtesting.records import BacktestRecord
from ml_assets.defs.backtesting.assets import PAUSE, backtest_sensor
from ml_assets.storage.record_store import RecordStore
from ml_assets.trips.month import Month
from ml_assets_tests.defs.ticks import Ticking, left_in_progress
from ml_assets_tests.project import Project, open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

AT_ONCE = {"families": ["linear_svr"], "train_months": 1, "seconds": 1e-6, "seed": 7}


@pytest.fixture
def project(tmp_path):
    for number in range(1, 5):
        publish(tmp_path / "trips", Month(2023, number), published_month(Month(2023, number), 300))
    with open_project(settings_for(tmp_path / "home", tmp_path / "trips")) as project:
        assert project.ingest("2023-01", "2023-04").success
        yield project


def run(project: Project, config: dict) -> None:
    assert project.run("run_backtest", {"backtest": {"config": config}}).success


def record(project: Project) -> BacktestRecord:
    return RecordStore(project.settings.home, "green").read("backtest", BacktestRecord)


def test_it_continues_after_a_pause_until_complete(project):
    later = timedelta(0)
    ticking = Ticking(project, backtest_sensor(lambda: datetime.now(UTC) + later))
    assert ticking.tick() == []
    assert "there was no backtest yet" in ticking.skipped
    run(project, AT_ONCE)
    assert record(project).pending_months == ["2023-02", "2023-03"]
    assert ticking.tick() == []
    assert "waiting 90 s" in ticking.skipped

    later = PAUSE
    training = left_in_progress(project, "train_models", dg.DagsterRunStatus.STARTED)
    assert ticking.tick() == []
    assert "waiting: run" in ticking.skipped
    project.instance.report_run_canceled(training)

    (request,) = ticking.tick()
    assert request.tags["dagster/priority"] == "-1", "whatever else is queued goes first"
    assert request.tags["started_because"] == "the backtest has 2 months left"
    assert ticking.tick() == [], "a run that fails is not started again"
    config = request.run_config["ops"]["backtest"]["config"]
    assert config == {
        "families": ["linear_svr"], "train_months": 1, "max_rows": 10_000, "seed": 7
    }  # fmt: skip
    before = record(project).entries
    run(project, config)
    assert record(project).pending_months == []
    assert [entry for entry in record(project).entries if entry in before] == before
    assert ticking.tick() == []
    assert "is complete" in ticking.skipped


def test_an_interrupted_or_stuck_backtest_is_not_continued(project):
    run(project, AT_ONCE)
    records, ended = RecordStore(project.settings.home, "green"), record(project)
    ticking = Ticking(project, backtest_sensor(lambda: datetime.now(UTC) + PAUSE))
    # As after a killed run: a month was written, but no materialization.
    records.write("backtest", ended.model_copy(update={"run_id": ""}))
    assert ticking.tick() == []
    assert "was interrupted" in ticking.skipped
    records.write("backtest", ended.model_copy(update={"computed_entries": 0}))
    assert ticking.tick() == []
    assert "computed nothing" in ticking.skipped
