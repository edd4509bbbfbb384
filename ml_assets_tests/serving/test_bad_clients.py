"""Clients that send too much, too slowly, incomplete requests, or unsupported protocols.

Other clients are served meanwhile, and no sockets or memory leak.
"""

import json
import re
import socket
import threading
import time

import pytest

from ml_assets_tests.serving.service_process import GOOD, running_service, wait_until
from ml_assets_tests.serving.two_versions import served_home

MEBIBYTE = 2**20
BODY = json.dumps(GOOD).encode()
RESPONSE_SECONDS = 20.0
"""Maximum time of a valid request meanwhile, on a busy machine."""
MAX_MEMORY = 64 * MEBIBYTE
"""Maximum memory that one bad client may take."""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad_clients")
    with running_service(served_home(tmp_path_factory).variables, folder / "log") as started:
        started.request("POST", "/predict", [GOOD] * 10_000)  # memory of the longest list
        yield started


@pytest.fixture
def service(running):
    """After each test the service responds, has released sockets and memory, and logged no error."""
    sockets, memory = running.sockets(), running.memory()
    yield running
    assert running.request("POST", "/predict", GOOD, seconds=RESPONSE_SECONDS).status == 200
    wait_until(lambda: running.sockets() <= sockets, 30)
    assert running.memory() < memory + MAX_MEMORY
    assert "Traceback" not in running.log.read_text()


def head(length: int | None = len(BODY), *more: str, end: bool = True) -> bytes:
    """Return the head of a POST; without a length, the body is chunked."""
    of_body = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = ["POST /predict HTTP/1.1", "Host: localhost", of_body, *more]
    return "\r\n".join(lines).encode() + (b"\r\n\r\n" if end else b"\r\n")


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def send(connection: socket.socket, content: bytes) -> bool:
    """Send content; returns whether the server accepted all of it."""
    try:
        connection.sendall(content)
    except OSError:
        return False
    return True


def read_to_end(connection: socket.socket, seconds: float = 30) -> bytes:
    """Return the bytes from the server until it closes the connection."""
    connection.settimeout(seconds)
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received


