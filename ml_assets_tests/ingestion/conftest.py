"""Small published files, a misbehaving server, and timeouts of tenths of a second."""

import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_assets.ingestion.http import HttpRetryPolicy, HttpSource
from ml_assets.ingestion.source import PublishedMonth, published_filename
from ml_assets.trips.month import Month
from ml_assets_tests.ingestion.trip_server import ServedFile, TripServer

JANUARY = Month(2023, 1)
QUICK = HttpRetryPolicy(
    attempts=4,
    first_wait_seconds=0.01,
    longest_wait_seconds=0.05,
    connect_seconds=2.0,
    stall_seconds=0.3,
    minimum_bytes_per_second=1_000.0,
    deadline_seconds=10.0,
)


def published_file(month: Month = JANUARY, taxi: str = "green", rows: int = 5_000) -> bytes:
    """A month in the published schema, of random trips (some 130 kB)."""
    random = np.random.default_rng(month.year * 12 + month.number)
    start = [month.start + timedelta(minutes=int(m)) for m in random.integers(0, 40_000, rows)]
    length = [timedelta(seconds=int(seconds)) for seconds in random.integers(60, 3600, rows)]
    end = [at + lasting for at, lasting in zip(start, length, strict=True)]
    prefix = {"green": "lpep", "yellow": "tpep"}[taxi]
    table = pa.table(
        {
            f"{prefix}_pickup_datetime": pa.array(start, pa.timestamp("us")),
            f"{prefix}_dropoff_datetime": pa.array(end, pa.timestamp("us")),
            "PULocationID": random.integers(1, 264, rows),
            "DOLocationID": random.integers(1, 264, rows),
            "trip_distance": random.gamma(2.0, 1.5, rows),
            "passenger_count": random.integers(1, 6, rows).astype(float),
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


@pytest.fixture(scope="session")
def january() -> bytes:
    """The published file of January 2023."""
    return published_file()


@pytest.fixture
def server(january: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[TripServer]:
    """A server that has published January 2023, accessed without the machine's proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    trips = TripServer(files={published_filename("green", JANUARY): ServedFile(january)})
    stop = trips.start()
    yield trips
    stop()


@pytest.fixture
def source(server: TripServer) -> HttpSource:
    """The server's months, with short timeouts."""
    return HttpSource(server.url, "green", retry_policy=QUICK)


@pytest.fixture
def listed(source: HttpSource) -> PublishedMonth:
    """January 2023 as the server lists it without errors."""
    return source.published([JANUARY])[JANUARY]


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Destination of the fetch, which holds an earlier version."""
    folder = tmp_path / "home"
    folder.mkdir()
    file = folder / "green_tripdata_2023-01.parquet"
    file.write_bytes(b"the last good version")
    return file


@pytest.fixture
def assert_kept(destination: Path) -> Callable[[], None]:
    """Asserts that the last good version is unchanged and that no other file is left."""

    def check() -> None:
        assert destination.read_bytes() == b"the last good version"
        assert list(destination.parent.iterdir()) == [destination]

    return check
