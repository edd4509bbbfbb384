"""A tracking server that is down, hangs or is broken is reported at once, before any work."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ml_assets.registry import TrackingUnavailable
from ml_assets.registry.mlflow_store import TrackingStore
from ml_assets_tests.conftest import inherited_environment

EXPERIMENT = "taxi-trip-duration"
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


def store(uri: str, folder: Path) -> TrackingStore:
    return TrackingStore(uri, EXPERIMENT, str(folder), folder)


@contextmanager
def server(status: int | None) -> Iterator[tuple[str, list[str]]]:
    """A server on loopback that answers everything with a status, or nothing at all."""
    paths: list[str] = []
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            if status is None:
                closing.wait(30)
                return
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", paths
    finally:
        closing.set()
        listening.shutdown()
        listening.server_close()


def test_a_server_that_is_away_stops_at_once_and_says_what_to_do(tmp_path):
    begun = time.monotonic()
    with pytest.raises(TrackingUnavailable, match="MLFLOW_TRACKING_URI=http://127.0.0.1:9"):
        store("http://127.0.0.1:9", tmp_path).client()
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("status", "message"), [(None, "Timeout"), (503, "status 503"), (500, "status 500")]
)
def test_a_server_that_hangs_or_is_broken_is_unreachable_within_seconds(tmp_path, status, message):
    with server(status) as (uri, paths):
        begun = time.monotonic()
        with pytest.raises(TrackingUnavailable, match=message) as error:
            store(uri, tmp_path).client()
        assert time.monotonic() - begun < 10
    assert paths == ["/health"]
    assert "start that server, correct the variable, or unset it" in str(error.value)


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404])
def test_a_server_that_answers_is_reached_also_when_it_has_no_such_page(tmp_path, status):
    with server(status) as (uri, paths):
        store(f"{uri}/", tmp_path)._check_reachable()
    assert paths == ["/health"]


def test_a_server_that_refuses_is_not_said_to_be_silent(tmp_path):
    refused = pytest.raises(TrackingUnavailable, match="MLflow cannot be used at .*401")
    with server(401) as (uri, _), refused:
        store(uri, tmp_path).client()


def test_the_advice_is_true_of_every_step_not_only_of_trainings(tmp_path):
    with pytest.raises(TrackingUnavailable) as error:
        store("http://127.0.0.1:9", tmp_path).client()
    assert str(error.value).endswith("Nothing was trained, registered or changed by this step")


@pytest.mark.parametrize(
    "uri", ["postgresql://me:secret@127.0.0.1:9/mlflow", "http://me:secret@127.0.0.1:9"]
)
def test_a_password_is_not_shown(tmp_path, uri):
    with pytest.raises(TrackingUnavailable) as error:
        store(uri, tmp_path).client()
    assert "secret" not in str(error.value)


def test_a_databricks_profile_is_no_host_to_knock_at(tmp_path):
    store("databricks://production", tmp_path)._check_reachable()


@pytest.mark.parametrize(("setting", "retries"), [({}, 4), ({RETRIES: "6"}, 6)])
def test_a_request_is_retried_for_half_a_minute_unless_configured(setting, retries):
    code = (
        "import ml_assets.registry.mlflow_store, mlflow.environment_variables as variables; "
        f"print(variables.{RETRIES}.get())"
    )
    environment = {
        name: value for name, value in inherited_environment().items() if name != RETRIES
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | setting, capture_output=True, check=True
    )
    assert int(done.stdout) == retries
