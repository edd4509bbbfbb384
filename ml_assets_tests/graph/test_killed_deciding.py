"""Kills during the promotion: there is one complete champion, and the next run finishes."""

import shutil

import mlflow
import pytest

from ml_assets.evaluation.records import Leaderboard
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.registry import CHAMPION, PREVIOUS, Registry
from ml_assets.storage.record_store import RecordStore
from ml_assets_tests.graph.killed_deciding import MOMENTS, work
from ml_assets_tests.graph.killing import killed
from ml_assets_tests.project import open_project, settings_for

NAME = "taxi-trip-duration"


@pytest.fixture(scope="module")
def trained(ingested_home, tmp_path_factory):
    """A home with a synthetic champion and a best model without a decision."""
    copy = ingested_home.copy(tmp_path_factory.mktemp("trained"))
    home, trips = copy.home, copy.trips
    with copy.open() as project:
        keys = ["training_set", "linear_regression_model", "model_leaderboard"]
        steps = {"linear_regression_model": {"config": {"trials": 0}}}
        assert project.run("train_models", steps, keys).success
    client = registry(home)
    best = RecordStore(str(home), "green").read("model_leaderboard", Leaderboard).models[0]
    # A model of the synthetic sample, which any model of published trips may replace.
    tags = {"model": "lasso", "dataset": "sample_green", "synthetic": "true"}
    run = client.create_run("0").info.run_id
    assert best.model_uri is not None
    old = Registry(client, NAME, home).register(best.model_uri, run, tags)
    client.set_registered_model_alias(NAME, CHAMPION, old)
    return home, trips


@pytest.fixture
def home(trained, tmp_path):
    """A copy of that home; artifacts of MLflow stay in place."""
    home, trips = trained
    return shutil.copytree(home, tmp_path / "home"), trips


def registry(home):
    uri = f"sqlite:///{home}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return mlflow.MlflowClient(uri, registry_uri=uri)


def serving(home, alias=CHAMPION):
    return str(registry(home).get_model_version_by_alias(NAME, alias).version)


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_kill_during_the_promotion_the_next_run_finishes(home, tmp_path, moment):
    home, trips = home
    old = serving(home)
    killed(work, tmp_path / "log", moment, home, trips)
    moved = moment == "moved"
    assert (serving(home) != old) is moved
    assert len(load_pipeline(f"models:/{NAME}@{CHAMPION}").named_steps) > 1
    log = DecisionLog(str(home), "green")
    assert all(not decision.applied for decision in log.all())

    with open_project(settings_for(home, trips)) as project:
        assert project.run("train_models", selection=["champion_model"]).success
    assert serving(home) != old
    assert serving(home, PREVIOUS) == old
    versions = registry(home).search_model_versions(f"name='{NAME}'")
    assert len(versions) == 2  # the version registered before the kill is reused
    applied = [decision for decision in log.all() if decision.applied]
    assert [d.promoted for d in applied] == ([True, False] if moved else [True])
    assert all(decision.registry_version == serving(home) for decision in applied)
