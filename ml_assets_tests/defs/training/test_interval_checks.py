"""The check of prediction intervals in real runs, for each model and for the champion."""

from collections.abc import Iterator

import dagster as dg
import mlflow
import pytest

from ml_assets.evaluation.records import ModelRecord
from ml_assets.pipeline.conformal_intervals import attach_intervals, get_intervals
from ml_assets.registry.artifacts import load_pipeline, log_pipeline
from ml_assets.registry.mlflow_runs import TrackedRun
from ml_assets.registry.registry import CHAMPION, Registry
from ml_assets.storage.record_store import RecordStore
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.project import Project, evaluations, open_project, settings_for
from ml_assets_tests.published_months import publish, published_month
from ml_assets_tests.training.sample_trips import trips_of

NAME = "taxi-trip-duration"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[tuple[Project, dg.ExecuteInProcessResult]]:
    """Three sample months, one model, and the run that trained it."""
    with open_project(settings_for(tmp_path_factory.mktemp("home"))) as project:
        assert project.ingest("2023-01", "2023-03").success
        run = project.train(("lasso",))
        assert run.success
        mlflow.set_tracking_uri(project.settings.tracking_uri)
        yield project, run


@pytest.fixture
def champion(made) -> Iterator[str]:
    """The champion's URI; the alias is restored after a test."""
    before = mlflow.MlflowClient().get_model_version_by_alias(NAME, CHAMPION)
    yield f"models:/{NAME}/{before.version}"
    mlflow.MlflowClient().set_registered_model_alias(NAME, CHAMPION, before.version)


def make_champion(settings, pipeline) -> None:
    """Register a pipeline and set the champion alias."""
    registry = Registry.of(settings)
    client = registry.client
    run = client.create_run(client.get_experiment_by_name("taxi-trip-duration").experiment_id)
    tracked = TrackedRun(client, run.info.run_id, run.info.experiment_id)
    uri = log_pipeline(tracked, pipeline, trips_of(4)[list(REQUEST_COLUMNS)].head())
    version = registry.register(uri, run.info.run_id, {})
    client.set_registered_model_alias(NAME, CHAMPION, version)


@pytest.mark.parametrize("asset", ["lasso_model", "champion_model"])
def test_the_check_has_coverage_and_width_overall_and_by_slice(made, asset):
    project, run = made
    found = evaluations(run)[f"{asset}.interval_coverage"]
    assert found.passed
    assert 0.77 <= found.metadata["value"].value <= 0.83
    rows = {row.data["slice"]: row.data for row in found.metadata["slices"].value.records}
    record = RecordStore(project.settings.home, "sample_green").read("lasso_model", ModelRecord)
    for part in record.interval.slices:
        if not part.slice.startswith("pair/"):
            assert rows[part.slice]["held_percent"] == round(100 * part.coverage, 1)
    assert rows["all trips"]["trips"] == record.test.rows
    assert found.metadata["mean_width"].value == pytest.approx(record.interval.mean_width, abs=1e-4)


def test_the_model_has_coverage_width_and_a_chart(made):
    project, _ = made
    shown = project.metadata("lasso_model")
    assert 0.77 <= shown["interval_coverage"] <= 0.83
    assert 5 < shown["interval_mean_width"] < 15
    named = [row.data["slice"] for row in shown["intervals"].records]
    assert {"all trips", "pair/unseen", "distance/zero"} < {*named}
    assert shown["interval_coverage_by_slice"].startswith("![")


def test_a_champion_without_intervals_warns_and_keeps_serving(made, champion):
    old = load_pipeline(champion)
    attach_intervals(old, None)
    make_champion(made[0].settings, old)
    found = made[0].run_checks("champion_model")
    assert found["champion_model.champion_matches_evaluation"].passed
    check = found["champion_model.interval_coverage"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "train models again" in check.description


def test_too_narrow_intervals_warn_only(made, champion):
    narrow = load_pipeline(champion)
    get_intervals(narrow).below *= 0.3
    get_intervals(narrow).above *= 0.3
    make_champion(made[0].settings, narrow)
    found = made[0].run_checks("champion_model")
    assert found["champion_model.champion_matches_evaluation"].passed
    check = found["champion_model.interval_coverage"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["value"].value < 0.6


def test_a_champion_that_cannot_be_loaded_fails_one_check(made, champion):
    mlflow.MlflowClient().delete_registered_model_alias(NAME, CHAMPION)
    found = made[0].run_checks("champion_model")
    assert not found["champion_model.champion_matches_evaluation"].passed
    assert found["champion_model.interval_coverage"].passed
    assert found["champion_model.interval_coverage"].metadata["verdict"].value == "skip"


def test_with_two_months_the_coverage_is_marked_as_optimistic(tmp_path):
    for month in (Month(2023, 1), Month(2023, 2)):
        publish(tmp_path / "published", month, published_month(month, 300))
    with open_project(settings_for(tmp_path / "home", tmp_path / "published")) as project:
        assert project.ingest("2023-01", "2023-02").success
        run = project.train(("xgboost",))
        for asset in ("xgboost_model", "champion_model"):
            description = evaluations(run)[f"{asset}.interval_coverage"].description
            assert "optimistic, as the model was fitted or calibrated on this month" in description
            assert "standard errors instead of 3 points" in description
