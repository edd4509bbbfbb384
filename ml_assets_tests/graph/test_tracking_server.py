"""The asset graph with an MLflow server: links to its pages."""

from collections.abc import Iterator

import pytest

from ml_assets_tests.graph.tracking_server import running_server
from ml_assets_tests.project import open_project, settings_for


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running.uri


def test_a_champion_s_page_links_to_its_version_and_its_run(tmp_path, server):
    with open_project(settings_for(tmp_path, MLFLOW_TRACKING_URI=server)) as project:
        assert project.ingest("2023-01", "2023-02").success
        trained = project.train()
        failed = trained.filter_events(lambda event: event.is_step_failure)
        assert trained.success, [event.step_failure_data.error.to_string() for event in failed]
        shown = project.metadata("champion_model")
        run_id = project.metadata("linear_regression_model")["mlflow_run_id"]
    assert shown["registered_version"] == f"{server}/#/models/taxi-trip-duration/versions/1"
    assert shown["mlflow_run"] == f"{server}/#/experiments/1/runs/{run_id}"
    assert "open_mlflow" not in shown
