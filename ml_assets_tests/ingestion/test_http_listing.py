"""Lookup of the months published on a web server, and its failures."""

import threading
import time

import pytest

from ml_assets.ingestion.http import TLC_URL, HttpSource
from ml_assets.ingestion.source import SourceUnavailable, published_filename
from ml_assets.trips.month import Month, months_between
from ml_assets_tests.ingestion.conftest import JANUARY, QUICK
from ml_assets_tests.ingestion.trip_server import (
    ServedFile,
    TripServer,
    serve,
    silence,
    status,
    web_page,
)

FEBRUARY, MARCH = Month(2023, 2), Month(2023, 3)
FILE = published_filename("green", JANUARY)


def test_published_months_are_listed_in_the_requested_order(
    server: TripServer, source: HttpSource
) -> None:
    server.files[published_filename("green", MARCH)] = ServedFile(b"abc", etag='"third"')
    listed = source.published([MARCH, FEBRUARY, JANUARY, MARCH])
    assert list(listed) == [MARCH, JANUARY]
    assert listed[MARCH].version == "third"
    assert listed[MARCH].size_bytes == 3
    assert listed[JANUARY].location == f"{server.url}{FILE}"
    assert len(server.received) == 3


def test_no_months_make_no_request(server: TripServer, source: HttpSource) -> None:
    assert source.published([]) == {}
    assert server.received == []


@pytest.mark.parametrize("code", [403, 404, 410])
def test_an_unpublished_month_is_no_error(
    server: TripServer, source: HttpSource, code: int
) -> None:
    server.every = status(code)
    assert source.published([JANUARY, FEBRUARY]) == {}
    assert len(server.received) == 2


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_transient_failure_is_retried(server: TripServer, source: HttpSource, code: int) -> None:
    server.misbehave["HEAD", FILE] = [status(code), status(code)]
    assert list(source.published([JANUARY])) == [JANUARY]
    assert len(server.received) == 3


@pytest.mark.parametrize(
    "header", ["soon", "Mon, 01 Jan 99999 00:00:00 GMT", "9" * 5000, "-1"], ids=lambda h: h[:12]
)
def test_an_unusable_retry_after_is_ignored(
    server: TripServer, source: HttpSource, header: str
) -> None:
    server.misbehave["HEAD", FILE] = [status(503, Retry_After=header)]
    assert list(source.published([JANUARY])) == [JANUARY]


def test_retry_after_is_obeyed_up_to_the_limit(server: TripServer, source: HttpSource) -> None:
    server.misbehave["HEAD", FILE] = [status(503, Retry_After="3600")]
    started = time.monotonic()
    assert list(source.published([JANUARY])) == [JANUARY]
    assert QUICK.longest_wait_seconds <= time.monotonic() - started < 10


def test_the_error_for_a_server_that_is_down_names_address_attempts_and_status(
    server: TripServer, source: HttpSource
) -> None:
    server.every = status(503)
    with pytest.raises(SourceUnavailable) as error:
        source.published([JANUARY])
    for part in (f"{server.url}{FILE}", "4 attempts", "HTTP 503", "ML_ASSETS_TRIPS"):
        assert part in str(error.value)


def test_one_failed_lookup_cancels_the_others(server: TripServer) -> None:
    server.every = status(500)
    source = HttpSource(server.url, "green", retry_policy=QUICK, connections=4)
    with pytest.raises(SourceUnavailable):
        source.published(months_between(Month(2015, 1), Month(2024, 12)))
    assert len(server.received) <= 4 * QUICK.attempts


def test_a_refused_connection_is_an_error(server: TripServer) -> None:
    source = HttpSource("http://127.0.0.1:1/trip-data", "green", retry_policy=QUICK)
    with pytest.raises(SourceUnavailable, match=r"4 attempts.*Connection refused"):
        source.published([JANUARY])


def test_a_server_that_does_not_answer_times_out(server: TripServer, source: HttpSource) -> None:
    server.always["HEAD", FILE] = silence()
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match="timed out"):
        source.published([JANUARY])
    assert time.monotonic() - started < 8  # the server waits 30 seconds


