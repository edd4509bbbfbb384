"""Model assets: warm start, records, and a failure after the fit."""

import pathlib
from collections.abc import Iterator

import mlflow
import pytest

from ml_assets.evaluation.records import ModelRecord
from ml_assets.progress import TrialEnded, watching
from ml_assets.storage.record_store import RecordStore
from ml_assets.training.families import FAMILIES
from ml_assets_tests.project import Project
from ml_assets_tests.published_home import NEXT, PublishedHome
from ml_assets_tests.published_months import publish


@pytest.fixture(scope="module")
def ingested(ingested_home, tmp_path_factory) -> PublishedHome:
    """Four small months."""
    home = ingested_home.copy(tmp_path_factory.mktemp("ingested"))
    publish(home.trips, NEXT)
    with home.open() as project:
        assert project.ingest(str(NEXT), str(NEXT)).success
    return home


@pytest.fixture(scope="module")
def tuning(ingested, tmp_path_factory) -> tuple[PublishedHome, list[TrialEnded]]:
    """The same with a champion of two trials, and what was reported about them."""
    home, events = ingested.copy(tmp_path_factory.mktemp("tuned")), []
    with home.open() as project, watching(events.append):
        assert project.train(("xgboost",), xgboost_model={"trials": 2}).success
    return home, events


@pytest.fixture
def tuned(tuning, tmp_path) -> Iterator[Project]:
    """A copy of the tuned home."""
    with tuning[0].copy(tmp_path).open() as project:
        yield project


@pytest.fixture
def project(ingested, tmp_path) -> Iterator[Project]:
    """A copy of the home without a model."""
    with ingested.copy(tmp_path).open() as project:
        yield project


def record_of(project: Project, model: str) -> ModelRecord:
    return RecordStore(project.settings.home, "green").read(f"{model}_model", ModelRecord)


def statuses(project: Project) -> list[str]:
    client = mlflow.MlflowClient(
        project.settings.tracking_uri, registry_uri=project.settings.tracking_uri
    )
    experiment = client.get_experiment_by_name("taxi-trip-duration")
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]


def test_trials_are_reported(tuning):
    _, events = tuning
    assert [event.asset for event in events] == ["xgboost_model"] * 2
    assert min(event.rmse for event in events if event.rmse is not None) > 0


def test_parameters_chosen_on_the_test_month_are_no_warm_start(tuned):
    """Tested on April, validated on March; then March is the test month."""
    rounds = record_of(tuned, "xgboost").parameters["n_estimators"]
    assert rounds != FAMILIES["xgboost"].defaults["n_estimators"]

    earlier = {"test_month": "2023-03"}
    assert tuned.train(("xgboost",), training_set=earlier).success
    assert record_of(tuned, "xgboost").parameters == FAMILIES["xgboost"].defaults


def test_without_trials_the_last_tuned_parameters_are_used(tuned):
    before = record_of(tuned, "xgboost").parameters
    assert tuned.train(("xgboost",)).success
    assert record_of(tuned, "xgboost").parameters == before
    assert tuned.train(("xgboost",), xgboost_model={"trials": 0, "warm_start": False}).success
    assert record_of(tuned, "xgboost").parameters == FAMILIES["xgboost"].defaults


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


def test_tuning_starts_from_the_champion_s_parameters(tuned):
    """Also without the local record, as on another machine with the same registry."""
    parameters = record_of(tuned, "xgboost").parameters
    store = RecordStore(tuned.settings.home, "green")
    pathlib.Path(store.path("xgboost_model")).unlink()
    assert tuned.train(("xgboost",)).success
    assert record_of(tuned, "xgboost").parameters == parameters
