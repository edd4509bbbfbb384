"""Is a month of trips fit to be trained on? Rules, each a pure function of a month's figures.

A rule compares a month's profile with those of earlier months. Each is an asset check
(``ml_assets.defs.ingestion.checks``), and those that can refuse a month are run again when a
training set is made: a check guards only the run that it is part of. To add one, write the function
and give it an entry in ``RULES``.
"""

from collections.abc import Sequence

from ml_assets.trips.quality.bands import HISTORY_MONTHS
from ml_assets.trips.quality.finding import Finding, Rule, Verdict, worst
from ml_assets.trips.quality.profile import KeptFigures, MonthProfile, kept_figures
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
        "published_schema",
        "raw_trips",
        False,
        "The published columns and their kinds are those of the month before.",
        published_schema,
    ),
    Rule(
        "no_leaky_columns",
        "trip_features",
        True,
        "No column tells what is known only after the ride: by name, and by following the target.",
        no_leaky_columns,
    ),
    Rule(
        "matches_schema",
        "trip_features",
        True,
        "Types, missing values and ranges are those of the table's contract, the target's too.",
        matches_schema,
    ),
    Rule(
        "row_count",
        "trip_features",
        True,
        "As many kept trips as a band learned from earlier months says; never none.",
        row_count,
    ),
    Rule(
        "pickups_within_month",
        "trip_features",
        True,
        "Pick-ups lie in the month that they were published for, and on each of its days.",
        pickups_within_month,
    ),
    Rule(
        "no_time_shift",
        "trip_features",
        True,
        "Trips by hour of the week fit earlier months best as they are, not shifted by hours.",
        no_time_shift,
    ),
    Rule(
        "duplicate_rate",
        "trip_features",
        True,
        "Rides are published once, or about as rarely twice as in earlier months.",
        duplicate_rate,
    ),
    Rule(
        "target_distribution",
        "trip_features",
        True,
        "Durations vary, and their median and spread move no further than usual.",
        target_distribution,
    ),
    Rule(
        "feature_distribution",
        "trip_features",
        True,
        "Distances are stated, in miles, and passengers counted, about as often as usual.",
        feature_distribution,
    ),
    Rule(
        "unseen_zone_pairs",
        "trip_features",
        True,
        "Trips go between zones that were paired before, new pairs about as often as usual.",
        unseen_zone_pairs,
    ),
    Rule(
        "row_counts_reconcile",
        "rejected_trips",
        True,
        "Every published trip is in exactly one of trip_features and rejected_trips.",
        row_counts_reconcile,
    ),
    Rule(
        "rejection_rates",
        "rejected_trips",
        True,
        "The kept share never halves; no reason for rejection grows or vanishes suddenly.",
        rejection_rates,
    ),
)

__all__ = [
    "HISTORY_MONTHS",
    "RULES",
    "Finding",
    "KeptFigures",
    "MonthProfile",
    "Rule",
    "Verdict",
    "history_before",
    "is_settled",
    "kept_figures",
    "rejection_reasons",
    "worst",
]


def history_before(profiles: Sequence[MonthProfile], month: str) -> list[MonthProfile]:
    """The profiles that a month is compared with: those before it, at most ``HISTORY_MONTHS``.

    Args:
        profiles: In any order.
        month: ``YYYY-MM``.
    """
    before = [profile for profile in profiles if profile.month < month]
    return sorted(before, key=lambda profile: profile.month)[-HISTORY_MONTHS:]


def is_settled(rule: Rule, month: MonthProfile, later: Sequence[MonthProfile]) -> bool:
    """Whether an odd month is as usual by the months after it: what was new has stayed.

    Args:
        rule: The rule that found the month odd against the months before.
        month: The month.
        later: The months after it, in order; the nearest ``HISTORY_MONTHS`` count.
    """
    nearest_last = list(reversed(later[:HISTORY_MONTHS]))
    return rule.judge(month, nearest_last).verdict == Verdict.PASS


def rejection_reasons(month: MonthProfile, earlier: Sequence[MonthProfile]) -> list[str]:
    """Why a month may not be trained on: a sentence for each rule that refuses it.

    Args:
        month: The month.
        earlier: The months to compare it with, in order.
    """
    findings = (rule.judge(month, earlier) for rule in RULES if rule.refuses)
    return [found.sentence for found in findings if found.verdict == Verdict.FAIL]
