"""How old assets may be before someone is told: Dagster's daemon judges by these policies."""

from datetime import timedelta

import dagster as dg

MONTHS_FRESH = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=45), warn_window=timedelta(days=35)
)
"""For ``trip_features``: a month is published every month, now and then a week or two late."""

CHAMPION_FRESH = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=52), warn_window=timedelta(days=42)
)
"""For ``champion_model``: each new month leads to a decision, within the week at the latest."""

WATCHED = {
    "trip_features": "See with `ml-assets months` what is published, and on the page Automation "
    "whether ingest_new_months and ingest_monthly are on and why they skip. Nothing but a late "
    "source needs patience; all else is in their ticks.",
    "champion_model": "See on the page Automation whether retrain_on_new_months and "
    "retrain_weekly are on and why they skip, or train by hand: `ml-assets run`, or the job "
    "retrain.",
}
"""Assets with such a policy, and what to do when one is overdue."""
