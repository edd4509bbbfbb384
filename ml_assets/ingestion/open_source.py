"""Open the source that ``ML_ASSETS_TRIPS`` names, and list it within a time limit."""

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from ml_assets.ingestion.source import InvalidSource, PublishedMonth, SourceUnavailable, TripSource
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits


def open_source(trips: str, taxi: str, max_month_rows: int | None = None) -> TripSource:
    """Return the source that ``ML_ASSETS_TRIPS`` names, without any network access.

    Args:
        trips: ``sample``, ``tlc``, an ``http(s)://`` URL, or any folder or URL that fsspec opens.
        max_month_rows: maximum number of rows per month; by default that of the taxi.

    Raises:
        InvalidSource: when the value cannot be opened; a remote folder that does not exist is
            found only at its first use.
    """
    # Only the source in use is imported.
    value = trips.strip()
    limits = None if max_month_rows is None else MonthLimits(taxi, max_month_rows)
    if value == "sample":
        from ml_assets.ingestion.sample import SampleSource

        return SampleSource(taxi)
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
"""Held by the listing in progress, also after its caller has timed out."""


def list_with_timeout(
    source: TripSource, months: Iterable[Month], seconds: float
) -> dict[Month, PublishedMonth]:
    """List the months within a time limit.

    A listing that hangs on a mount or server continues in its own thread, one at a time.

    Raises:
        SourceUnavailable: when it exceeds the limit, or an earlier listing is still in progress.
        InvalidSource: when there is no such source.
    """
    return _within(source, lambda: source.published(months), seconds)


def near_misses_within(
    source: TripSource, months: Iterable[Month], seconds: float
) -> dict[Month, str]:
    """Return ``TripSource.near_misses`` within a time limit.

    Raises:
        SourceUnavailable: as in :func:`list_with_timeout`.
        InvalidSource: as in :func:`list_with_timeout`.
    """
    return _within(source, lambda: source.near_misses(months), seconds)


def _within(source: TripSource, call: Callable[[], Listed], seconds: float) -> Listed:
    if not _listing.acquire(blocking=False):
        raise SourceUnavailable(f"{source.name} has not answered an earlier listing yet")
    results: list[Listed] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)
        finally:
            _listing.release()

    thread = threading.Thread(target=run, name="listing-of-months", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise SourceUnavailable(f"{source.name} did not list its months within {seconds:g} s")
    return results[0]
