"""A server that answers, but so slowly that it has to end."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_assets.ingestion import PublishedMonth, SourceUnavailable, published_filename
from ml_assets.ingestion.http import HttpSource
from ml_assets_tests.ingestion.conftest import JANUARY, QUICK
from ml_assets_tests.ingestion.trip_server import TripServer, drip

FILE = published_filename("green", JANUARY)
Kept = Callable[[], None]


def test_a_trickle_is_broken_off_and_tried_again(
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


def test_a_server_that_only_trickles_is_given_up(
    server: TripServer,
    source: HttpSource,
    listed: PublishedMonth,
    destination: Path,
    assert_kept: Kept,
) -> None:
    server.always["GET", FILE] = drip(1)
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match=r"a trickle of \d+ bytes/s"):
        source.fetch(listed, destination)
    assert time.monotonic() - started < 8  # all of it would take hours
    assert_kept()


def test_a_transfer_that_is_fast_enough_but_endless_ends_at_the_deadline(
    server: TripServer, listed: PublishedMonth, destination: Path, assert_kept: Kept
) -> None:
    server.always["GET", FILE] = drip(300)
    hasty = dataclasses.replace(QUICK, stall_seconds=5.0, deadline_seconds=0.5)
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match="not complete after"):
        HttpSource(server.url, "green", patience=hasty).fetch(listed, destination)
    assert time.monotonic() - started < 5  # all of it would take 50 s
    assert_kept()
