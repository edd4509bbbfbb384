"""An alias or a version that was deleted: every message names the command that helps."""

from types import SimpleNamespace
from typing import Any

import pytest

from ml_assets.promotion import OverrideRejected
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.manual import override_champion
from ml_assets.registry import ModelNotFound, log_training
from ml_assets.registry.loading import load_model
from ml_assets.registry.mlflow_runs import tracked_run
from ml_assets.registry.mlflow_store import TrackingStore
from ml_assets.registry.registry import CHAMPION, PREVIOUS, Registry
from ml_assets.registry.watcher import RegistryWatcher
from ml_assets.reproduction import UnknownVersion
from ml_assets.reproduction.reproduce import load_training_record
from ml_assets.training.fit import TrialRecord
from ml_assets_tests.project import lay_tables_of_mlflow, settings_for

NAME = "taxi-trip-duration"


@pytest.fixture
def settings(tmp_path):
    settings = settings_for(tmp_path)
    lay_tables_of_mlflow(settings)
    return settings


@pytest.fixture
def client(settings, tmp_path):
    store = TrackingStore(settings.tracking_uri, NAME, f"{tmp_path}/mlartifacts", tmp_path)
    return store.client()


@pytest.fixture
def registry(client, tmp_path):
    return Registry(client, NAME, tmp_path)


def register_versions(registry, *promoted):
    """Versions of nothing, each promoted or not."""
    registry.client.create_registered_model(NAME)
    serving = None
    for number, serves in enumerate(promoted, 1):
        tags = {"model": "lasso", "dataset": "sample_green", "synthetic": "true"}
        registry.client.create_model_version(NAME, f"{registry.lock_folder}/none", tags=tags)
        if serves:
            registry.promote(str(number), expected_current=serving)
            serving = str(number)


def rollback(registry, version=None):
    log = DecisionLog(str(registry.lock_folder), "sample_green")
    override_champion(registry, log, kind="rollback", version=version, reason="test")


def test_a_deleted_alias_names_the_version_that_served_last(registry, settings):
    register_versions(registry, True, True, False)
    registry.client.delete_registered_model_alias(NAME, CHAMPION)
    for raised, act in (
        (ModelNotFound, lambda: load_model(registry)),
        (UnknownVersion, lambda: load_training_record(registry, CHAMPION)),
        (OverrideRejected, lambda: rollback(registry)),
    ):
        with pytest.raises(raised, match="`ml-assets promote 2`") as error:
            act()
        assert "no version of taxi-trip-duration has the alias champion" in str(error.value)
        assert "\n" not in str(error.value)
    watch = RegistryWatcher(settings)
    watch.poll()
    assert "`ml-assets promote 2`" in watch._status.problem


def test_a_deleted_version_that_served_names_one_that_is_left(registry):
    register_versions(registry, True, True)
    registry.client.delete_model_version(NAME, "2")
    with pytest.raises(ModelNotFound, match="`ml-assets promote 1`"):
        load_model(registry)
    with pytest.raises(ModelNotFound, match=r"no version or alias '2': there are 1 \(lasso\)"):
        load_model(registry, "2")


def test_a_rollback_to_a_deleted_version_names_another(registry):
    register_versions(registry, True, True, True)
    registry.client.set_registered_model_alias(NAME, PREVIOUS, "2")
    registry.client.delete_model_version(NAME, "2")
    with pytest.raises(OverrideRejected, match="or it was deleted: .*`ml-assets promote 1`"):
        rollback(registry)


def test_without_any_version_one_trains_first(registry, settings):
    with pytest.raises(ModelNotFound, match="train one first"):
        load_model(registry)
    watch = RegistryWatcher(settings)
    watch.poll()
    assert watch._status.problem is None


def test_a_pruned_trial_is_marked_and_not_finished(client):
    trials = [
        TrialRecord(number, {"alpha": 0.1}, rmse, state, 0.5)
        for number, (state, rmse) in enumerate(
            (("COMPLETE", 4.4), ("PRUNED", None), ("FAIL", None))
        )
    ]
    evaluated: Any = SimpleNamespace(trials=trials, record=SimpleNamespace(model="xgboost"))
    with tracked_run(client, NAME, "parent", {}) as run:
        log_training._log_trials(run, evaluated)
    found = {child.info.run_name: child for child in client.search_runs([run.experiment_id])}
    shown = {
        name: (child.info.status, child.data.tags.get("state")) for name, child in found.items()
    }
    assert shown == {
        "parent": ("FINISHED", None),
        "xgboost trial 0": ("FINISHED", "COMPLETE"),
        "xgboost trial 1": ("KILLED", "PRUNED"),
        "xgboost trial 2": ("FAILED", "FAIL"),
    }