def statuses(received: bytes) -> list[int]:
    """Return the status of each response; a body does not end with a new line."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def peak_over(service, before: int) -> int:
    return service.peak_memory() - before


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_ten_megabytes_is_too_large(service, chunked):
    service.reset_peak()
    before = service.memory()
    with service.connect() as connection:
        if chunked:
            send(connection, head(None))
            for _ in range(160):
                if not send(connection, chunk(b"[" + b" " * 65535)):
                    break
            send(connection, chunk(b""))
        else:
            send(connection, head(10 * MEBIBYTE) + b"[" + b" " * (10 * MEBIBYTE - 1))
        connection.shutdown(socket.SHUT_WR)
        assert statuses(read_to_end(connection)) == [413]
    assert peak_over(service, before) < MAX_MEMORY


def test_an_endless_body_is_cut_off(service):
    """The server does not accept up to 200 MB in chunks."""
    service.reset_peak()
    before = service.memory()
    with service.connect() as connection:
        taken = send(connection, head(None))
        for _ in range(200):
            taken = taken and send(connection, chunk(b" " * MEBIBYTE))
        assert not taken
    assert peak_over(service, before) < MAX_MEMORY


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "99999999999999999999999", "+5", "5, 6"])
def test_an_invalid_content_length_is_rejected(service, length):
    with service.connect() as connection:
        lines = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        send(connection, lines.encode() + BODY)
        connection.shutdown(socket.SHUT_WR)
        received = statuses(read_to_end(connection))
        assert received in ([], [400], [413], [422])


def test_bytes_after_the_content_length_are_not_part_of_the_body(service):
    """They are parsed as the next request, which is invalid: both may be rejected."""
    with service.connect() as connection:
        send(connection, head() + BODY + b"rubbish\r\n\r\n")
        received = statuses(read_to_end(connection))
        assert received in ([200], [200, 400], [400])


def test_an_incomplete_body_does_not_block_other_requests(service):
    with service.connect() as connection:
        send(connection, head(len(BODY) + 10) + BODY)
        assert service.request("POST", "/predict", GOOD, seconds=RESPONSE_SECONDS).status == 200


def test_content_length_with_chunks_is_rejected_or_ignored(service):
    """Ambiguous lengths allow request smuggling past a proxy."""
    with service.connect() as connection:
        both = head(3, "Transfer-Encoding: chunked")
        send(connection, both + chunk(BODY) + chunk(b""))
        connection.shutdown(socket.SHUT_WR)
        received = statuses(read_to_end(connection))
        assert received in ([], [200], [400])


@pytest.mark.parametrize("lines", [1, 5_000, 100_000])
def test_headers_are_limited_in_memory(service, lines):
    """With ten megabytes of headers, in one line or many."""
    service.reset_peak()
    before = service.memory()
    with service.connect() as connection:
        flood = [f"X-{number}: " + "a" * (10 * MEBIBYTE // lines) for number in range(lines)]
        send(connection, head(len(BODY), *flood) + BODY)
        connection.settimeout(30)
        try:
            received = statuses(connection.recv(65536))
        except ConnectionError:
            received = []
        assert received in ([], [400], [431])
    assert peak_over(service, before) < MAX_MEMORY


def test_too_long_headers_get_a_complete_response(service):
    with service.connect() as connection:
        send(connection, head(len(BODY), "X-Long: " + "a" * 70_000) + BODY)
        received = read_to_end(connection)
    start, _, body = received.partition(b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 431 ")
    assert b"content-length: %d" % len(body) in start.lower()
    assert json.loads(body) == {"detail": "headers may have 65536 bytes"}


@pytest.mark.parametrize("pieces", [1, 3, 9])
def test_headers_may_arrive_in_several_packets(service, pieces):
    more = [f"X-{number}: " + "a" * 1000 for number in range(55)]
    whole = head(len(BODY), *more) + BODY
    length = len(whole) // pieces + 1
    with service.connect() as connection:
        for start in range(0, len(whole), length):
            send(connection, whole[start : start + length])
            time.sleep(0.05)
        assert statuses(connection.recv(65536)) == [200]


def test_the_start_of_a_pipelined_request_does_not_count_as_headers(service):
    long = json.dumps([GOOD] * 800).encode()
    with service.connect() as connection:
        send(connection, head(len(long)) + long + b"POST /predict HTTP/1.1\r\nHost: loc")
        connection.settimeout(30)
        received = connection.recv(65536)
        assert statuses(received)[:1] == [200]


def test_an_endless_header_is_cut_off(service):
    service.reset_peak()
    before = service.memory()
    with service.connect() as connection:
        taken = send(connection, head(end=False) + b"X-Long: ")
        for _ in range(200):
            taken = taken and send(connection, b"a" * MEBIBYTE)
        assert not taken
    assert peak_over(service, before) < MAX_MEMORY


@pytest.mark.parametrize("what", ["header", "body"])
def test_a_hundred_slow_clients_delay_no_other(service, what):
    """Each sends a byte from time to time, and never a complete request."""
    slow = [service.connect() for _ in range(100)]
    try:
        for connection in slow:
            send(connection, head(end=False) if what == "header" else head())
        for at in range(5):
            for connection in slow:
                send(
                    connection,
                    b"X-Slow: abc"[at : at + 1] if what == "header" else BODY[at : at + 1],
                )
            assert service.request("POST", "/predict", GOOD, seconds=RESPONSE_SECONDS).status == 200
            time.sleep(0.05)
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize("what", ["header", "body"])
def test_a_client_that_stops_sending_is_disconnected(service, what):
    with service.connect() as connection:
        send(connection, head(end=False) if what == "header" else head() + BODY[:10])
        received = read_to_end(connection, 45)
        assert statuses(received) in ([], [400], [408])


@pytest.mark.parametrize("sent", [b"", b"POST", head(end=False), head(), head() + BODY[:20]])
def test_a_client_may_disconnect_during_a_request(service, sent):
    for _ in range(20):
        with service.connect() as connection:
            send(connection, sent)


@pytest.mark.parametrize("content", [GOOD, [GOOD] * 5_000])
def test_a_client_may_disconnect_before_its_response(service, content):
    body = json.dumps(content).encode()
    for _ in range(10):
        with service.connect() as connection:
            # Reset rather than closed in good order.
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            send(connection, head(len(body)) + body)


def test_a_client_that_does_not_read_its_responses_delays_no_other(service):
    body = json.dumps([GOOD] * 5_000).encode()
    service.reset_peak()
    before = service.memory()
    deaf = [service.connect() for _ in range(5)]
    writers = [
        threading.Thread(target=lambda one=one: [send(one, head(len(body)) + body) for _ in "abcd"])
        for one in deaf
    ]
    for writer in writers:
        writer.start()
    assert service.request("POST", "/predict", GOOD, seconds=RESPONSE_SECONDS).status == 200
    for connection in deaf:
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    for writer in writers:
        writer.join(30)
    assert peak_over(service, before) < 4 * MAX_MEMORY


def test_pipelined_requests_are_answered_in_order(service):
    """The second request is sent before the response to the first."""
    ids = [f"piped-{number}" for number in range(50)]
    with service.connect() as connection:
        for name in ids[:-1]:
            send(connection, head(len(BODY), f"X-Request-ID: {name}") + BODY)
        send(connection, head(len(BODY), f"X-Request-ID: {ids[-1]}", "Connection: close") + BODY)
        received = read_to_end(connection)
    assert statuses(received) == [200] * len(ids)
    at = [received.index(f'"{name}"'.encode()) for name in ids]
    assert at == sorted(at)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00" * 1000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"\r\n" * 1000,
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: \x00\xff\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_invalid_http_is_rejected(service, sent):
    with service.connect() as connection:
        send(connection, sent)
        connection.shutdown(socket.SHUT_WR)
        received = statuses(read_to_end(connection))
        assert all(status in (200, 400) for status in received)


UPGRADES = {
    "Java's HttpClient": (
        "Connection: Upgrade, HTTP2-Settings",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
        "Upgrade: h2c",
    ),
    "a WebSocket": ("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
    "several": ("Connection: upgrade", "Upgrade: foo/2, bar", "uPGRADE: h2c"),
    "TLS": ("Connection: Upgrade", "Upgrade: TLS/1.2"),
}
FIRST, SECOND = {**GOOD, "DOLocationID": 132}, GOOD


@pytest.mark.parametrize("client", UPGRADES)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("pieces", [1, 15])
def test_an_upgrade_is_ignored_and_the_body_read(service, client, chunked, pieces):
    """So are later requests on the connection, with or without an upgrade."""
    requests = [(FIRST, UPGRADES[client]), (SECOND, ()), (FIRST, UPGRADES[client])]
    expected = [service.request("POST", "/predict", body).content for body, _ in requests]
    sent = b""
    for body, more in requests:
        content = json.dumps(body).encode()
        of_body = chunk(content[:9]) + chunk(content[9:]) + chunk(b"") if chunked else content
        sent += head(None if chunked else len(content), *more) + of_body
    length = len(sent) // pieces + 1
    with service.connect() as connection:
        for start in range(0, len(sent), length):
            send(connection, sent[start : start + length])
            time.sleep(0.01)
        connection.shutdown(socket.SHUT_WR)
        received = read_to_end(connection)
    assert statuses(received) == [200, 200, 200], received
    minutes = [float(found) for found in re.findall(rb'"predicted_minutes":([0-9.]+)', received)]
    assert minutes == [response["predicted_minutes"] for response in expected]


def test_a_body_after_an_upgrade_is_not_parsed_as_a_request(service):
    """Otherwise a request could be smuggled past a proxy."""
    inner = b"GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with service.connect() as connection:
        send(connection, head(len(inner), *UPGRADES["Java's HttpClient"]) + inner)
        connection.shutdown(socket.SHUT_WR)
        assert statuses(read_to_end(connection)) == [422]


def test_limits_apply_to_requests_with_an_upgrade(service):
    offer = UPGRADES["Java's HttpClient"]
    for more, length, status in (
        (("X: " + "a" * 70_000,), len(BODY), 431),
        ((), 99 * MEBIBYTE, 413),
    ):
        with service.connect() as connection:
            send(connection, head(length, *offer, *more) + BODY)
            assert statuses(read_to_end(connection)) == [status]


def test_pipelined_upgrades_without_bodies_are_answered(service):
    lines = ("GET /health HTTP/1.1", "Host: localhost", *UPGRADES["a WebSocket"], "", "")
    with service.connect() as connection:
        send(connection, "\r\n".join(lines).encode() * 2_000)
        connection.shutdown(socket.SHUT_WR)
        assert statuses(read_to_end(connection)) == [200] * 2_000


@pytest.mark.parametrize("method", ["CONNECT localhost:80", "CONNECT /predict"])
def test_connect_is_rejected(service, method):
    with service.connect() as connection:
        send(connection, f"{method} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() + BODY)
        assert statuses(read_to_end(connection)) == [400]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("content", [GOOD, [GOOD] * 5_000])
def test_a_half_closed_connection_gets_its_responses(service, content, count):
    body = json.dumps(content).encode()
    with service.connect() as connection:
        send(connection, (head(len(body)) + body) * count)
        connection.shutdown(socket.SHUT_WR)
        received = read_to_end(connection)
    assert statuses(received) == [200] * count
    assert received.endswith(b"}")


@pytest.mark.parametrize("rest", [head(end=False), head() + BODY[:20]])
def test_complete_requests_before_a_partial_one_are_answered(service, rest):
    long = json.dumps([GOOD] * 5_000).encode()
    with service.connect() as connection:
        send(connection, head(len(long)) + long + head() + BODY + rest)
        connection.shutdown(socket.SHUT_WR)
        assert statuses(read_to_end(connection)) == [200, 200]


def test_an_invalid_request_id_is_replaced(service):
    for name in ("a" * 65, "a b", "ä", "<script>", ""):
        headers = {"X-Request-ID": name.encode().decode("latin-1")}
        response = service.request("POST", "/predict", GOOD, headers)
        assert response.content["request_id"] == response.headers["x-request-id"] != name
    response = service.request("POST", "/predict", GOOD, {"X-Request-ID": "my-own.id_1"})
    assert response.content["request_id"] == response.headers["x-request-id"] == "my-own.id_1"
