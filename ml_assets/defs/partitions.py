"""The monthly partitions: every month that a source can have published by now."""

import dagster as dg

from ml_assets.config.settings import Settings
from ml_assets.trips.calendar import PUBLICATION_LAG_MONTHS


def published_months(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """Months from ``ML_ASSETS_FIRST_MONTH`` to the newest that can be out; asks no source.

    Dagster's newest monthly partition is last month, so the offset is what is left of the lag.
    """
    return dg.MonthlyPartitionsDefinition(
        start_date=str(settings.first_month),
        fmt="%Y-%m",
        timezone="America/New_York",
        end_offset=1 - PUBLICATION_LAG_MONTHS,
    )
