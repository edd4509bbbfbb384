"""A real HTTP server on loopback that publishes months, and misbehaves as told."""

import re
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


Behaviour = Callable[["_Handler", ServedFile | None], None]


@dataclass
class TripServer:
    """What is published, how to misbehave, and what was asked.

    Attributes:
        files: by file name.
        resumes: whether Range is honoured.
        misbehave: per (method, file name), one behaviour a request; after the last one all is well.
        always: per (method, file name), a behaviour for every request.
        every: a behaviour for all requests to all files.
        asked: all requests, in order.
    """

    url: str = ""
    files: dict[str, ServedFile] = field(default_factory=dict)
    resumes: bool = True
    misbehave: dict[tuple[str, str], list[Behaviour]] = field(
        default_factory=lambda: defaultdict(list)
    )
    always: dict[tuple[str, str], Behaviour] = field(default_factory=dict)
    every: Behaviour | None = None
    asked: list[Asked] = field(default_factory=list)
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
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(handler: _Handler, file: ServedFile | None) -> None:
    """Behave well: 404, 200, or 206 where a range is asked for that still fits the version."""
    if file is None:
        status(404)(handler, file)
        return
    start, end = _range(handler, file)
    headers = file.headers()
    if (start, end) == (0, len(file.content)):
        handler.begin(200, headers | {"Content-Length": str(len(file.content))})
    elif start >= len(file.content):
        headers["Content-Range"] = f"bytes */{len(file.content)}"
        handler.begin(416, headers | {"Content-Length": "0"})
    else:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(file.content)}"
        handler.begin(206, headers | {"Content-Length": str(end - start)})
    handler.write(file.content[start:end])


def _range(handler: _Handler, file: ServedFile) -> tuple[int, int]:
    whole = (0, len(file.content))
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    unless = handler.headers.get("If-Range")
    same = unless is None or unless in (file.etag, file.headers().get("Last-Modified"))
    if match is None or not same or not handler.trips.resumes:
        return whole
    end = int(match[2]) + 1 if match[2] else len(file.content)
    return int(match[1]), min(end, len(file.content))


def status(code: int, **headers: str) -> Behaviour:
    """Answer with this status and nothing else."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.begin(code, {"Content-Length": "0"} | named)

    return answer


def cut_after(count: int, chunked: bool = False) -> Behaviour:
    """Send so many bytes of what was asked for, then hang up."""

    def answer(handler: _Handler, file: ServedFile | None) -> None:
        assert file is not None
        start, end = _range(handler, file)
        size = len(file.content)
        if chunked:
            handler.begin(200, file.headers() | {"Transfer-Encoding": "chunked"})
            handler.wfile.write(b"%x\r\n%b\r\n" % (count, file.content[:count]))
        else:
            headers = file.headers() | {"Content-Length": str(end - start)}
            if start:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            handler.begin(206 if start else 200, headers)
            handler.wfile.write(file.content[start : start + count])
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
