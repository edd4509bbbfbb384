"""What the process beside the prediction service writes down of the registry."""

import json
from concurrent.futures import Future

import pytest

from ml_assets.registry.watcher import RegistryWatcher
from ml_assets.serving.bundle import CHAMPION_FILE, REGISTRY_FILE, SERVING_FOLDER
from ml_assets_tests.project import settings_for
from ml_assets_tests.serving.service_process import free_port


def polled_status(home, **variables):
    """What one look at the registry leaves."""
    settings = settings_for(home, **variables)
    RegistryWatcher(settings).poll()
    return json.loads((home / SERVING_FOLDER / REGISTRY_FILE).read_text())


def test_before_anybody_has_trained_there_is_no_champion_and_no_database_is_made(tmp_path):
    note = polled_status(tmp_path)
    assert note["last_response_at"]
    assert (note["champion_version"], note["problem"]) == (None, None)
    assert not (tmp_path / "mlflow.db").exists()


def test_a_database_that_is_gone_is_not_one_that_never_was(tmp_path):
    (tmp_path / SERVING_FOLDER).mkdir()
    (tmp_path / SERVING_FOLDER / CHAMPION_FILE).write_text('{"version": "1", "folder": "1-x"}')
    note = polled_status(tmp_path)
    assert "mlflow.db does not exist" in note["problem"]
    assert note["last_response_at"] is None


@pytest.mark.parametrize("end", ["", "/"])
def test_an_unreachable_server_is_named_without_its_password(tmp_path, end):
    address = f"127.0.0.1:{free_port()}"
    note = polled_status(tmp_path, MLFLOW_TRACKING_URI=f"http://user:geheim@{address}{end}")
    assert address in note["problem"]
    assert "geheim" not in note["problem"]
    assert note["last_response_at"] is None


def test_a_failed_export_is_reported_without_the_password(tmp_path):
    """The library quotes the URL in its error, and `/ready` shows the status without a token."""
    secret = "http://user:geheim@127.0.0.1:1/api/2.0/mlflow"
    watcher = RegistryWatcher(
        settings_for(tmp_path, MLFLOW_TRACKING_URI="http://user:geheim@127.0.0.1:1")
    )
    failed = Future()
    failed.set_exception(RuntimeError(f"API request to {secret} failed with exception ({secret})"))
    watcher._export = ("7", failed)
    watcher.wait()
    assert "geheim" not in watcher._export_problem
    assert "version 7 cannot be exported" in watcher._export_problem
    assert "127.0.0.1:1" in watcher._export_problem
