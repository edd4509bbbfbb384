"""The whole graph against a real MLflow server: its page, its registry, its links."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import requests

from ml_assets_tests.project import open_project, settings_for


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """An MLflow server of one worker on loopback."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
               "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
               "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not _answers(uri):
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
            time.sleep(0.2)
        yield uri
    finally:
        process.terminate()
        process.wait(30)


def _answers(uri: str) -> bool:
    try:
        return requests.get(f"{uri}/health", timeout=5).ok
    except requests.RequestException:
        return False


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
