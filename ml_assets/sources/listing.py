"""List what a source has within a time limit, for those who must not wait for long."""

import threading
from collections.abc import Iterable

from ml_assets.sources.published import PublishedMonth, SourceUnavailable, TripSource
from ml_assets.trips.month import Month

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
    if not _listing.acquire(blocking=False):
        raise SourceUnavailable(f"{source.name} has not answered an earlier listing yet")
    answer: list[dict[Month, PublishedMonth]] = []
    faults: list[Exception] = []

    def ask() -> None:
        try:
            answer.append(source.published(months))
        except Exception as error:  # noqa: BLE001 - raised again by the one who waits
            faults.append(error)
        finally:
            _listing.release()

    thread = threading.Thread(target=ask, name="listing-of-months", daemon=True)
    thread.start()
    thread.join(seconds)
    if faults:
        raise faults[0]
    if not answer:
        raise SourceUnavailable(f"{source.name} did not list its months within {seconds:g} s")
    return answer[0]
