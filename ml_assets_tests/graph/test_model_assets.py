"""Model assets: warm start, records, and a failure after the fit."""

import pathlib

import mlflow
import pytest

from ml_assets.evaluation.records import ModelRecord
from ml_assets.progress import watching
from ml_assets.storage.record_store import RecordStore
from ml_assets.training.families import FAMILIES
from ml_assets.trips.month import Month
from ml_assets_tests.project import Project, open_project, settings_for
from ml_assets_tests.published_months import publish, published_month


@pytest.fixture
def project(tmp_path):
    published = tmp_path / "published"
    for number in (1, 2, 3, 4):
        publish(published, Month(2023, number), published_month(Month(2023, number), 400))
    with open_project(settings_for(tmp_path / "home", published)) as opened:
        assert opened.ingest("2023-01", "2023-04").success
        yield opened


def record_of(project: Project, model: str) -> ModelRecord:
    return RecordStore(project.settings.home, "green").read(f"{model}_model", ModelRecord)


def statuses(project: Project) -> list[str]:
    client = mlflow.MlflowClient(
        project.settings.tracking_uri, registry_uri=project.settings.tracking_uri
    )
    experiment = client.get_experiment_by_name("taxi-trip-duration")
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]


def test_parameters_chosen_on_the_test_month_are_no_warm_start(project):
    """Tested on April, validated on March; then March is the test month."""
    tuned = {"trials": 2}
    assert project.train(("xgboost",), xgboost_model=tuned).success
    rounds = record_of(project, "xgboost").parameters["n_estimators"]
    assert rounds != FAMILIES["xgboost"].defaults["n_estimators"]

    earlier = {"test_month": "2023-03"}
    assert project.train(("xgboost",), training_set=earlier).success
    assert record_of(project, "xgboost").parameters == FAMILIES["xgboost"].defaults


def test_trials_are_reported_and_without_trials_the_last_tuned_parameters_are_used(project):
    events = []
    with watching(events.append):
        assert project.train(("xgboost",), xgboost_model={"trials": 2}).success
    assert [event.asset for event in events] == ["xgboost_model"] * 2
    assert min(event.rmse for event in events if event.rmse is not None) > 0
    before = record_of(project, "xgboost").parameters
    assert project.train(("xgboost",)).success
    assert record_of(project, "xgboost").parameters == before
    assert project.train(("xgboost",), xgboost_model={"trials": 0, "warm_start": False}).success
    assert record_of(project, "xgboost").parameters == FAMILIES["xgboost"].defaults


def test_an_unreadable_record_is_replaced(project):
    assert project.train().success
    store = RecordStore(project.settings.home, "green")
    with open(store.path("linear_regression_model"), "w") as file:
        file.write('{"model": "linear_regression"}')
    assert project.train().success
    assert record_of(project, "linear_regression").model == "linear_regression"


def test_a_step_that_fails_after_the_fit_is_a_failed_run_in_mlflow(project):
    (project.settings.local_home / "linear_regression_model").write_text("no folder")
    result = project.train()
    assert not result.success
    assert statuses(project) == ["FAILED"]


def test_tuning_starts_from_the_champion_s_parameters(project):
    """Also without the local record, as on another machine with the same registry."""
    assert project.train(("xgboost",), xgboost_model={"trials": 2}).success
    tuned = record_of(project, "xgboost").parameters
    store = RecordStore(project.settings.home, "green")
    pathlib.Path(store.path("xgboost_model")).unlink()
    assert project.train(("xgboost",)).success
    assert record_of(project, "xgboost").parameters == tuned
