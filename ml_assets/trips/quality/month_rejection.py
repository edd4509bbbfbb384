"""The data-quality rules: whether a month of trips is rejected for training.

Each rule is a pure function that compares a month's profile with those of earlier months. It is an
asset check (``ml_assets.defs.ingestion.checks``); the blocking ones also run when a training set is
built, since a check guards only its own run. To add one, write the function and add an entry to
``RULES``.
"""

from collections.abc import Sequence

from ml_assets.trips.quality.finding import HISTORY_MONTHS, Rule, Verdict
from ml_assets.trips.quality.profile import MonthProfile
from ml_assets.trips.quality.time_shift import no_time_shift
from ml_assets.trips.quality.value_rules import (
    duplicate_rate,
    feature_distribution,
    matches_schema,
    no_leaky_columns,
    target_distribution,
    unseen_zone_pairs,
)
from ml_assets.trips.quality.volume_rules import (
    pickups_within_month,
    published_schema,
    rejection_rates,
    row_count,
    row_counts_reconcile,
)

RULES = (
    Rule(
        published_schema,
        "The published columns and their kinds are those of the previous month.",
        "raw_trips",
        blocking=False,
    ),
    Rule(
        no_leaky_columns,
        "No column holds what is known only after the ride, by its name or its correlation.",
    ),
    Rule(
        matches_schema,
        "Types, missing values and ranges, also of the target, match the table's schema.",
    ),
    Rule(row_count, "The number of kept trips is within the band of earlier months, and never 0."),
    Rule(pickups_within_month, "Pick-ups are in the published month, and on each of its days."),
    Rule(
        no_time_shift,
        "Trips by hour of the week match earlier months best without a shift by hours.",
    ),
    Rule(duplicate_rate, "Duplicate rides are about as rare as in earlier months."),
    Rule(
        target_distribution,
        "Durations vary, and their median and spread are within the band of earlier months.",
    ),
    Rule(
        feature_distribution,
        "Distances in miles and passenger counts are given about as often as in earlier months.",
    ),
    Rule(
        unseen_zone_pairs,
        "Zone pairs without earlier trips are about as frequent as in earlier months.",
    ),
    Rule(
        row_counts_reconcile,
        "Every published trip is in exactly one of trip_features and rejected_trips.",
        "rejected_trips",
    ),
    Rule(
        rejection_rates,
        "The kept share never halves; no rejection reason grows or vanishes suddenly.",
        "rejected_trips",
    ),
)


def history_before(profiles: Sequence[MonthProfile], month: str) -> list[MonthProfile]:
    """Return the profiles to compare a month with: the last ``HISTORY_MONTHS`` before it."""
    before = [profile for profile in profiles if profile.month < month]
    return sorted(before, key=lambda profile: profile.month)[-HISTORY_MONTHS:]


def is_settled(rule: Rule, month: MonthProfile, later: Sequence[MonthProfile]) -> bool:
    """Whether a month with a warning passes against the months after it: the change has persisted.

    Args:
        later: The months after it, in order; the first ``HISTORY_MONTHS`` are used.
    """
    nearest_last = list(reversed(later[:HISTORY_MONTHS]))
    return rule.check(month, nearest_last).verdict == Verdict.PASS


def rejection_reasons(month: MonthProfile, earlier: Sequence[MonthProfile]) -> list[str]:
    """Return why a month may not be trained on: a sentence for each blocking rule that fails."""
    findings = (rule.check(month, earlier) for rule in RULES if rule.blocking)
    return [found.sentence for found in findings if found.verdict == Verdict.FAIL]
