"""Clients that send too much, too slowly, not to the end, or what the service does not support.

Others are answered meanwhile, and nothing is left.
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
ANSWERED_SECONDS = 20.0
"""Of a good request meanwhile, on a busy machine."""
MORE_MEMORY = 64 * MEBIBYTE
"""At the worst moment, for one bad client."""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad_clients")
    with running_service(served_home(folder / "home").variables, folder / "log") as started:
        started.ask("POST", "/predict", [GOOD] * 10_000)  # what the longest list leaves behind
        yield started


@pytest.fixture
def service(running):
    """After the test it answers, its sockets and its memory are back, and it told of no error."""
    sockets, memory = running.sockets(), running.memory()
    yield running
    assert running.ask("POST", "/predict", GOOD, seconds=ANSWERED_SECONDS).status == 200
    wait_until(lambda: running.sockets() <= sockets, 30)
    assert running.memory() < memory + MORE_MEMORY
    assert "Traceback" not in running.log.read_text()


def head(length: int | None = len(BODY), *more: str, end: bool = True) -> bytes:
    """The head of a POST; with no length, the body is sent in chunks."""
    of_body = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = ["POST /predict HTTP/1.1", "Host: localhost", of_body, *more]
    return "\r\n".join(lines).encode() + (b"\r\n\r\n" if end else b"\r\n")


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def send(connection: socket.socket, content: bytes) -> bool:
    """Whether the server took it all."""
    try:
        connection.sendall(content)
    except OSError:
        return False
    return True


def read_to_end(connection: socket.socket, seconds: float = 30) -> bytes:
    """What the server says until it ends the connection."""
    connection.settimeout(seconds)
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received


def answers(received: bytes) -> list[int]:
    """The status of each answer; a body ends without a new line."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def peak_over(service, before: int) -> int:
    return service.peak_memory() - before


@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_are_too_much(service, chunked):
    service.forget_peak()
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
        assert answers(read_to_end(connection)) == [413]
    assert peak_over(service, before) < MORE_MEMORY


def test_a_body_without_end_is_broken_off(service):
    """Up to 200 MB are offered in chunks: the server must not take and keep them."""
    service.forget_peak()
    before = service.memory()
    with service.connect() as connection:
        taken = send(connection, head(None))
        for _ in range(200):
            taken = taken and send(connection, chunk(b" " * MEBIBYTE))
        assert not taken
    assert peak_over(service, before) < MORE_MEMORY


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "99999999999999999999999", "+5", "5, 6"])
def test_a_length_that_is_none_is_refused(service, length):
    with service.connect() as connection:
        lines = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        send(connection, lines.encode() + BODY)
        connection.shutdown(socket.SHUT_WR)
        received = answers(read_to_end(connection))
        assert received in ([], [400], [413], [422])


def test_more_bytes_than_announced_are_no_part_of_the_body(service):
    """What follows the body is read as the next request, which it is none: both may be refused."""
    with service.connect() as connection:
        send(connection, head() + BODY + b"rubbish\r\n\r\n")
        received = answers(read_to_end(connection))
        assert received in ([200], [200, 400], [400])


def test_fewer_bytes_than_announced_are_waited_for_while_others_are_answered(service):
    with service.connect() as connection:
        send(connection, head(len(BODY) + 10) + BODY)
        assert service.ask("POST", "/predict", GOOD, seconds=ANSWERED_SECONDS).status == 200


def test_length_and_chunks_at_once_are_refused_or_read_as_chunks(service):
    """Two readings of one request are how requests are smuggled past a proxy."""
    with service.connect() as connection:
        both = head(3, "Transfer-Encoding: chunked")
        send(connection, both + chunk(BODY) + chunk(b""))
        connection.shutdown(socket.SHUT_WR)
        received = answers(read_to_end(connection))
        assert received in ([], [200], [400])


