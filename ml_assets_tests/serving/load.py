"""Clients that send requests on separate connections until they are stopped."""

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
    """A request and its response.

    Attributes:
        at: Index of the body.
        request_id: Unique id of the request.
        first: Whether it was the first request on its connection.
        status: Status of the response; None without one.
        content: Content of the response.
        broken: Error of a request without a response.
    """

    at: int
    request_id: str
    first: bool
    status: int | None = None
    content: Any = None
    broken: str | None = None


@dataclass
class Load:
    """The exchanges so far."""

    exchanges: list[Exchange] = field(default_factory=list)
    refused_connections: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def reached(self, count: int) -> bool:
        """Whether there were this many exchanges."""
        return len(self.exchanges) >= count


@contextmanager
def under_load(
    service: Service, bodies: Sequence[Any], clients: int = 8, pause: float = 0.0
) -> Iterator[Load]:
    """Send requests until the block ends; then every client has received its last response.

    Args:
        service: Service under test.
        bodies: Request bodies, sent in turn as JSON.
        clients: Number of clients, each with a persistent connection.
        pause: Seconds between a response and the client's next request.
    """
    load = Load()
    encoded = [json.dumps(body).encode() for body in bodies]
    threads = [
        threading.Thread(target=_send_requests, args=(service, encoded, first, load, pause))
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
    assert not any(thread.is_alive() for thread in threads), "a client still waits for a response"


def _send_requests(
    service: Service, bodies: Sequence[bytes], first: int, load: Load, pause: float
) -> None:
    """Run one client; each starts with another body."""
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
            response = connection.getresponse()
            exchange.status, raw = response.status, response.read()
            exchange.content = json.loads(raw)
            if response.will_close:
                connection.close()
                connection = None
        except (http.client.HTTPException, OSError, ValueError) as error:
            exchange.broken = f"{type(error).__name__}: {error}"
            connection.close()
            connection = None
        load.exchanges.append(exchange)
        time.sleep(pause)
    if connection is not None:
        connection.close()
