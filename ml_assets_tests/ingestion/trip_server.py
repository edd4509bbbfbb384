"""An HTTP server on loopback that publishes months, with planned failures."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class ServedFile:
    """A published file; without ``etag`` or ``modified`` (seconds since 1970) no such header."""

    content: bytes
    etag: str | None = '"first"'
    modified: float | None = 1_700_000_000.0
    content_type: str = "application/octet-stream"

    def headers(self) -> dict[str, str]:
        headers = {"Content-Type": self.content_type}
        if self.etag is not None:
            headers["ETag"] = self.etag
        if self.modified is not None:
            headers["Last-Modified"] = formatdate(self.modified, usegmt=True)
        return headers


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that the server received."""

    method: str
    path: str
    headers: dict[str, str]


_PIECE_BYTES = 64 * 1024
Behaviour = Callable[["_Handler", ServedFile | None], None]


@dataclass
class TripServer:
    """Published files, planned behaviour, and the requests received.

    Attributes:
        files: Files by name.
        misbehave: Behaviours by (method, file name), one for each of the next requests.
        always: Behaviour by (method, file name) for every further request.
        every: Behaviour for all other requests.
        received: All requests, in order.
        sent_bytes: Bytes of bodies that clients have received.
    """

    url: str = ""
    files: dict[str, ServedFile] = field(default_factory=dict)
    misbehave: dict[tuple[str, str], list[Behaviour]] = field(
        default_factory=lambda: defaultdict(list)
    )
    always: dict[tuple[str, str], Behaviour] = field(default_factory=dict)
    every: Behaviour | None = None
    received: list[ReceivedRequest] = field(default_factory=list)
    sent_bytes: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def requests(self, method: str) -> list[ReceivedRequest]:
        return [request for request in self.received if request.method == method]

    def start(self) -> Callable[[], None]:
        """Serve on a free port; return the function that stops the server."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        server.trips = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{server.server_port}/trip-data/"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()

        def stop() -> None:
            self.stopping.set()
            server.shutdown()
            server.server_close()

        return stop


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def trips(self) -> TripServer:
        return self.server.trips  # type: ignore[attr-defined,no-any-return]

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_CONNECT(self) -> None:
        """Record the target of a proxied connection, and refuse it."""
        self.trips.received.append(ReceivedRequest("CONNECT", self.path, dict(self.headers)))
        status(403)(self, None)

    def _answer(self) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        self.trips.received.append(ReceivedRequest(self.command, self.path, dict(self.headers)))
        key = (self.command, name)
        queued = self.trips.misbehave[key]
        behaviour = queued.pop(0) if queued else self.trips.always.get(key, self.trips.every)
        (behaviour or serve)(self, self.trips.files.get(name))

    def begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def write(self, body: bytes) -> None:
        if self.command == "HEAD":
            return
        for start in range(0, len(body), _PIECE_BYTES):
            try:
                self.trips.sent_bytes += self.wfile.write(body[start : start + _PIECE_BYTES])
            except OSError:  # the client closed the connection
                self.close_connection = True
                return

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(handler: _Handler, file: ServedFile | None) -> None:
    """Answer normally: 404 or 200."""
    if file is None:
        status(404)(handler, file)
        return
    handler.begin(200, file.headers() | {"Content-Length": str(len(file.content))})
    handler.write(file.content)


def status(code: int, **headers: str) -> Behaviour:
    """Answer with a status and no body."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.begin(code, {"Content-Length": "0"} | named)

    return answer


def cut_after(count: int, chunked: bool = False) -> Behaviour:
    """Send ``count`` bytes, then close the connection."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        assert file is not None
        if chunked:
            handler.begin(200, file.headers() | {"Transfer-Encoding": "chunked"})
            handler.wfile.write(b"%x\r\n%b\r\n" % (count, file.content[:count]))
        else:
            handler.begin(200, file.headers() | {"Content-Length": str(len(file.content))})
            handler.wfile.write(file.content[:count])
        handler.close_connection = True

    return answer


def drip(bytes_per_tenth: int, first: int = 0) -> Behaviour:
    """Send ``first`` bytes, then ``bytes_per_tenth`` every tenth of a second."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        assert file is not None
        handler.begin(200, file.headers() | {"Content-Length": str(len(file.content))})
        handler.wfile.write(file.content[:first])
        position = first
        handler.close_connection = True
        while position < len(file.content) and not handler.trips.stopping.wait(0.1):
            try:
                handler.wfile.write(file.content[position : position + bytes_per_tenth])
            except OSError:
                return  # the client aborted the transfer
            position += bytes_per_tenth

    return answer


def silence(seconds: float = 30.0) -> Behaviour:
    """Accept the request and never answer."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        handler.trips.stopping.wait(seconds)
        handler.close_connection = True

    return answer


def slowly(seconds: float) -> Behaviour:
    """Answer normally after a delay."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        time.sleep(seconds)
        serve(handler, file)

    return answer


def web_page(content_type: str = "text/html; charset=utf-8") -> Behaviour:
    """Answer 200 with a log-in page that has the headers of the file."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        page = b"<!DOCTYPE html><html><body>Please log in.</body></html>"
        headers = file.headers() if file else {}
        length = str(len(page))
        handler.begin(200, headers | {"Content-Type": content_type, "Content-Length": length})
        handler.write(page)

    return answer
