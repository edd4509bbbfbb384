"""A temporary prediction service in its own process that serves one registered version.

It has its own home, so that neither the registry's aliases nor the request log are touched, and it
ends with the process that started it, even if that is killed.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3

from ml_assets.config.settings import TOKEN_VARIABLE
from ml_assets.registry.export_bundle import export
from ml_assets.secrets import ShownError, error_text
from ml_assets.serving.bundle import CHAMPION_FILE, SERVING_FOLDER, ChampionManifest
from ml_assets.storage.model_version import ModelVersion

PROCESS_MODULE: Final = "ml_assets.serving.server"
_LOG: Final = "service.log"
_STOP_SECONDS = 10.0
_RESPONSE_SECONDS = 60.0
"""Time limit of a response on a busy machine; the first one includes the start of the service."""


class ServiceUnresponsive(ShownError, RuntimeError):
    """The service did not start or does not respond; the message has the reason."""


@dataclass
class CandidateService:
    """A running service."""

    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    def __post_init__(self) -> None:
        self._pool = urllib3.HTTPConnectionPool(
            "127.0.0.1", self.port, retries=False, timeout=_RESPONSE_SECONDS
        )

    def post(self, body: bytes, path: str = "/predict") -> Mapping[str, Any]:
        """Post a body and return the JSON; raise ServiceUnresponsive unless the status is 200."""
        try:
            response = self._pool.request(
                "POST", path, body=body, headers={"Content-Type": "application/json"}
            )
        except urllib3.exceptions.HTTPError as error:
            raise ServiceUnresponsive(self._reason(error)) from error
        if response.status != 200:
            text = response.data[:500].decode("utf-8", "replace")
            raise ServiceUnresponsive(f"POST {path} returned status {response.status}: {text}")
        content: Mapping[str, Any] = response.json()
        return content

    def _reason(self, error: Exception) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may be about to end
            self.process.wait(1.0)
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        status = self.process.returncode
        ended = "does not respond" if status is None else f"ended with status {status}"
        last = f"; last line of its log: {lines[-1]}" if lines else ""
        return f"the service {ended} ({error_text(error)}){last}"

    def stop(self) -> None:
        """Stop it gracefully; kill it after a time limit."""
        self._pool.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def candidate_service(version: ModelVersion, name: str) -> Iterator[CandidateService]:
    """Serve this version until the block ends; it may still be starting when the block begins.

    Raises:
        ServiceUnresponsive: The service cannot be started.
        UntrustedModel: The model has another format, or needs types of other packages.
    """
    with tempfile.TemporaryDirectory(prefix="ml_assets_candidate_") as folder:
        home = Path(folder)
        bundle = export(version, name, home / SERVING_FOLDER)
        with serve_bundle(
            home, ChampionManifest(version=version.version, folder=bundle.name)
        ) as served:
            yield served


@contextlib.contextmanager
def serve_bundle(home: Path, manifest: ChampionManifest) -> Iterator[CandidateService]:
    """Serve the bundle that the manifest names, from this home, until the block ends.

    Raises:
        ServiceUnresponsive: The service cannot be started.
    """
    file = home / SERVING_FOLDER / CHAMPION_FILE
    file.write_text(manifest.model_dump_json(), encoding="utf-8")
    service = _start(home)
    try:
        yield service
    finally:
        service.stop()


def _start(home: Path) -> CandidateService:
    variables = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    variables |= {"ML_ASSETS_HOME": str(home)}
    try:
        # The socket listens already, so that requests wait for the service to start.
        with socket.create_server(("127.0.0.1", 0)) as listening, open(home / _LOG, "wb") as log:
            port = listening.getsockname()[1]
            process = subprocess.Popen(
                [sys.executable, "-m", PROCESS_MODULE, str(listening.fileno()), str(home)],
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
