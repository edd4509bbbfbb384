"""HTTP servers as processes: how soon they answer a request well, and an end to all of them."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http_load import Connection
from benchmarks.subprocesses import REPOSITORY, environment_with

ANSWER_SECONDS = 120.0
STOP_SECONDS = 20.0
_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class HttpServer:
    """A server that answers.

    Attributes:
        port: On 127.0.0.1.
        seconds: From the start of its process to its first good answer.
        session: Process group of the server and its children.
    """

    port: int
    seconds: float
    session: int

    def processor_seconds(self) -> float:
        """What its processes have used so far; Linux only, elsewhere 0."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # After the name in brackets: session 4th, user and system time 12th and 13th.
                fields = stat.read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12]) if int(fields[3]) == self.session else 0
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def answering(
    command: Sequence[str], variables: Mapping[str, str], log: Path, request: bytes
) -> Iterator[HttpServer]:
    """Run a server until the block ends; it is entered once a request has been answered well.

    Args:
        command: ``--host`` and ``--port`` are added.
        variables: See :func:`environment_with`; others are added to the environment.
        log: Gets its output; on disk, as a server's would.
        request: Asked again and again until the status is 200.

    Raises:
        RuntimeError: when the process ends, or does not answer in time; with its last words.
    """
    port = _free_port()
    begun = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=environment_with(variables),
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not _answers(port, request):
            if process.poll() is not None or time.perf_counter() - begun > ANSWER_SECONDS:
                raise RuntimeError(f"{command} does not answer:\n{log.read_text()[-2000:]}")
            time.sleep(_POLL_SECONDS)
        yield HttpServer(port, time.perf_counter() - begun, process.pid)
    finally:
        _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, request: bytes) -> bool:
    try:
        connection = Connection(port)
    except OSError:
        return False
    try:
        connection.send(request)
    except (OSError, RuntimeError):
        return False
    finally:
        connection.close()
    return True


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """As a service manager does; whatever of its process group is left after that is killed."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
