"""``ml-assets report`` shows what the assets have kept about a month, and says what is missing."""

import json

import pytest

from ml_assets.monitoring.drift.records import DRIFT_LIMIT
from ml_assets.reporting.month_report import MonthReport
from ml_assets_tests.cli.calling import call


@pytest.fixture(scope="module")
def home(trained_home, tmp_path_factory):
    """A home whose months are profiled and monitored."""
    copy = trained_home.copy(tmp_path_factory.mktemp("report"))
    with copy.open() as project:
        assert project.ingest("2023-01", "2023-03").success
        assert project.run("run_monitoring").success
    return copy


@pytest.fixture
def shown(home, monkeypatch, capsys):
    def answer(*arguments):
        return call(monkeypatch, capsys, ["report", *arguments], home.environment)

    return answer


def test_the_newest_month_is_reported_with_its_trips_error_and_drift(shown):
    out = shown().out
    for part in (
        "2023-03 (green",
        "200 published, 200 kept (100.0%)",
        "version 1 (linear_regression) on 200 trips",
        "with the metered distance: RMSE ",
        "without a distance: RMSE ",
        ", intervals cover ",
        "largest errors: ",
        f"stability index against 2023-01 to 2023-02; limit {DRIFT_LIMIT:g}",
        "duration_minutes ",
        "promoted, ",
    ):
        assert part in out, out


def test_the_json_has_the_same_figures(shown):
    answer = shown("--month", "2023-02", "--json")
    report = MonthReport.model_validate(json.loads(answer.out))
    assert (report.month, report.trips.kept, report.missing) == ("2023-02", 200, {})
    assert report.champion.seen
    assert report.drift.training_month
    assert f"RMSE {report.champion.rmse:.2f} min" in shown("--month", "2023-02").out


def test_what_was_not_measured_is_named_with_the_way_to_measure_it(shown, ingested_home, tmp_path):
    answer = shown("--month", "2022-11")
    assert answer.status == 0
    assert "the month has no data profile: ingest it" in answer.out
    assert "prediction_performance has not measured this month against version 1" in answer.out


def test_without_a_month_the_way_out_is_named(monkeypatch, capsys, tmp_path):
    environment = {"ML_ASSETS_HOME": str(tmp_path / "home")}
    answer = call(monkeypatch, capsys, ["report"], environment)
    assert answer.status == 1
    assert "no month is ingested" in answer.err
    assert "--month" in answer.err
    named = call(monkeypatch, capsys, ["report", "--month", "2023-01"], environment)
    assert "nothing was measured yet: materialize prediction_performance" in named.out
