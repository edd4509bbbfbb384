"""Where the time of several runs goes: every moment is given to one kind of work or waiting."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

STARTING = "starting the runs' processes"
QUEUED = "in the queue"
BETWEEN = "requesting runs, noticing their ends"


def breakdown(runs: Sequence[Mapping[str, Any]], begun: float, ended: float) -> dict[str, float]:
    """Seconds by what went on; they add up to ``ended - begun``.

    Where several things go on at once, a run at work counts before one that starts, and that
    before one in the queue.

    Args:
        runs: As ``benchmarks.dagster_runs`` prints them.
        begun: Seconds since the epoch.
        ended: Seconds since the epoch.
    """
    spans = [span for run in runs for span in _spans(run)]
    moments = sorted(
        {begun, ended, *(moment for _, _, start, end in spans for moment in (start, end))}
    )
    seconds: dict[str, float] = {}
    for start, end in itertools.pairwise(moments):
        if start < begun or end > ended:
            continue
        going_on = [(rank, name) for rank, name, first, last in spans if first <= start < last]
        name = min(going_on)[1] if going_on else BETWEEN
        seconds[name] = seconds.get(name, 0.0) + end - start
    return seconds


def run_name(run: Mapping[str, Any]) -> str:
    """What a run did, in a word."""
    known = {"raw_trips": "ingestion", "champion_model": "training"}
    named = [name for asset, name in known.items() if asset in run["assets"]]
    return f"run: {' and '.join(named) or ', '.join(run['assets'])}"


def _spans(run: Mapping[str, Any]) -> Iterator[tuple[int, str, float, float]]:
    """Rank, name, start and end of what a run goes through."""
    yield 0, run_name(run), run["started"], run["ended"]
    if "launched" in run:
        yield 1, STARTING, run["launched"], run["started"]
        yield 2, QUEUED, run.get("enqueued", run["launched"]), run["launched"]
