"""The service as a process: start, imports and shutdown."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

from ml_assets.serving.bundle import SERVING_FOLDER
from ml_assets_tests.cli.calling import start
from ml_assets_tests.conftest import REPOSITORY
from ml_assets_tests.serving.service_process import GOOD, free_port, running_service
from ml_assets_tests.serving.two_versions import served_home

NOTICED = 60
NEVER = ("dagster", "mlflow", "optuna", "matplotlib")
NEVER_OF_OURS = ("training", "promotion", "evaluation", "registry", "defs")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home without a champion."""
    made = served_home(tmp_path_factory)
    shutil.rmtree(made.store.lock_folder / SERVING_FOLDER)
    made.promote(None)
    return made


def test_without_a_champion_it_waits_for_one(home):
    """It announces that there is none only after the registry has responded."""
    port = free_port()
    process = start(["serve", "--port", str(port)], home.variables)
    try:
        line = announcement(process)
        assert line.startswith(
            "No champion yet, the service loads it once there is one "
            "(no version of taxi-trip-duration has the alias champion "
        )
        assert f": page http://127.0.0.1:{port}/ , docs http://127.0.0.1:{port}/docs ," in line
        assert predict(port)[0] == 503
        home.promote("1")
        deadline = time.monotonic() + NOTICED
        while predict(port)[0] == 503:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        status, response = predict(port)
        assert (status, response["model_version"]) == (200, "1")
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=NOTICED)
    assert process.returncode == 0
    assert "version 1 is served" in errors
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def ended(home, tmp_path_factory):
    """A service that was stopped during a request: its response, status and imported modules.

    The process writes its imported modules when it exits.
    """
    home.promote("1")
    folder = tmp_path_factory.mktemp("ended")
    (folder / "sitecustomize.py").write_text(
        "import atexit, os, sys\n"
        "if 'serve' in sys.argv or any('cli' in a for a in sys.orig_argv):\n"
        "    atexit.register(lambda: open(os.environ['MODULES'], 'w')"
        ".write('\\n'.join(sorted(sys.modules))))\n"
    )
    paths = os.pathsep.join([str(folder), str(REPOSITORY)])
    variables = {**home.variables, "PYTHONPATH": paths, "MODULES": str(folder / "modules")}
    with running_service(variables, folder / "log") as service:
        assert service.request("POST", "/predict", [GOOD] * 100).status == 200
        assert service.request("POST", "/predict?explain=true", GOOD).status == 200
        assert service.request("GET", "/").status == 200
        assert service.request("GET", "/zones").status == 200
        body = json.dumps(GOOD).encode()
        slow = service.connect()
        slow.sendall(
            b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        slow.sendall(body[:20])
        time.sleep(0.5)
        service.process.terminate()
        wait_until_refused(service.port)
        assert service.process.poll() is None
        slow.sendall(body[20:])
        response = slow.makefile("rb").read()
        slow.close()
        status = service.process.wait(NOTICED)
    return response, status, (folder / "modules").read_text().split()


def test_on_shutdown_requests_are_finished_and_the_log_is_closed(home, ended):
    response, status, _ = ended
    assert response.startswith(b"HTTP/1.1 200")
    assert status == 0
    request_id = json.loads(response.split(b"\r\n\r\n")[1])["request_id"]
    logged = "".join(
        path.read_text() for path in (home.store.lock_folder / "request_log").iterdir()
    )
    assert request_id in logged


def test_the_service_imports_neither_dagster_nor_training(ended):
    _, _, imported = ended
    assert "ml_assets.serving.predict_endpoint" in imported
    found = {name.split(".")[0] for name in imported}
    assert not found & set(NEVER)
    for part in NEVER_OF_OURS:
        assert not [name for name in imported if name.startswith(f"ml_assets.{part}")]


def test_a_port_in_use_is_a_one_line_error(home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(["serve", "--port", str(port)], home.variables)
        out, errors = process.communicate(timeout=NOTICED)
    assert (process.returncode, out) == (2, "")
    assert errors.count("\n") == 1
    assert f"--port {port} cannot be used" in errors


def test_an_invalid_token_is_rejected_without_showing_it(home):
    process = start(["serve"], {**home.variables, "ML_ASSETS_API_TOKEN": "geheim\u00e4"})
    out, errors = process.communicate(timeout=NOTICED)
    assert (process.returncode, out) == (2, "")
    assert "ML_ASSETS_API_TOKEN" in errors
    assert "geheim" not in errors


def test_a_command_imports_no_other_command():
    code = (
        "import sys; sys.argv = ['ml-assets', 'serve', '--help']\n"
        "from ml_assets.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(*[n for n in sys.modules if n.startswith('ml_assets.cli.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    imported = done.stdout.splitlines()[-1].split()
    assert "ml_assets.cli.serve" in imported
    assert "ml_assets.cli.run" not in imported


def announcement(process):
    """Return the first line that announces a model or none; a busy machine may take long."""
    line = process.stdout.readline()
    assert line.startswith("Reading the registry: page http://")
    while line.startswith(
        ("Reading the registry: ", "No model yet (the registry has not answered")
    ):
        line = process.stdout.readline()
    return line


def wait_until_refused(port):
    deadline = time.monotonic() + NOTICED
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def predict(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/predict", json.dumps(GOOD))
    response = connection.getresponse()
    return response.status, json.loads(response.read())
