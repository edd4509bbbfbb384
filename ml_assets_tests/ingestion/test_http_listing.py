"""Which months a web server has published, also when it misbehaves."""

import threading
import time

import pytest

from ml_assets.ingestion import SourceUnavailable, published_filename
from ml_assets.ingestion.http import TLC_URL, HttpSource
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


def test_lists_what_is_there_in_the_order_asked(server: TripServer, source: HttpSource) -> None:
    server.files[published_filename("green", MARCH)] = ServedFile(b"abc", etag='"third"')
    listed = source.published([MARCH, FEBRUARY, JANUARY, MARCH])
    assert list(listed) == [MARCH, JANUARY]
    assert listed[MARCH].version == "third"
    assert listed[MARCH].size_bytes == 3
    assert listed[JANUARY].location == f"{server.url}{FILE}"
    assert len(server.asked) == 3


def test_no_months_need_no_request(server: TripServer, source: HttpSource) -> None:
    assert source.published([]) == {}
    assert server.asked == []


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_month_that_is_not_there_is_no_error(
    server: TripServer, source: HttpSource, code: int
) -> None:
    server.every = status(code)
    assert source.published([JANUARY, FEBRUARY]) == {}
    assert len(server.asked) == 2


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(
    server: TripServer, source: HttpSource, code: int
) -> None:
    server.misbehave["HEAD", FILE] = [status(code), status(code)]
    assert list(source.published([JANUARY])) == [JANUARY]
    assert len(server.asked) == 3


def test_a_server_that_asks_to_wait_is_waited_for_up_to_the_limit(
    server: TripServer, source: HttpSource
) -> None:
    server.misbehave["HEAD", FILE] = [status(503, Retry_After="3600")]
    started = time.monotonic()
    assert list(source.published([JANUARY])) == [JANUARY]
    assert QUICK.longest_wait_seconds <= time.monotonic() - started < 10


def test_a_server_that_stays_down_is_told_with_what_was_tried(
    server: TripServer, source: HttpSource
) -> None:
    server.every = status(503)
    with pytest.raises(SourceUnavailable) as told:
        source.published([JANUARY])
    for part in (f"{server.url}{FILE}", "4 tries", "HTTP 503", "ML_ASSETS_TRIPS"):
        assert part in str(told.value)


def test_one_month_that_cannot_be_asked_for_ends_the_wait_for_all(server: TripServer) -> None:
    server.every = status(500)
    source = HttpSource(server.url, "green", patience=QUICK, connections=4)
    with pytest.raises(SourceUnavailable):
        source.published(months_between(Month(2015, 1), Month(2024, 12)))
    assert len(server.asked) <= 4 * QUICK.attempts


def test_nobody_listening(server: TripServer) -> None:
    source = HttpSource("http://127.0.0.1:1/trip-data", "green", patience=QUICK)
    with pytest.raises(SourceUnavailable, match=r"4 tries.*Connection refused"):
        source.published([JANUARY])


def test_a_silent_server_ends_at_the_time_out(server: TripServer, source: HttpSource) -> None:
    server.always["HEAD", FILE] = silence()
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match="timed out"):
        source.published([JANUARY])
    assert time.monotonic() - started < 8  # the server would be silent for 30


def test_a_refusal_that_no_retry_mends_is_told_at_once(
    server: TripServer, source: HttpSource
) -> None:
    server.every = status(401)
    with pytest.raises(SourceUnavailable, match="HTTP 401"):
        source.published([JANUARY])
    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [405, 501])
def test_where_head_is_refused_the_files_are_requested_and_left_unread(
    server: TripServer, source: HttpSource, code: int
) -> None:
    server.files[FILE].content = bytes(50_000_000)
    expected = source.published([JANUARY, FEBRUARY])
    for month in (JANUARY, FEBRUARY):
        server.always["HEAD", published_filename("green", month)] = status(code)
    assert source.published([JANUARY, FEBRUARY]) == expected
    assert server.sent_bytes < 20_000_000


def test_an_empty_file_is_listed_also_where_head_is_refused(
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
    server.files[FILE].etag = 'W/"first"'  # what a proxy that compresses makes of it
    assert source.published([JANUARY]) == before


def test_many_months_are_asked_for_side_by_side_but_not_all_at_once(server: TripServer) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def counted(handler: object, file: ServedFile | None) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        serve(handler, file)  # type: ignore[arg-type]

    server.every = counted
    source = HttpSource(server.url, "green", patience=QUICK, connections=4)
    assert list(source.published(months_between(Month(2022, 1), Month(2024, 12)))) == [JANUARY]
    assert 2 <= most <= 4


def test_credentials_are_used_and_never_shown(server: TripServer) -> None:
    address = server.url.replace("http://", "http://user:hidden@").rstrip("/")
    source = HttpSource(f"{address}?signature=hidden", "green", patience=QUICK)
    listed = source.published([JANUARY])[JANUARY]
    assert server.asked[0].path == f"/trip-data/{FILE}?signature=hidden"
    assert server.asked[0].headers["Authorization"].startswith("Basic ")
    server.every = status(500)
    with pytest.raises(SourceUnavailable) as told:
        source.published([JANUARY])
    for shown in (source.name, repr(listed), str(told.value)):
        assert "hidden" not in shown


def test_a_page_for_every_address_is_left_to_the_fetch_to_tell(
    server: TripServer, source: HttpSource
) -> None:
    server.every = web_page()
    assert list(source.published([FEBRUARY])) == [FEBRUARY]


def test_the_tlc_is_asked_at_its_own_address_and_through_the_proxy_of_the_environment(
    server: TripServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    with pytest.raises(SourceUnavailable, match="403 Forbidden"):
        HttpSource(TLC_URL, "green", "tlc", QUICK).published([JANUARY])
    asked = {(asked.method, asked.path) for asked in server.asked}
    assert asked == {("CONNECT", "d37ci6vzurychx.cloudfront.net:443")}