def test_a_permanent_failure_is_not_retried(server: TripServer, source: HttpSource) -> None:
    server.every = status(401)
    with pytest.raises(SourceUnavailable, match="HTTP 401"):
        source.published([JANUARY])
    assert len(server.received) == 1


@pytest.mark.parametrize("code", [405, 501])
def test_without_head_the_file_is_requested_and_not_read(
    server: TripServer, source: HttpSource, code: int
) -> None:
    server.files[FILE].content = bytes(50_000_000)
    expected = source.published([JANUARY, FEBRUARY])
    for month in (JANUARY, FEBRUARY):
        server.always["HEAD", published_filename("green", month)] = status(code)
    assert source.published([JANUARY, FEBRUARY]) == expected
    assert server.sent_bytes < 20_000_000


def test_an_empty_file_is_listed_with_and_without_head(
    server: TripServer, source: HttpSource
) -> None:
    server.files[FILE].content = b""
    assert source.published([JANUARY])[JANUARY].size_bytes == 0
    server.always["HEAD", FILE] = status(405)
    assert source.published([JANUARY])[JANUARY].size_bytes == 0


@pytest.mark.parametrize("etag", [True, False])
def test_a_republished_month_has_another_version(
    server: TripServer, source: HttpSource, etag: bool
) -> None:
    content = server.files[FILE].content
    server.files[FILE] = ServedFile(content, etag='"first"' if etag else None)
    before = source.published([JANUARY])[JANUARY].version
    assert source.published([JANUARY])[JANUARY].version == before
    again = ServedFile(content, etag='"second"' if etag else None, modified=1_700_000_060.0)
    server.files[FILE] = again
    assert source.published([JANUARY])[JANUARY].version != before


def test_a_weak_etag_is_the_same_version(server: TripServer, source: HttpSource) -> None:
    before = source.published([JANUARY])
    server.files[FILE].etag = 'W/"first"'  # as a compressing proxy sends it
    assert source.published([JANUARY]) == before


def test_lookups_run_concurrently_up_to_the_number_of_connections(server: TripServer) -> None:
    lock, active, peak = threading.Lock(), 0, 0

    def counted(handler: object, file: ServedFile | None) -> None:
        nonlocal active, peak
        with lock:
            active += 1
            peak = max(peak, active)
        time.sleep(0.02)
        with lock:
            active -= 1
        serve(handler, file)  # type: ignore[arg-type]

    server.every = counted
    source = HttpSource(server.url, "green", retry_policy=QUICK, connections=4)
    assert list(source.published(months_between(Month(2022, 1), Month(2024, 12)))) == [JANUARY]
    assert 2 <= peak <= 4


def test_credentials_are_sent_and_never_shown(server: TripServer) -> None:
    address = server.url.replace("http://", "http://user:hidden@").rstrip("/")
    source = HttpSource(f"{address}?signature=hidden", "green", retry_policy=QUICK)
    listed = source.published([JANUARY])[JANUARY]
    assert server.received[0].path == f"/trip-data/{FILE}?signature=hidden"
    assert server.received[0].headers["Authorization"].startswith("Basic ")
    server.every = status(500)
    with pytest.raises(SourceUnavailable) as error:
        source.published([JANUARY])
    for shown in (source.name, repr(listed), str(error.value)):
        assert "hidden" not in shown


def test_a_web_page_is_listed_and_rejected_only_by_the_download(
    server: TripServer, source: HttpSource
) -> None:
    server.every = web_page()
    assert list(source.published([FEBRUARY])) == [FEBRUARY]


def test_requests_to_the_tlc_use_the_proxy_of_the_environment(
    server: TripServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    with pytest.raises(SourceUnavailable, match="403 Forbidden"):
        HttpSource(TLC_URL, "green", "tlc", QUICK).published([JANUARY])
    received = {(request.method, request.path) for request in server.received}
    assert received == {("CONNECT", "d37ci6vzurychx.cloudfront.net:443")}
