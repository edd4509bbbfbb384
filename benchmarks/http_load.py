"""A client light enough not to be what is measured: HTTP/1.1 on raw sockets, kept alive."""

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
_ANSWER_SECONDS = 60.0


def post(path: str, content: Any) -> bytes:
    """The bytes of a POST request with a JSON body."""
    body = json.dumps(content).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """A connection that is kept alive, one request after the other.

    Args:
        port: On 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pieces: list[bytes] = []
        self._missing: int | None = None

    def ask(self, request: bytes) -> bytes:
        """Send a request and wait for its answer; returns the body.

        Raises:
            RuntimeError: when the status is not 200, or the connection ends.
        """
        self.socket.sendall(request)
        while (body := self.receive()) is None:
            pass
        return body

    def receive(self) -> bytes | None:
        """Read what has arrived; the answer's body once it is whole, else None.

        Raises:
            RuntimeError: as :meth:`ask`.
        """
        piece = self.socket.recv(_READ_BYTES)
        if not piece:
            raise RuntimeError("the server ended the connection")
        self._pieces.append(piece)
        if self._missing is None:
            so_far = b"".join(self._pieces)
            head, found, body = so_far.partition(b"\r\n\r\n")
            if not found:
                return None
            length = _LENGTH.search(head)
            if not head.startswith(b"HTTP/1.1 200") or length is None:
                raise RuntimeError(f"no good answer: {so_far[:500]!r}")
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
        """Hang up."""
        self.socket.close()


@dataclass(frozen=True)
class Load:
    """What a server bore.

    Attributes:
        answers: Good answers.
        seconds: Wall time they took.
        client_seconds: Processor time of the client in them.
    """

    answers: int
    seconds: float
    client_seconds: float

    @property
    def answers_a_second(self) -> float:
        """Throughput."""
        return self.answers / self.seconds

    @property
    def client_share(self) -> float:
        """Share of one core that the client was busy; near 1, it was the bottleneck."""
        return self.client_seconds / self.seconds


def latencies(connection: Connection, requests: Sequence[bytes]) -> list[float]:
    """Milliseconds of each request, asked one after the other."""
    taken = []
    for request in requests:
        begun = time.perf_counter()
        connection.ask(request)
        taken.append(1000 * (time.perf_counter() - begun))
    return taken


def saturate(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, max_requests: int
) -> Load:
    """Keep so many connections busy, each with one request after the other.

    Args:
        port: On 127.0.0.1.
        requests: Sent in turn, over and over.
        connections: Kept alive, driven by this one thread.
        seconds: For about so long.
        max_requests: Maximum number of requests.

    Raises:
        RuntimeError: as :meth:`Connection.ask`.
    """
    opened = {one.socket.fileno(): one for one in (Connection(port) for _ in range(connections))}
    following = cycle(requests)
    try:
        with select.epoll() as poll:
            for number, one in opened.items():
                poll.register(number, select.EPOLLIN)
                one.socket.sendall(next(following))
            begun, busy = time.perf_counter(), time.process_time()
            answers = 0
            for one in _ready(poll, opened):
                if one.receive() is None:
                    continue
                answers += 1
                if answers >= max_requests or time.perf_counter() - begun >= seconds:
                    break
                one.socket.sendall(next(following))
            return Load(answers, time.perf_counter() - begun, time.process_time() - busy)
    finally:
        for one in opened.values():
            one.close()


def _ready(poll: select.epoll, opened: dict[int, Connection]) -> Iterator[Connection]:
    """Connections on which something has arrived.

    Raises:
        RuntimeError: when nothing arrives for long.
    """
    while events := poll.poll(_ANSWER_SECONDS):
        for number, _ in events:
            yield opened[number]
    raise RuntimeError(f"no answer in {_ANSWER_SECONDS:.0f} s")
