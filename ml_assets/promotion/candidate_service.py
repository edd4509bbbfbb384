"""The prediction service on trial: a process that serves one registered version and nothing else.

It has a home of its own, so that neither the registry's alias nor the log of anybody's requests is
touched, and ends with whoever started it, however that ends.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3

from ml_assets.config.settings import TOKEN_VARIABLE
from ml_assets.config.sqlite_url import sqlite_url
from ml_assets.registry.export_bundle import export
from ml_assets.secrets import ShownError, error_text
from ml_assets.serving.handover import CHAMPION_FILE, SERVING_FOLDER, ChampionManifest
from ml_assets.serving.server import serve
from ml_assets.storage.model_version import ModelVersion

_LOG: Final = "service.log"
_END_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
"""Until an answer, the first one's start of the service included, on a machine that is busy."""


class ServiceUnresponsive(ShownError, RuntimeError):
    """The service did not start, or does not answer; says why."""


@dataclass
class CandidateService:
    """A running service.

    Attributes:
        port: On the loopback address.
        process: What runs.
        log: What it says.
    """

    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    def __post_init__(self) -> None:
        self._pool = urllib3.HTTPConnectionPool(
            "127.0.0.1", self.port, retries=False, timeout=_ANSWER_SECONDS
        )

    def ask(self, body: bytes, path: str = "/predict") -> Mapping[str, Any]:
        """Send a body, and give back the JSON that is answered.

        Raises:
            ServiceUnresponsive: when there is no answer, or another status than 200.
        """
        try:
            answer = self._pool.request(
                "POST", path, body=body, headers={"Content-Type": "application/json"}
            )
        except urllib3.exceptions.HTTPError as error:
            raise ServiceUnresponsive(self._why(error)) from error
        if answer.status != 200:
            text = answer.data[:500].decode("utf-8", "replace")
            raise ServiceUnresponsive(f"POST {path} was answered with {answer.status}: {text}")
        found: Mapping[str, Any] = answer.json()
        return found

    def _why(self, error: Exception) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may be about to end
            self.process.wait(1.0)
        text = self.log.read_text("utf-8", "replace").strip().splitlines()
        status = self.process.returncode
        ended = "does not answer" if status is None else f"ended with status {status}"
        last = f"; it said: {text[-1]}" if text else ""
        return f"the service {ended} ({error_text(error)}){last}"

    def end(self) -> None:
        """Have it finish and end; kill it when it does not."""
        self._pool.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def candidate_service(version: ModelVersion, name: str) -> Iterator[CandidateService]:
    """A service of this version, until the block ends; it may still be starting when it begins.

    Args:
        version: The registered version.
        name: Name of the registered model.

    Raises:
        ServiceUnresponsive: when it cannot be started.
        UntrustedModel: when the version is of another format, or asks for types of other packages.
    """
    with tempfile.TemporaryDirectory(prefix="ml_assets_trial_") as home:
        _hand_over(version, name, Path(home))
        service = _start(Path(home))
        try:
            yield service
        finally:
            service.end()


def _hand_over(version: ModelVersion, name: str, home: Path) -> None:
    bundle = export(version, name, home / SERVING_FOLDER)
    note = ChampionManifest(version=version.version, folder=bundle.name)
    (bundle.parent / CHAMPION_FILE).write_text(note.model_dump_json(), encoding="utf-8")


def _start(home: Path) -> CandidateService:
    variables = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    # A registry of its own, which is not there: the version that was handed over stays.
    variables |= {"ML_ASSETS_HOME": str(home), "MLFLOW_TRACKING_URI": sqlite_url(home / "none.db")}
    try:
        # It listens here already, so that a question may wait for the service to start.
        with socket.create_server(("127.0.0.1", 0)) as listening, open(home / _LOG, "wb") as log:
            port = listening.getsockname()[1]
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(listening.fileno()), str(home)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=variables,
                pass_fds=[listening.fileno()],
                start_new_session=True,
            )
    except OSError as error:
        raise ServiceUnresponsive(f"the service cannot be started: {error}") from error
    return CandidateService(port, process, home / _LOG)


def main(descriptor: int, home: Path) -> None:
    """Serve on a socket that the parent has opened, until the parent ends or closes the pipe."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    serve(socket.socket(fileno=descriptor), home, home / "requests", lambda _: None)


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
