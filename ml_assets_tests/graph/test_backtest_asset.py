"""The backtest asset: before there is a champion, with one, and by command."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_assets.backtesting.records import BacktestRecord
from ml_assets.progress import MonthsTested, watching
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.record_store import RecordStore
from ml_assets.trips.month import Month
from ml_assets_tests.cli.calling import call
from ml_assets_tests.project import Project, open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

QUICK = {"families": ["linear_svr"], "train_months": 2}
BASELINES = ["global_mean", "median_per_pair", "distance_line"]


@pytest.fixture(scope="module")
def trips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trips")
    for number in range(1, 7):
        publish(folder, Month(2023, number), published_month(Month(2023, number), 300))
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory, trips) -> Iterator[Project]:
    with open_project(settings_for(tmp_path_factory.mktemp("home"), trips)) as project:
        yield project


@pytest.fixture
def served(project) -> Project:
    """The project with a champion."""
    if DecisionLog(project.settings.home, "green").newest() is None:
        assert project.ingest("2023-01", "2023-05").success
        assert project.train(("lasso",)).success
    return project


def backtest(project, **config):
    return project.run("run_backtest", {"backtest": {"config": {**QUICK, **config}}})


def record(project) -> BacktestRecord:
    return RecordStore(project.settings.home, "green").read("backtest", BacktestRecord)


@pytest.mark.parametrize("job", ["train_models"])
def test_training_jobs_do_not_include_the_backtest(project, job):
    made = {key.to_user_string() for key in project.definitions.resolve_job_def(job).asset_layer
            .selected_asset_keys}  # fmt: skip
    assert "champion_model" in made
    assert "backtest" not in made


def test_the_backtest_without_months_without_a_champion_and_with_one(project):
    _too_few_months(project)
    _without_a_champion(project)
    _with_a_champion(project)


def _too_few_months(project):
    assert project.ingest("2023-01", "2023-02").success
    run = backtest(project)
    assert not run.success
    (failed,) = [e for e in run.all_events if e.is_step_failure]
    assert "a backtest needs 3 months of green in a row" in str(failed.event_specific_data)


def _without_a_champion(project):
    assert project.ingest("2023-03", "2023-05").success
    events = []
    with watching(events.append):
        run = backtest(project)
    assert run.success
    assert events == [MonthsTested(1, 3), MonthsTested(2, 3), MonthsTested(3, 3)]
    made = record(project)
    assert made.models == ["linear_svr", *BASELINES]
    assert project.metadata("backtest")["champion"] == "none"
    assert "there is no champion" in project.metadata("backtest")["summary"]
    (check,) = run.get_asset_check_evaluations()
    assert check.passed and "there is no champion" in check.description


def _with_a_champion(project):
    before = record(project)
    assert project.train(("lasso",)).success
    run = backtest(project)
    assert run.success
    made = record(project)
    assert made.models == ["champion", "linear_svr", *BASELINES]
    assert (made.champion, made.champion_version) == ("lasso", "1")
    assert made.computed_entries == 3, "only the champion's figures are new"
    assert [e for e in made.entries if e.model != "champion"] == before.entries
    assert [e.parameters_saw_month for e in made.series("champion")] == [True, True, False]
    shown = project.metadata("backtest")
    assert shown["relative_error_noise"] == pytest.approx(made.relative_error_noise, abs=1e-4)
    assert shown["chart"].startswith("![error of every model by test month](data:image/png")
    assert [row.data["month"] for row in shown["rmse_by_month"].records] == [
        "2023-03", "2023-04", "2023-05",
    ]  # fmt: skip
    (check,) = run.get_asset_check_evaluations()
    assert check.passed and "beat every baseline in 3 of 3 months" in check.description


def test_unset_options_are_those_of_the_last_backtest(served):
    project = served
    assert backtest(project, max_rows=150).success
    run = project.run("run_backtest", {"backtest": {"config": {"families": ["linear_svr"]}}})
    assert run.success
    assert (record(project).max_rows, record(project).train_months) == (150, 2)
    assert record(project).computed_entries == 0


def test_an_unreadable_record_is_replaced(served):
    project = served
    path = Path(RecordStore(project.settings.home, "green").path("backtest"))
    path.write_text("{}")
    assert backtest(project).success
    assert record(project).computed_entries > 0


def test_the_command_prints_a_table_json_or_an_error(served, trips, monkeypatch, capfd, tmp_path):
    project = served
    environment = {"ML_ASSETS_HOME": project.settings.home, "ML_ASSETS_TRIPS": trips,
                   "DAGSTER_HOME": tmp_path / "dagster"}  # fmt: skip
    arguments = ["backtest", "--families", "linear_svr", "--train-months", "2"]
    shown = call(monkeypatch, capfd, arguments, environment)
    assert shown.status == 0, shown.err
    for part in ("champion (lasso)", "distance_line", "2023-05", "most 100,000 trips"):
        assert part in shown.out
    assert "✓ backtest" in shown.err
    answer = call(monkeypatch, capfd, [*arguments, "--json"], environment)
    made = json.loads(answer.out)
    assert (made["computed_entries"], made["evaluated_months"]) == (0, 3), (
        "the first call computed them"
    )
    assert made["relative_error_noise"] == record(project).relative_error_noise
    few = call(monkeypatch, capfd, [*arguments[:-1], "9"], environment)
    assert (few.status, few.out) == (1, "")
    assert "a backtest needs 10 months of green in a row" in few.err


def test_the_next_challenger_must_exceed_the_measured_noise(served):
    project = served
    assert backtest(project).success
    suggested = record(project).suggested_min_improvement
    assert suggested is not None and suggested > 0
    assert project.ingest("2023-06", "2023-06").success
    stricter = {"min_improvement": 0.5}
    assert project.train(("lasso", "linear_svr"), champion_model=stricter).success
    [arguments] = _criteria(project, "significant_improvement")
    assert (arguments.limit, "backtest" in arguments.finding) == (0.5, False)
    assert project.run("train_models", None, ["champion_model"]).success
    [arguments] = _criteria(project, "significant_improvement")
    assert arguments.limit == pytest.approx(suggested)
    assert "the month-to-month noise of a lead in the backtest" in arguments.finding


def _criteria(project, name):
    log = DecisionLog(project.settings.home, "green")
    return [found for found in log.all()[-1].criteria if found.name == name]


def test_a_rejected_month_is_skipped_by_all_monitoring(served, trips):
    project, month = served, Month(2023, 7)
    publish(trips, month, published_month(month, 3))
    assert not project.ingest("2023-07", "2023-07").success
    assert project.run("run_monitoring").success
    for asset in ("feature_drift", "prediction_performance"):
        skipped = {row.data["month"]: row.data["why"] for row in
                   project.metadata(asset)["skipped"].records}  # fmt: skip
        assert skipped["2023-07"].startswith("rejected by a data rule: 3 kept trips"), asset
    assert backtest(project).success
    assert "2023-07" in {entry.month for entry in record(project).skipped}