@pytest.mark.parametrize("lines", [1, 5_000, 100_000])
def test_a_flood_of_headers_is_bounded(service, lines):
    """Ten megabytes of them, in one line or in many."""
    service.forget_peak()
    before = service.memory()
    with service.connect() as connection:
        flood = [f"X-{number}: " + "a" * (10 * MEBIBYTE // lines) for number in range(lines)]
        send(connection, head(len(BODY), *flood) + BODY)
        connection.settimeout(30)
        try:
            received = answers(connection.recv(65536))
        except ConnectionError:
            received = []
        assert received in ([], [400], [431])
    assert peak_over(service, before) < MORE_MEMORY


def test_a_flood_s_answer_is_whole(service):
    with service.connect() as connection:
        send(connection, head(len(BODY), "X-Long: " + "a" * 70_000) + BODY)
        received = read_to_end(connection)
    start, _, body = received.partition(b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 431 ")
    assert b"content-length: %d" % len(body) in start.lower()
    assert json.loads(body) == {"detail": "headers may have 65536 bytes"}


@pytest.mark.parametrize("pieces", [1, 3, 9])
def test_the_same_headers_are_within_bounds_in_however_many_pieces(service, pieces):
    more = [f"X-{number}: " + "a" * 1000 for number in range(55)]
    whole = head(len(BODY), *more) + BODY
    length = len(whole) // pieces + 1
    with service.connect() as connection:
        for start in range(0, len(whole), length):
            send(connection, whole[start : start + length])
            time.sleep(0.05)
        assert answers(connection.recv(65536)) == [200]


def test_a_long_body_with_the_begin_of_the_next_request_behind_it_is_answered(service):
    long = json.dumps([GOOD] * 800).encode()
    with service.connect() as connection:
        send(connection, head(len(long)) + long + b"POST /predict HTTP/1.1\r\nHost: loc")
        connection.settimeout(30)
        received = connection.recv(65536)
        assert answers(received)[:1] == [200]


def test_a_header_without_end_is_broken_off(service):
    service.forget_peak()
    before = service.memory()
    with service.connect() as connection:
        taken = send(connection, head(end=False) + b"X-Long: ")
        for _ in range(200):
            taken = taken and send(connection, b"a" * MEBIBYTE)
        assert not taken
    assert peak_over(service, before) < MORE_MEMORY


@pytest.mark.parametrize("what", ["header", "body"])
def test_a_hundred_slow_clients_delay_no_other(service, what):
    """Each sends a byte now and then, and never all."""
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
            assert service.ask("POST", "/predict", GOOD, seconds=ANSWERED_SECONDS).status == 200
            time.sleep(0.05)
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize("what", ["header", "body"])
def test_a_client_that_never_ends_is_hung_up_on(service, what):
    with service.connect() as connection:
        send(connection, head(end=False) if what == "header" else head() + BODY[:10])
        received = read_to_end(connection, 45)
        assert answers(received) in ([], [400], [408])


@pytest.mark.parametrize("sent", [b"", b"POST", head(end=False), head(), head() + BODY[:20]])
def test_a_client_may_hang_up_in_mid_request(service, sent):
    for _ in range(20):
        with service.connect() as connection:
            send(connection, sent)


@pytest.mark.parametrize("content", [GOOD, [GOOD] * 5_000])
def test_a_client_may_hang_up_before_its_answer(service, content):
    body = json.dumps(content).encode()
    for _ in range(10):
        with service.connect() as connection:
            # Reset rather than closed in good order.
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            send(connection, head(len(body)) + body)


def test_a_client_that_does_not_read_its_responses_delays_no_other(service):
    body = json.dumps([GOOD] * 5_000).encode()
    service.forget_peak()
    before = service.memory()
    deaf = [service.connect() for _ in range(5)]
    writers = [
        threading.Thread(target=lambda one=one: [send(one, head(len(body)) + body) for _ in "abcd"])
        for one in deaf
    ]
    for writer in writers:
        writer.start()
    assert service.ask("POST", "/predict", GOOD, seconds=ANSWERED_SECONDS).status == 200
    for connection in deaf:
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    for writer in writers:
        writer.join(30)
    assert peak_over(service, before) < 4 * MORE_MEMORY


def test_requests_sent_in_one_go_are_answered_in_order(service):
    """HTTP pipelining: the second is on its way before the first is answered."""
    ids = [f"piped-{number}" for number in range(50)]
    with service.connect() as connection:
        for name in ids[:-1]:
            send(connection, head(len(BODY), f"X-Request-ID: {name}") + BODY)
        send(connection, head(len(BODY), f"X-Request-ID: {ids[-1]}", "Connection: close") + BODY)
        received = read_to_end(connection)
    assert answers(received) == [200] * len(ids)
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
def test_what_is_no_http_is_refused(service, sent):
    with service.connect() as connection:
        send(connection, sent)
        connection.shutdown(socket.SHUT_WR)
        received = answers(read_to_end(connection))
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
    """And what follows on the connection, which sends the offer again or does not."""
    requests = [(FIRST, UPGRADES[client]), (SECOND, ()), (FIRST, UPGRADES[client])]
    expected = [service.ask("POST", "/predict", body).content for body, _ in requests]
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
    assert answers(received) == [200, 200, 200], received
    minutes = [float(found) for found in re.findall(rb'"predicted_minutes":([0-9.]+)', received)]
    assert minutes == [answer["predicted_minutes"] for answer in expected]


def test_a_body_behind_an_upgrade_is_no_request_of_its_own(service):
    """Read as one it would pass by whatever stands before the service and sees the body."""
    inner = b"GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with service.connect() as connection:
        send(connection, head(len(inner), *UPGRADES["Java's HttpClient"]) + inner)
        connection.shutdown(socket.SHUT_WR)
        assert answers(read_to_end(connection)) == [422]


def test_an_upgrade_keeps_the_bounds_of_headers_and_bodies(service):
    offer = UPGRADES["Java's HttpClient"]
    for more, length, status in (
        (("X: " + "a" * 70_000,), len(BODY), 431),
        ((), 99 * MEBIBYTE, 413),
    ):
        with service.connect() as connection:
            send(connection, head(length, *offer, *more) + BODY)
            assert answers(read_to_end(connection)) == [status]


def test_upgrades_without_bodies_in_one_piece_are_answered_one_by_one(service):
    lines = ("GET /health HTTP/1.1", "Host: localhost", *UPGRADES["a WebSocket"], "", "")
    with service.connect() as connection:
        send(connection, "\r\n".join(lines).encode() * 2_000)
        connection.shutdown(socket.SHUT_WR)
        assert answers(read_to_end(connection)) == [200] * 2_000


@pytest.mark.parametrize("method", ["CONNECT localhost:80", "CONNECT /predict"])
def test_a_tunnel_is_refused(service, method):
    with service.connect() as connection:
        send(connection, f"{method} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() + BODY)
        assert answers(read_to_end(connection)) == [400]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("content", [GOOD, [GOOD] * 5_000])
def test_a_client_that_has_closed_its_sending_side_gets_its_answers(service, content, count):
    body = json.dumps(content).encode()
    with service.connect() as connection:
        send(connection, (head(len(body)) + body) * count)
        connection.shutdown(socket.SHUT_WR)
        received = read_to_end(connection)
    assert answers(received) == [200] * count
    assert received.endswith(b"}")


@pytest.mark.parametrize("rest", [head(end=False), head() + BODY[:20]])
def test_half_a_request_takes_nothing_from_the_whole_ones_before_it(service, rest):
    long = json.dumps([GOOD] * 5_000).encode()
    with service.connect() as connection:
        send(connection, head(len(long)) + long + head() + BODY + rest)
        connection.shutdown(socket.SHUT_WR)
        assert answers(read_to_end(connection)) == [200, 200]


def test_a_request_id_that_is_no_id_is_not_passed_on(service):
    for name in ("a" * 65, "a b", "ä", "<script>", ""):
        headers = {"X-Request-ID": name.encode().decode("latin-1")}
        answer = service.ask("POST", "/predict", GOOD, headers)
        assert answer.content["request_id"] == answer.headers["x-request-id"] != name
    answer = service.ask("POST", "/predict", GOOD, {"X-Request-ID": "my-own.id_1"})
    assert answer.content["request_id"] == answer.headers["x-request-id"] == "my-own.id_1"
