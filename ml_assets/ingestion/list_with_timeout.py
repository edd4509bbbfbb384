"""List what a source has within a time limit, for those who must not wait for long."""

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from ml_assets.ingestion.source import PublishedMonth, SourceUnavailable, TripSource
from ml_assets.trips.month import Month

Listed = TypeVar("Listed")
_listing = threading.Lock()
"""Held by the listing that is under way, also when nobody waits for it any more."""


def list_within(
    source: TripSource, months: Iterable[Month], seconds: float
) -> dict[Month, PublishedMonth]:
    """What the source lists of the months, if it answers in time.

    Whatever hangs, a mount or a server, goes on in a thread of its own, one at a time.

    Raises:
        SourceUnavailable: when it does not answer in time, or an earlier listing still has not.
        WrongSource: when there is no such source.
    """
    return _within(source, lambda: source.published(months), seconds)


def near_misses_within(
    source: TripSource, months: Iterable[Month], seconds: float
) -> dict[Month, str]:
    """What looks like months that are not there, if the source answers in time.

    Raises:
        SourceUnavailable: as :func:`list_within` does.
        WrongSource: likewise.
    """
    return _within(source, lambda: source.near_misses(months), seconds)


def _within(source: TripSource, ask: Callable[[], Listed], seconds: float) -> Listed:
    if not _listing.acquire(blocking=False):
        raise SourceUnavailable(f"{source.name} has not answered an earlier listing yet")
    answer: list[Listed] = []
    faults: list[Exception] = []

    def run() -> None:
        try:
            answer.append(ask())
        except Exception as error:  # noqa: BLE001 - raised again by the one who waits
            faults.append(error)
        finally:
            _listing.release()

    thread = threading.Thread(target=run, name="listing-of-months", daemon=True)
    thread.start()
    thread.join(seconds)
    if faults:
        raise faults[0]
    if not answer:
        raise SourceUnavailable(f"{source.name} did not list its months within {seconds:g} s")
    return answer[0]
