"""Where the time of a press went."""

import pytest

from benchmarks.timeline import BETWEEN, QUEUED, STARTING, breakdown

INGESTION = {
    "enqueued": 2.0,
    "launched": 3.0,
    "started": 5.0,
    "ended": 9.0,
    "assets": ["raw_trips", "trip_features"],
}
ZONES = {"enqueued": 2.0, "launched": 9.0, "started": 10.0, "ended": 11.0, "assets": ["taxi_zones"]}


def test_every_moment_counts_once():
    seconds = breakdown([INGESTION, ZONES], begun=0.0, ended=12.0)
    assert seconds == pytest.approx(
        {BETWEEN: 3.0, QUEUED: 1.0, STARTING: 3.0, "run: ingestion": 4.0, "run: taxi_zones": 1.0}
    )
    assert sum(seconds.values()) == pytest.approx(12.0)


def test_runs_outside_of_the_span_do_not_count():
    assert breakdown([INGESTION], begun=9.0, ended=10.0) == {BETWEEN: 1.0}
