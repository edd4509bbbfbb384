"""The clients of the mixed load count what a server has answered."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from benchmarks.http_load import Connection, paced_latencies, post
from benchmarks.repeated_request import repeating
from ml_assets_tests.serving.service_process import wait_until


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    received: ClassVar[list[bytes]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Print nothing."""


@pytest.fixture
def port():
    Echo.received.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_request_is_repeated_until_the_block_ends(port, tmp_path):
    request = tmp_path / "list.http"
    request.write_bytes(post("/predict", [1, 2]))
    with repeating(port, request) as sent:
        connection = Connection(port)
        assert len(paced_latencies(connection, [post("/predict", 7)], 0.2, 0.02)) == 10
        connection.close()
        wait_until(lambda: Echo.received.count(b"[1, 2]") > 2, 60)
    assert sent.responses_per_second > 0
    assert Echo.received.count(b"7") == 10
    assert {*Echo.received} == {b"[1, 2]", b"7"}


def test_a_client_whose_server_is_gone_is_an_error(port, tmp_path):
    request = tmp_path / "list.http"
    request.write_bytes(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    failed = pytest.raises(RuntimeError, match=r"the client of list\.http failed")
    with failed, repeating(port, request):
        pass
