"""From the value of ``ML_ASSETS_TRIPS`` to a source."""

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from ml_assets.ingestion.source import InvalidSource, PublishedMonth, SourceUnavailable, TripSource
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits


def open_source(
    trips: str, taxi: str, rows_scale: float = 1.0, max_month_rows: int | None = None
) -> TripSource:
    """The source that ``ML_ASSETS_TRIPS`` names; nothing is asked over the network yet.

    Args:
        trips: ``sample``, ``tlc``, an ``http(s)://`` URL, or any folder or URL that fsspec opens.
        taxi: ``green`` or ``yellow``.
        rows_scale: size of the sample's months, as a share of the usual; no other source heeds it.
        max_month_rows: how many rows a month may have; by default that of the taxi.

    Raises:
        InvalidSource: when the value names nothing that can be opened; for a remote folder that
            does not exist, only its first use tells.
    """
    # Each source is imported only when it is the one asked for, so that no one pays for the rest.
    value = trips.strip()
    limits = None if max_month_rows is None else MonthLimits(taxi, max_month_rows)
    if value == "sample":
        from ml_assets.ingestion.sample import SampleSource

        return SampleSource(taxi, rows_scale)
    if value == "tlc" or value.startswith(("http://", "https://")):
        from ml_assets.ingestion.http import TLC_URL, HttpSource

        url, name = (TLC_URL, "tlc") if value == "tlc" else (value, None)
        return HttpSource(url, taxi, name, limits=limits)
    if not value:
        raise InvalidSource(trips, "the value is empty", taxi)
    from ml_assets.ingestion.folder import FolderSource

    return FolderSource(value, taxi, limits)


Listed = TypeVar("Listed")
_listing = threading.Lock()
"""Held by the listing that is under way, also when nobody waits for it any more."""


def list_with_timeout(
    source: TripSource, months: Iterable[Month], seconds: float
) -> dict[Month, PublishedMonth]:
    """What the source lists of the months, if it answers in time.

    Whatever hangs, a mount or a server, goes on in a thread of its own, one at a time.

    Raises:
        SourceUnavailable: when it does not answer in time, or an earlier listing still has not.
        InvalidSource: when there is no such source.
    """
    return _within(source, lambda: source.published(months), seconds)


def near_misses_within(
    source: TripSource, months: Iterable[Month], seconds: float
) -> dict[Month, str]:
    """What looks like months that are not there, if the source answers in time.

    Raises:
        SourceUnavailable: as :func:`list_with_timeout` does.
        InvalidSource: likewise.
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
