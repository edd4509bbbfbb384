"""Transfers that are too slow."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_assets.ingestion.http import HttpSource
from ml_assets.ingestion.source import PublishedMonth, SourceUnavailable, published_filename
from ml_assets_tests.ingestion.conftest import JANUARY, QUICK
from ml_assets_tests.ingestion.trip_server import TripServer, drip

FILE = published_filename("green", JANUARY)
Kept = Callable[[], None]


def test_a_slow_transfer_is_aborted_and_retried(
    server: TripServer,
    source: HttpSource,
    listed: PublishedMonth,
    destination: Path,
    january: bytes,
) -> None:
    server.misbehave["GET", FILE] = [drip(1, first=100)]
    source.fetch(listed, destination)
    assert destination.read_bytes() == january
    assert len(server.requests("GET")) == 2


def test_a_server_that_is_always_slow_is_an_error(
    server: TripServer,
    source: HttpSource,
    listed: PublishedMonth,
    destination: Path,
    assert_kept: Kept,
) -> None:
    server.always["GET", FILE] = drip(1)
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match=r"only \d+ bytes/s"):
        source.fetch(listed, destination)
    assert time.monotonic() - started < 8  # the whole file would take hours
    assert_kept()


def test_a_transfer_past_the_deadline_is_an_error(
    server: TripServer, listed: PublishedMonth, destination: Path, assert_kept: Kept
) -> None:
    server.always["GET", FILE] = drip(300)
    short = dataclasses.replace(QUICK, stall_seconds=5.0, deadline_seconds=0.5)
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match="not complete after"):
        HttpSource(server.url, "green", retry_policy=short).fetch(listed, destination)
    assert time.monotonic() - started < 5  # the whole file would take 50 s
    assert_kept()
