"""``dagster dev`` and ``ml-assets dev`` as processes: start, time until ready, stop."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from benchmarks.subprocesses import environment_with

READY_SECONDS = 180.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
_LOADED = """{
  assetNodes { id }
  workspaceOrError { ... on Workspace { locationEntries {
    loadStatus locationOrLoadError { __typename }
  } } }
}"""


@dataclass
class Server:
    """A UI with its daemon and code server.

    Attributes:
        address: Its URL.
        log: File of its output.
        ready_seconds: Time from its start until everything is loaded.
    """

    address: str
    log: Path
    ready_seconds: float = 0.0

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run a GraphQL query and return its data.

        Raises:
            RuntimeError: The response has errors.
            requests.RequestException: There is no response.
        """
        body = {"query": query, "variables": variables}
        response = requests.post(f"{self.address}/graphql", json=body, timeout=30)
        response.raise_for_status()
        content: dict[str, Any] = response.json()
        if content.get("errors"):
            raise RuntimeError(f"GraphQL: {content['errors']}")
        data: dict[str, Any] = content["data"]
        return data

    def last_output(self) -> str:
        """Return the end of its output."""
        return self.log.read_text()[-2000:]


@contextlib.contextmanager
def serving(
    command: Sequence[str],
    variables: Mapping[str, str],
    folder: Path,
    log: Path,
    min_assets: int,
) -> Iterator[Server]:
    """Run a UI until the block ends; it is entered once the code location is loaded.

    Args:
        command: Script of this environment with its arguments; ``--port`` is added.
        variables: See :func:`environment_with`.
        folder: Working directory.
        log: File for its output.
        min_assets: Number of assets in GraphQL at which the server counts as ready.

    Raises:
        RuntimeError: It ends, or is not ready in time.
    """
    port = _free_port()
    script = str(Path(sys.executable).parent / command[0])
    begun = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(
            [script, *command[1:], "--port", str(port)],
            env=environment_with(variables),
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", log)
    try:
        while not _is_ready(server, min_assets):
            if process.poll() is not None or time.perf_counter() - begun > READY_SECONDS:
                raise RuntimeError(f"{command} did not get ready:\n{server.last_output()}")
            time.sleep(_POLL_SECONDS)
        server.ready_seconds = time.perf_counter() - begun
        yield server
    finally:
        _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(server: Server, min_assets: int) -> bool:
    try:
        loaded = server.query(_LOADED)
    except requests.RequestException:
        return False
    entries = loaded["workspaceOrError"].get("locationEntries", [])
    if not entries or any(entry["loadStatus"] != "LOADED" for entry in entries):
        return False
    for entry in entries:
        if entry["locationOrLoadError"]["__typename"] != "RepositoryLocation":
            raise RuntimeError(f"the code location does not load: {server.last_output()}")
    return len(loaded["assetNodes"]) >= min_assets


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Send SIGINT, as Ctrl-C does; then kill the rest of its process group."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
