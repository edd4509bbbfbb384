"""The asset graph with a home at a URL where MLflow cannot store artifacts."""

import uuid
from pathlib import Path

import mlflow
import pytest

from ml_assets.config.settings import read_settings
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage import filesystem
from ml_assets_tests.project import open_project


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A home in fsspec's memory; local files are in a folder of the test."""
    monkeypatch.setattr("ml_assets.config.settings.PROJECT_FOLDER", tmp_path)
    return read_settings({"ML_ASSETS_HOME": f"memory://{uuid.uuid4().hex}/home"})


def test_the_whole_graph_on_a_remote_home_ends_with_a_champion(settings, tmp_path):
    with open_project(settings) as project:
        assert project.ingest("2023-01", "2023-02").success
        assert project.train().success
    decision = DecisionLog(settings.home, "sample_green").newest()
    assert decision.promoted
    client = mlflow.MlflowClient(settings.tracking_uri, registry_uri=settings.tracking_uri)
    version = client.get_model_version_by_alias("taxi-trip-duration", "champion")
    assert str(version.version) == decision.registry_version
    assert version.run_id is not None
    run = client.get_run(version.run_id)
    assert Path(run.info.artifact_uri).is_relative_to(settings.local_home / "mlartifacts")
    assert settings.local_home.parent == tmp_path / ".ml_assets"
    assert filesystem.names(f"{settings.home}/trip_features/sample_green")
