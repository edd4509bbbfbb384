"""A real HTTP server on loopback that publishes months, and misbehaves as told."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class ServedFile:
    """One file as served; ``etag`` and ``modified`` (seconds since 1970) None: header not sent."""

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
class Asked:
    """One request that the server saw."""

    method: str
    path: str
    headers: dict[str, str]


_PIECE_BYTES = 64 * 1024
Behaviour = Callable[["_Handler", ServedFile | None], None]


@dataclass
class TripServer:
    """What is published, how to misbehave, and what was asked.

    Attributes:
        files: by file name.
        misbehave: per (method, file name), one behaviour a request; after the last one all is well.
        always: per (method, file name), a behaviour for every request.
        every: a behaviour for all requests to all files.
        asked: all requests, in order.
        sent_bytes: of bodies, as far as clients have taken them.
    """

    url: str = ""
    files: dict[str, ServedFile] = field(default_factory=dict)
    misbehave: dict[tuple[str, str], list[Behaviour]] = field(
        default_factory=lambda: defaultdict(list)
    )
    always: dict[tuple[str, str], Behaviour] = field(default_factory=dict)
    every: Behaviour | None = None
    asked: list[Asked] = field(default_factory=list)
    sent_bytes: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def requests(self, method: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == method]

    def start(self) -> Callable[[], None]:
        """Serve on a free port; the returned function ends it."""
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
        """A proxy that records where it should lead, and refuses."""
        self.trips.asked.append(Asked("CONNECT", self.path, dict(self.headers)))
        status(403)(self, None)

    def _answer(self) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        self.trips.asked.append(Asked(self.command, self.path, dict(self.headers)))
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
            except OSError:  # the client has hung up
                self.close_connection = True
                return

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(handler: _Handler, file: ServedFile | None) -> None:
    """Behave well: 404 or 200."""
    if file is None:
        status(404)(handler, file)
        return
    handler.begin(200, file.headers() | {"Content-Length": str(len(file.content))})
    handler.write(file.content)


def status(code: int, **headers: str) -> Behaviour:
    """Answer with this status and nothing else."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.begin(code, {"Content-Length": "0"} | named)

    return answer


def cut_after(count: int, chunked: bool = False) -> Behaviour:
    """Send so many bytes, then hang up."""

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
    """Send ``first`` bytes, then a few bytes every tenth of a second."""

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
                return  # the client has had enough, which is what the test is about
            position += bytes_per_tenth

    return answer


def silence(seconds: float = 30.0) -> Behaviour:
    """Take the request and say nothing."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        handler.trips.stopping.wait(seconds)
        handler.close_connection = True

    return answer


def slowly(seconds: float) -> Behaviour:
    """Behave well after a pause."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        time.sleep(seconds)
        serve(handler, file)

    return answer


def web_page(content_type: str = "text/html; charset=utf-8") -> Behaviour:
    """A log-in page with status 200, whatever was asked for; versioned like the file itself."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        page = b"<!DOCTYPE html><html><body>Please log in.</body></html>"
        headers = file.headers() if file else {}
        length = str(len(page))
        handler.begin(200, headers | {"Content-Type": content_type, "Content-Length": length})
        handler.write(page)

    return answer
