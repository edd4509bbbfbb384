"""Clients that ask one request after the other on connections of their own, until they are told."""

import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ml_assets_tests.serving.service_process import Service


@dataclass
class Exchange:
    """A request and what became of it.

    Attributes:
        at: Index of the body that was sent.
        request_id: Sent with it, and with no other.
        first: Whether it was the first on its connection.
        status: Of the answer; None when there was none.
        content: Of the answer.
        broken: What kept a request that was sent from being answered.
    """

    at: int
    request_id: str
    first: bool
    status: int | None = None
    content: Any = None
    broken: str | None = None


@dataclass
class Load:
    """What the clients met with so far."""

    exchanges: list[Exchange] = field(default_factory=list)
    refused_connections: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def answered(self, count: int) -> bool:
        """Whether so many answers have come by now."""
        return len(self.exchanges) >= count


@contextmanager
def under_load(service: Service, bodies: Sequence[Any], clients: int = 8) -> Iterator[Load]:
    """Ask from so many connections until the block ends; then every client has its last answer.

    Args:
        service: Asked.
        bodies: Sent in turn as JSON.
        clients: Each has a connection that is kept alive.
    """
    load = Load()
    encoded = [json.dumps(body).encode() for body in bodies]
    threads = [
        threading.Thread(target=_ask_on, args=(service, encoded, first, load))
        for first in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop.set()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a client still waits for an answer"


def _ask_on(service: Service, bodies: Sequence[bytes], first: int, load: Load) -> None:
    """One client; it starts at its own body, so that not all send the same at once."""
    connection: http.client.HTTPConnection | None = None
    at = first
    while not load.stop.is_set():
        at = (at + 1) % len(bodies)
        fresh = connection is None
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
            try:
                connection.connect()
            except ConnectionError:
                load.refused_connections += 1
                connection = None
                time.sleep(0.02)
                continue
        exchange = Exchange(at, uuid.uuid4().hex, first=fresh)
        try:
            headers = {"X-Request-ID": exchange.request_id}
            connection.request("POST", "/predict", bodies[at], headers)
            answer = connection.getresponse()
            exchange.status, raw = answer.status, answer.read()
            exchange.content = json.loads(raw)
            if answer.will_close:
                connection.close()
                connection = None
        except (http.client.HTTPException, OSError, ValueError) as error:
            exchange.broken = f"{type(error).__name__}: {error}"
            connection.close()
            connection = None
        load.exchanges.append(exchange)
    if connection is not None:
        connection.close()
