"""Interface and errors of the sources of published months."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ml_assets.secrets import ShownError, one_line, scrub, shown_value
from ml_assets.trips.month import Month
from ml_assets.trips.published_schema import TAXIS

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far and the total, where known; a restarted transfer counts from 0."""

OTHER_SOURCES = (
    "try again later, or set ML_ASSETS_TRIPS to a folder that holds the files, "
    "or to sample (synthetic)"
)


MAX_NEAR_MISSES = 5


class SourceUnavailable(ShownError, RuntimeError):
    """The source did not respond, or not as expected; says what was tried and what to do."""


class ChangedDuringDownload(SourceUnavailable):
    """The month changed between listing and fetching: list it again, then fetch."""


class InvalidFile(ShownError, ValueError):
    """A complete file is not a month of trips; names the file, the column and the remedy."""


class InvalidSource(ShownError, ValueError):
    """ML_ASSETS_TRIPS is not a source; one line with the value and what is allowed."""

    wrong_use = True

    def __init__(self, trips: str, fault: str, taxi: str) -> None:
        super().__init__(
            f"ML_ASSETS_TRIPS={shown_value(trips)}: {one_line(scrub(fault, trips))}; "
            "allowed are sample, tlc, or "
            f"a folder or URL that fsspec opens and that holds {taxi}_tripdata_YYYY-MM.parquet"
        )


@dataclass(frozen=True)
class PublishedMonth:
    """A month as a source lists it.

    Attributes:
        location: the file's path or URL, without credentials.
        version: changes when the month is republished: the ETag or a checksum, else size and time.
        size_bytes: size of the file; None where the source does not provide it.
        changed_at: when a local file changed last, with a time zone.
        is_folder: whether it is a folder of part files.
    """

    month: Month
    taxi: str
    location: str
    version: str
    size_bytes: int | None
    changed_at: datetime | None = None
    is_folder: bool = False


class TripSource(Protocol):
    """A source of published months."""

    @property
    def name(self) -> str:
        """``sample``, ``tlc``, or the folder or URL as given (without credentials)."""
        ...

    @property
    def synthetic(self) -> bool:
        """Whether the trips are synthetic; all output then says so."""
        ...

    @property
    def taxi(self) -> str:
        """``green`` or ``yellow``."""
        ...

    def published(self, months: Iterable[Month]) -> dict[Month, PublishedMonth]:
        """Return those of the months that are available, in the given order.

        Raises:
            SourceUnavailable: when the source cannot be listed.
            InvalidSource: when there is no such source.
        """
        ...

    def near_misses(self, months: Iterable[Month]) -> dict[Month, str]:
        """Return files that resemble missing months, and why they are not read.

        Empty for a source without a listing.

        Raises:
            SourceUnavailable: when the source cannot be listed.
            InvalidSource: when there is no such source.
        """
        ...

    def fetch(
        self, published: PublishedMonth, destination: Path, progress: Progress | None = None
    ) -> None:
        """Fetch one month to ``destination``, complete and verified, or leave that path unchanged.

        Raises:
            SourceUnavailable: when the source fails to deliver.
            ChangedDuringDownload: when it has another version than ``published`` by now.
            InvalidFile: when its file is not a readable Parquet file of this taxi's trips.
            OSError: when ``destination`` cannot be written, for instance on a full disk.
        """
        ...


def published_filename(taxi: str, month: Month) -> str:
    """Return the TLC's name of a month's file: ``green_tripdata_2023-01.parquet``.

    Raises:
        ValueError: for an unknown taxi.
    """
    if taxi not in TAXIS:
        raise ValueError(f"ML_ASSETS_TAXI={taxi!r}: allowed are {' and '.join(TAXIS)}")
    return f"{taxi}_tripdata_{month}.parquet"


def near_miss_lines(found: Mapping[Month, str]) -> list[str]:
    """Format near misses, one line per month, the first ``MAX_NEAR_MISSES`` of them."""
    lines = [f"{month}: {found[month]}" for month in sorted(found)]
    more = len(lines) - MAX_NEAR_MISSES
    rest = [f"and {more} more months in another form"] if more > 0 else []
    return [*lines[:MAX_NEAR_MISSES], *rest]
