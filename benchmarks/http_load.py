"""A light HTTP/1.1 client on raw sockets, so that the client is not the bottleneck."""

import json
import re
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_READ_BYTES = 1 << 18
_RESPONSE_SECONDS = 60.0


def post(path: str, content: Any) -> bytes:
    """Return the bytes of a POST request with a JSON body."""
    body = json.dumps(content).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """A keep-alive connection for one request at a time.

    Args:
        port: Port on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_RESPONSE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pieces: list[bytes] = []
        self._missing: int | None = None

    def send(self, request: bytes) -> bytes:
        """Send a request, and return the body of the response.

        Raises:
            RuntimeError: The status is not 200, or the server closed the connection.
        """
        self.socket.sendall(request)
        while (body := self.receive()) is None:
            pass
        return body

    def receive(self) -> bytes | None:
        """Read available bytes; return the body once it is complete, else None.

        Raises:
            RuntimeError: See :meth:`send`.
        """
        piece = self.socket.recv(_READ_BYTES)
        if not piece:
            raise RuntimeError("the server closed the connection")
        self._pieces.append(piece)
        if self._missing is None:
            so_far = b"".join(self._pieces)
            head, found, body = so_far.partition(b"\r\n\r\n")
            if not found:
                return None
            length = _LENGTH.search(head)
            if not head.startswith(b"HTTP/1.1 200") or length is None:
                raise RuntimeError(f"not a valid response: {so_far[:500]!r}")
            self._pieces = [body]
            self._missing = int(length[1]) - len(body)
        else:
            self._missing -= len(piece)
        if self._missing > 0:
            return None
        whole = b"".join(self._pieces)
        self._pieces, self._missing = [], None
        return whole

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


@dataclass(frozen=True)
class Load:
    """Result of a load test.

    Attributes:
        responses: Number of valid responses.
        seconds: Wall time.
        client_seconds: CPU time of the client.
    """

    responses: int
    seconds: float
    client_seconds: float

    @property
    def responses_per_second(self) -> float:
        """Throughput."""
        return self.responses / self.seconds

    @property
    def client_share(self) -> float:
        """Share of one core used by the client; near 1, it was the bottleneck."""
        return self.client_seconds / self.seconds


def latencies(connection: Connection, requests: Sequence[bytes]) -> list[float]:
    """Return the latency of each request in milliseconds, sent one after the other."""
    taken = []
    for request in requests:
        begun = time.perf_counter()
        connection.send(request)
        taken.append(1000 * (time.perf_counter() - begun))
    return taken


def paced_latencies(
    connection: Connection, requests: Sequence[bytes], seconds: float, interval: float
) -> list[float]:
    """Return latencies in milliseconds, of requests sent at equal intervals.

    A request whose time has come while another was in progress is sent at once.

    Args:
        requests: Sent in turn and repeatedly.
        seconds: Duration.
        interval: Seconds from one request to the next.
    """
    taken: list[float] = []
    begun = time.perf_counter()
    for number, request in zip(range(round(seconds / interval)), cycle(requests), strict=False):
        time.sleep(max(begun + number * interval - time.perf_counter(), 0))
        taken += latencies(connection, [request])
    return taken


def saturate(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, max_requests: int
) -> Load:
    """Keep a number of connections busy, each with one request at a time.

    Args:
        port: Port on 127.0.0.1.
        requests: Requests, sent in turn and repeatedly.
        connections: Number of keep-alive connections, all driven by this thread.
        seconds: Approximate duration.
        max_requests: Maximum number of requests.

    Raises:
        RuntimeError: See :meth:`Connection.send`.
    """
    opened = {one.socket.fileno(): one for one in (Connection(port) for _ in range(connections))}
    following = cycle(requests)
    try:
        with select.epoll() as poll:
            for number, one in opened.items():
                poll.register(number, select.EPOLLIN)
                one.socket.sendall(next(following))
            begun, busy = time.perf_counter(), time.process_time()
            responses = 0
            for one in _ready(poll, opened):
                if one.receive() is None:
                    continue
                responses += 1
                if responses >= max_requests or time.perf_counter() - begun >= seconds:
                    break
                one.socket.sendall(next(following))
            return Load(responses, time.perf_counter() - begun, time.process_time() - busy)
    finally:
        for one in opened.values():
            one.close()


def _ready(poll: select.epoll, opened: dict[int, Connection]) -> Iterator[Connection]:
    """Yield connections with available bytes.

    Raises:
        RuntimeError: There is no response within the time limit.
    """
    while events := poll.poll(_RESPONSE_SECONDS):
        for number, _ in events:
            yield opened[number]
    raise RuntimeError(f"no response in {_RESPONSE_SECONDS:.0f} s")
