"""The registry, a server, stops just before the champion's alias moves; the next run finishes."""

import time

import mlflow
import pytest

from ml_assets.defs.operations.run_tags import FAILURE_TAG, TRANSIENT
from ml_assets.evaluation.records import Leaderboard
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.registry import CHAMPION, PREVIOUS, Registry
from ml_assets.storage.record_store import RecordStore
from ml_assets_tests.graph.tracking_server import running_server
from ml_assets_tests.project import evaluations, open_project, settings_for

NAME = "taxi-trip-duration"
MAX_SECONDS = 60


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    with running_server(folder) as running:
        yield running


@pytest.fixture
def project(good_home, server, tmp_path):
    """A project with that server, a trained model and a synthetic champion."""
    home = good_home.copy(tmp_path)
    with open_project(
        settings_for(home.home, home.trips, MLFLOW_TRACKING_URI=server.uri)
    ) as opened:
        keys = ["training_set", "linear_regression_model", "model_leaderboard"]
        steps = {"linear_regression_model": {"config": {"trials": 0}}}
        assert opened.run("retrain", steps, keys).success
        best = RecordStore(str(home.home), "green").read("model_leaderboard", Leaderboard).models[0]
        # A model of the synthetic sample, which any model of published trips may replace.
        tags = {"model": "lasso", "dataset": "sample_green", "synthetic": "true"}
        client = mlflow.MlflowClient()
        other_run = client.create_run("0").info.run_id
        assert best.model_uri is not None
        old = Registry(client, NAME, home.home).register(best.model_uri, other_run, tags)
        client.set_registered_model_alias(NAME, CHAMPION, old)
        yield opened


def serving(alias=CHAMPION):
    return str(mlflow.MlflowClient().get_model_version_by_alias(NAME, alias).version)


def test_the_old_champion_serves_until_the_next_run(project, server, monkeypatch):
    # A variable of MLflow, whose client retries for half a minute by default.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    old, log = serving(), DecisionLog(project.settings.home, "green")
    move = mlflow.MlflowClient.set_registered_model_alias
    stopped_at = []

    def stop_before_the_move(client, name, alias, version):
        if alias == CHAMPION:
            server.stop()
            stopped_at.append(time.monotonic())
        return move(client, name, alias, version)

    with monkeypatch.context() as moving:
        moving.setattr(mlflow.MlflowClient, "set_registered_model_alias", stop_before_the_move)
        result = project.run("retrain", selection=["champion_model"], service=True)
    assert not result.success
    assert time.monotonic() - stopped_at[0] < MAX_SECONDS
    (run,) = project.instance.get_runs(limit=1)
    assert run.tags[FAILURE_TAG] == TRANSIENT, "nobody would ask again"
    broken_off = log.all()[-1]
    assert (broken_off.promoted, broken_off.applied) == (True, False)
    assert broken_off.outcome == "pending"

    server.start()
    assert serving() == old
    assert len(load_pipeline(f"models:/{NAME}@{CHAMPION}").named_steps) > 1

    run = project.run("retrain", selection=["champion_model"], service=True)
    assert run.success
    assert evaluations(run)["champion_model.serving_parity"].passed
    assert serving() == broken_off.challenger_version
    assert serving(PREVIOUS) == old
    made = log.all()[-1]
    assert (made.promoted, made.applied) == (True, True)
    assert made.registry_version == serving()
    assert len(mlflow.MlflowClient().search_model_versions(f"name='{NAME}'")) == 2

    # The champion's page links to the server's pages of its version and run.
    shown = project.metadata("champion_model")
    run_id = project.metadata("linear_regression_model")["mlflow_run_id"]
    assert shown["registered_version"] == f"{server.uri}/#/models/{NAME}/versions/{serving()}"
    assert shown["mlflow_run"] == f"{server.uri}/#/experiments/1/runs/{run_id}"
    assert "open_mlflow" not in shown
