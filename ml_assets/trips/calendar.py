"""Publication calendar: the newest month that can be published on a given date."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from ml_assets.trips.month import Month

NEW_YORK = ZoneInfo("America/New_York")
PUBLICATION_LAG_MONTHS = 2
"""Months between a trip's month and its publication.

"Trip data will be published monthly (with two months delay) instead of bi-annually": the TLC's
notice of 2022-05-13 on https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page.
"""


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
