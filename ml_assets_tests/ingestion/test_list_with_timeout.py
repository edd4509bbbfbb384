"""Listing a source within a time limit."""

import threading
from typing import Any

import pytest

from ml_assets.ingestion.open_source import list_with_timeout, open_source
from ml_assets.ingestion.source import SourceUnavailable
from ml_assets.trips.month import Month
from ml_assets_tests.published_months import publish

JANUARY = Month(2023, 1)


class SlowSource:
    """Responds when ``go`` is set."""

    name, synthetic, taxi = "slow", False, "green"

    def __init__(self):
        self.go = threading.Event()

    def published(self, months):
        assert self.go.wait(30)
        return {}


def test_the_listing_is_returned(tmp_path):
    publish(tmp_path, JANUARY)
    source = open_source(str(tmp_path), "green")
    assert [*list_with_timeout(source, [JANUARY, Month(2023, 2)], 10)] == [JANUARY]


def test_an_error_of_the_source_is_raised(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    source = open_source(str(folder), "green")
    folder.rmdir()
    with pytest.raises(ValueError, match="there is no such folder"):
        list_with_timeout(source, [JANUARY], 10)


def test_a_listing_that_hangs_times_out_and_blocks_the_next_one_until_it_ends(tmp_path):
    slow: Any = SlowSource()
    with pytest.raises(SourceUnavailable, match="slow did not list its months within 0.1 s"):
        list_with_timeout(slow, [JANUARY], 0.1)
    quick = open_source(str(tmp_path), "green")
    with pytest.raises(SourceUnavailable, match="has not answered an earlier listing yet"):
        list_with_timeout(quick, [JANUARY], 10)
    slow.go.set()
    for thread in threading.enumerate():
        if thread.name == "listing-of-months":
            thread.join(30)
    assert list_with_timeout(quick, [JANUARY], 10) == {}
