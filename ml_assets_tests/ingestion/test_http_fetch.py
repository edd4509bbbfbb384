"""Downloads over HTTP are complete and verified, or the stored version stays."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml_assets.ingestion.http import HttpSource
from ml_assets.ingestion.source import (
    ChangedDuringDownload,
    InvalidFile,
    PublishedMonth,
    SourceUnavailable,
    published_filename,
)
from ml_assets_tests.ingestion.conftest import JANUARY, published_file
from ml_assets_tests.ingestion.trip_server import (
    Behaviour,
    ServedFile,
    TripServer,
    cut_after,
    silence,
    slowly,
    status,
    web_page,
)

FILE = published_filename("green", JANUARY)
Kept = Callable[[], None]


def test_a_month_is_downloaded_byte_for_byte_with_progress(
    source: HttpSource, listed: PublishedMonth, destination: Path, january: bytes
) -> None:
    progress: list[tuple[int, int | None]] = []
    source.fetch(listed, destination, lambda done, total: progress.append((done, total)))
    assert destination.read_bytes() == january
    assert list(destination.parent.iterdir()) == [destination]
    assert progress == sorted(progress)
    assert progress[-1] == (len(january), len(january))


def test_the_target_folder_is_created(
    source: HttpSource, listed: PublishedMonth, tmp_path: Path
) -> None:
    source.fetch(listed, tmp_path / "new" / "folder" / "month.parquet")
    assert (tmp_path / "new" / "folder" / "month.parquet").is_file()


def test_the_stored_version_stays_until_the_new_one_is_complete(
    source: HttpSource, listed: PublishedMonth, destination: Path
) -> None:
    seen: set[bytes] = set()
    source.fetch(listed, destination, lambda *_: seen.add(destination.read_bytes()))
    assert seen == {b"the last good version"}


@pytest.mark.parametrize("failure", [status(500), status(429), silence(), cut_after(0)])
def test_a_transient_failure_is_retried(
    server: TripServer,
    source: HttpSource,
    listed: PublishedMonth,
    destination: Path,
    january: bytes,
    failure: Behaviour,
) -> None:
    server.misbehave["GET", FILE] = [failure]
    source.fetch(listed, destination)
    assert destination.read_bytes() == january


def test_an_interrupted_download_starts_again(
    server: TripServer, source: HttpSource, destination: Path, january: bytes
) -> None:
    server.misbehave["GET", FILE] = [cut_after(50_000), cut_after(120_000)]
    listed = source.published([JANUARY])[JANUARY]
    source.fetch(listed, destination)
    assert destination.read_bytes() == january
    assert all("Range" not in request.headers for request in server.requests("GET"))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_that_always_breaks_fails_after_all_attempts(
    server: TripServer,
    source: HttpSource,
    listed: PublishedMonth,
    destination: Path,
    assert_kept: Kept,
    chunked: bool,
) -> None:
    server.always["GET", FILE] = cut_after(1_000, chunked)
    with pytest.raises(SourceUnavailable, match=r"4 attempts.*IncompleteRead"):
        source.fetch(listed, destination)
    assert_kept()


def test_a_month_republished_after_the_listing_is_an_error(
    server: TripServer,
    source: HttpSource,
    listed: PublishedMonth,
    destination: Path,
    assert_kept: Kept,
) -> None:
    server.files[FILE].etag = '"second"'
    with pytest.raises(ChangedDuringDownload, match="list the months again"):
        source.fetch(listed, destination)
    assert_kept()


def test_a_month_republished_between_two_attempts_is_an_error(
    server: TripServer,
    source: HttpSource,
    listed: PublishedMonth,
    destination: Path,
    assert_kept: Kept,
) -> None:
    def cut_then_republish(handler: object, file: ServedFile | None) -> None:
        cut_after(50_000)(handler, file)  # type: ignore[arg-type]
        server.files[FILE] = ServedFile(published_file(rows=6_000), etag='"second"')

    server.misbehave["GET", FILE] = [cut_then_republish]
    with pytest.raises(ChangedDuringDownload):
        source.fetch(listed, destination)
    assert_kept()


@pytest.mark.parametrize("code", [403, 404])
def test_a_month_withdrawn_after_the_listing_is_an_error(
    server: TripServer,
    source: HttpSource,
    listed: PublishedMonth,
    destination: Path,
    assert_kept: Kept,
    code: int,
) -> None:
    server.always["GET", FILE] = status(code)
    with pytest.raises(SourceUnavailable, match="no longer there"):
        source.fetch(listed, destination)
    assert len(server.requests("GET")) == 1
    assert_kept()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (published_file()[:70_000], "not a readable Parquet file"),
        (b"", "not a readable Parquet file"),
        (b"VendorID,lpep_pickup_datetime\n1,2023-01-01", "not a readable Parquet file"),
        (published_file(taxi="yellow"), "column lpep_pickup_datetime is missing"),
        (b"<html><body>Service notice</body></html>", "web page"),
        (b'\xef\xbb\xbf <?xml version="1.0"?><Error/>', "web page"),
    ],
    ids=["truncated", "empty", "csv", "wrong taxi", "html", "xml"],
)
def test_an_invalid_file_is_named_in_the_error(
    server: TripServer,
    source: HttpSource,
    destination: Path,
    assert_kept: Kept,
    content: bytes,
    named: str,
) -> None:
    server.files[FILE] = ServedFile(content)
    with pytest.raises(InvalidFile) as error:
        source.fetch(source.published([JANUARY])[JANUARY], destination)
    assert named in str(error.value)
    assert f"{server.url}{FILE}" in str(error.value)
    assert ".tmp" not in str(error.value)
    assert len(server.requests("GET")) == 1
    assert_kept()


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_with_status_200_is_an_error(
    server: TripServer,
    source: HttpSource,
    destination: Path,
    assert_kept: Kept,
    content_type: str,
) -> None:
    server.every = web_page(content_type)
    with pytest.raises(InvalidFile, match="a web page"):
        source.fetch(source.published([JANUARY])[JANUARY], destination)
    assert_kept()


def test_an_unrequested_compression_is_an_error(
    server: TripServer,
    source: HttpSource,
    listed: PublishedMonth,
    destination: Path,
    assert_kept: Kept,
) -> None:
    server.always["GET", FILE] = status(200, Content_Encoding="gzip", ETag='"first"')
    with pytest.raises(InvalidFile, match="Content-Encoding gzip"):
        source.fetch(listed, destination)
    assert server.requests("GET")[0].headers["Accept-Encoding"] == "identity"
    assert_kept()


def test_concurrent_downloads_of_the_same_month_succeed(
    server: TripServer,
    source: HttpSource,
    listed: PublishedMonth,
    destination: Path,
    january: bytes,
) -> None:
    server.every = slowly(0.05)
    with ThreadPoolExecutor(4) as pool:
        for fetch in [pool.submit(source.fetch, listed, destination) for _ in range(4)]:
            fetch.result()
    assert destination.read_bytes() == january
    assert list(destination.parent.iterdir()) == [destination]


def test_a_file_without_etag_and_modification_time_is_downloaded(
    server: TripServer, source: HttpSource, destination: Path, january: bytes
) -> None:
    server.files[FILE] = ServedFile(january, etag=None, modified=None)
    source.fetch(source.published([JANUARY])[JANUARY], destination)
    assert destination.read_bytes() == january
