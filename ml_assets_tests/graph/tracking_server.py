"""An MLflow server on loopback that can be stopped and restarted."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

READY_SECONDS, STOP_SECONDS = 120, 30


class TrackingServer:
    """A server with one worker; runs, registry and artifacts are in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
                   "--port", str(self._port), "--workers", "1",
                   "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db",
                   "--artifacts-destination", str(self._folder / "artifacts")]  # fmt: skip
        log = self._folder / "log"
        with open(log, "a") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                # Eight further processes for jobs that the tracking API does not need.
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self.answers():
            assert self._process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the server if it is running, and wait until it no longer answers."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.wait(STOP_SECONDS)
        self._process = None
        assert not self.answers()

    def answers(self) -> bool:
        """Return whether the server accepts connections."""
        try:
            return requests.get(f"{self.uri}/health", timeout=5).ok
        except requests.RequestException:
            return False


@contextmanager
def running_server(folder: Path) -> Iterator[TrackingServer]:
    """A server that is stopped at the end."""
    server = TrackingServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
