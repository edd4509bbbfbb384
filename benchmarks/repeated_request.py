"""A client process that sends one request again and again, beside other clients."""

import contextlib
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http_load import Connection
from benchmarks.subprocesses import REPOSITORY


@dataclass
class Repeated:
    """What the client has measured, once the block has ended.

    Attributes:
        responses_per_second: Responses to the request.
    """

    responses_per_second: float = 0.0


@contextlib.contextmanager
def repeating(port: int, request: Path) -> Iterator[Repeated]:
    """Send a request without pause until the block ends.

    Args:
        port: Port on 127.0.0.1.
        request: File with the bytes of the request.

    Raises:
        RuntimeError: The client fails.
    """
    client = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.repeated_request", str(port), str(request)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout is not None
    measured = Repeated()
    try:
        client.stdout.readline()  # it has its first response
        yield measured
    finally:
        output, _ = client.communicate()
    if client.returncode != 0:
        raise RuntimeError(f"the client of {request.name} failed: its error is above")
    measured.responses_per_second = json.loads(output)


def _repeat(port: int, request: bytes) -> None:
    """Send the request until standard input is closed, then print the responses a second."""
    connection = Connection(port)
    connection.send(request)
    print(flush=True)
    begun, responses = time.perf_counter(), 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        connection.send(request)
        responses += 1
    print(responses / (time.perf_counter() - begun))


if __name__ == "__main__":
    _repeat(int(sys.argv[1]), Path(sys.argv[2]).read_bytes())
