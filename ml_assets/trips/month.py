"""Calendar months, the unit of publication, partitioning and training windows; New York dates."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Self
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
Clock = Callable[[], datetime]
"""Returns the current time, with a time zone."""
PUBLICATION_LAG_MONTHS = 2
"""Months between a trip's month and its publication.

"Trip data will be published monthly (with two months delay) instead of bi-annually": the TLC's
notice of 2022-05-13 on https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page.
"""

_PATTERN = re.compile(r"([12][0-9]{3})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, order=True)
class Month:
    """A month, ordered in time; ``str(month)`` is the partition key ``YYYY-MM``."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``YYYY-MM``; raise ValueError with an example for any other text."""
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a month: write it as YYYY-MM, for example 2023-01")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, day: date) -> Self:
        """Return the month of a date or datetime."""
        return cls(day.year, day.month)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    def shift(self, months: int) -> "Month":
        """Return the month this number of months later (earlier when negative)."""
        index = self.year * 12 + self.number - 1 + months
        return Month(index // 12, index % 12 + 1)

    @property
    def start(self) -> datetime:
        """Midnight of the first day, New York wall time (naive, as the files have it)."""
        return datetime(self.year, self.number, 1)

    @property
    def end(self) -> datetime:
        """Midnight after the last day: the first time after the month."""
        return self.shift(1).start

    @property
    def days(self) -> int:
        """The number of days in the month."""
        return (self.end - self.start).days


def months_between(first: Month, last: Month) -> Iterator[Month]:
    """Yield all months from ``first`` to ``last``, both included; none if last is before first."""
    month = first
    while month <= last:
        yield month
        month = month.shift(1)


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def new_york_date(now: datetime | None = None) -> date:
    """Return today's date in New York, which also decides when monthly partitions begin.

    Args:
        now: A time with a time zone; by default the current time.
    """
    return (now or datetime.now(NEW_YORK)).astimezone(NEW_YORK).date()


def latest_published_month(today: date) -> Month:
    """Return the newest month that can be published: in November 2026 it is September 2026.

    The TLC is often later than its own rule; only the source's listing is reliable.
    """
    return Month.of(today).shift(-PUBLICATION_LAG_MONTHS)
