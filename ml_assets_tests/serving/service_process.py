"""The prediction service as a process, used over HTTP."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_assets_tests.conftest import REPOSITORY, inherited_environment

READY_SECONDS, STOP_SECONDS = 120, 60
GOOD = {
    "PULocationID": 74,
    "DOLocationID": 75,
    "trip_distance": 2.5,
    "pickup_datetime": "2024-05-06T17:30",
    "passenger_count": 1,
}


@dataclass
class Response:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Service:
    """A running service."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 60,
    ) -> Response:
        """Send a request on a new connection; a body other than bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, sent, dict(headers or {}))
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, fields, response.read())
        finally:
            connection.close()

    def connect(self, seconds: float = 60) -> socket.socket:
        """Open a TCP connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def version(self) -> str | None:
        """Return the version in use."""
        response = self.request("GET", "/ready")
        return str(response.content["model_version"]) if response.status == 200 else None

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        lines = self.request("GET", "/metrics").body.decode().splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith((f"{name} ", f"{name}{{"))
        )

    def memory(self) -> int:
        """Return the resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split("VmRSS:")[1].split()[0])

    def peak_memory(self) -> int:
        """Return the peak of resident memory in bytes since :meth:`reset_peak`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    def reset_peak(self) -> None:
        """Reset the peak of memory."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def sockets(self) -> int:
        """Return the number of open sockets."""
        return sum(
            str(entry.readlink()).startswith("socket:")
            for entry in _entries(Path(f"/proc/{self.process.pid}/fd"))
        )

    def terminate(self) -> int:
        """Send SIGTERM, wait for the end, and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def running_service(
    variables: Mapping[str, str], log: Path, folder: Path = REPOSITORY
) -> Iterator[Service]:
    """Run a service until the block ends.

    Args:
        variables: All ``ML_ASSETS_…`` and ``MLFLOW_…`` variables.
        log: File for its output.
        folder: Checkout whose code is run.
    """
    kept = inherited_environment() | {"MLFLOW_DISABLE_TELEMETRY": "true", **variables}
    port = free_port()
    command = [sys.executable, "-c", "from ml_assets.cli import main; main()", "serve"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=kept, cwd=folder, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    service = Service(process, port, log)
    try:
        wait_until(lambda: _is_ready(service), READY_SECONDS, service)
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def wait_until(true: Any, seconds: float, service: Service | None = None) -> None:
    """Wait until a condition is true.

    Raises:
        AssertionError: when it does not become true in time; with the output of the service.
    """
    deadline = time.monotonic() + seconds
    while not true():
        log_end = service.log.read_text()[-3000:] if service else ""
        assert time.monotonic() < deadline, f"not in {seconds} s:\n{log_end}"
        assert service is None or service.process.poll() is None, f"it ended:\n{log_end}"
        time.sleep(0.05)


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(service: Service) -> bool:
    try:
        return service.request("GET", "/ready").status == 200
    except OSError:
        return False


def _entries(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_symlink():
            yield entry
