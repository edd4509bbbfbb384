"""When months come out: which is the newest that anyone can have published by a given day."""

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
    """Today's date in New York, wherever this runs; monthly partitions begin by it as well.

    Args:
        now: An instant, with its offset; by default the present one.
    """
    return (now or datetime.now(NEW_YORK)).astimezone(NEW_YORK).date()


def latest_published_month(today: date) -> Month:
    """The newest month that can have been published: in November 2026 it is September 2026.

    "Can have been": the TLC is often later than its own rule, so ask the source what is there.
    """
    return Month.of(today).shift(-PUBLICATION_LAG_MONTHS)
