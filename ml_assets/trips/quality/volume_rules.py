"""Rules on the numbers of a month: kept and rejected trips, days, columns, reconciliation."""

from collections.abc import Sequence
from statistics import median

from ml_assets.trips.cleaning import REASONS
from ml_assets.trips.published_schema import shown_name, shown_names
from ml_assets.trips.quality.finding import (
    MIN_HISTORY,
    Finding,
    Verdict,
    ratio_band,
    share_band,
    within,
    worst,
)
from ml_assets.trips.quality.profile import MonthProfile

REMEDY = (
    "correct the month at its source and materialize it again, or leave it out (exclude_months of "
    "training_set)"
)

EXPECTED_KEPT_SHARE = 0.95
"""Expected share of kept trips without earlier months: it is 94.7-96.7 % over 2023."""

_MAX_CHANGES = 20
_TIMES_OFF = 10
_MIN_DAILY_TRIPS = 20
_MAX_OUTSIDE = 0.5


def row_count(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check the number of kept trips: not 0, in the band of earlier months, not 10 times off."""
    if month.kept == 0:
        rejected = f"of {month.published:,} published; see rejected_trips for the reasons"
        return Finding(Verdict.FAIL, f"no trip was kept {rejected}, {REMEDY}", 0.0)
    counts = [float(other.kept) for other in earlier if other.kept]
    if len(counts) >= MIN_HISTORY:
        lowest, highest = min(counts) / _TIMES_OFF, max(counts) * _TIMES_OFF
        if not lowest <= month.kept <= highest:
            sentence = (
                f"{month.kept:,} kept trips, {_TIMES_OFF} times off the {min(counts):,.0f} to "
                f"{max(counts):,.0f} of the {len(counts)} months before; {REMEDY}"
            )
            return Finding(Verdict.FAIL, sentence, month.kept, lowest, highest)
    return within(month.kept, ratio_band(counts, 1.6, 1.9), "kept trips", "{:,.0f}")


def pickups_within_month(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check that pick-ups are in the published month, and on each of its days."""
    figures, outside = month.figures, month.rejected_share("pickup_outside_month")
    if figures is not None and figures.outside_month:
        sentence = (
            f"{figures.outside_month:,} kept trips were picked up in another month: materialize "
            "trip_features again"
        )
        return Finding(Verdict.FAIL, sentence, figures.outside_month, 0.0, 0.0)
    if outside > _MAX_OUTSIDE:
        sentence = (
            f"{outside:.1%} of the published trips were picked up in another month, as if the file "
            f"were that month's; {REMEDY}"
        )
        return Finding(Verdict.FAIL, sentence, outside, 0.0, _MAX_OUTSIDE)
    shares = [other.rejected_share("pickup_outside_month") for other in earlier]
    found = within(outside, share_band(shares, 3, 0.01), "picked up in another month")
    absent = figures.days_without_trips if figures is not None else []
    if not absent or month.kept < _MIN_DAILY_TRIPS * 30:
        return found
    days = ", ".join(str(day) for day in absent)
    gap = Finding(
        Verdict.WARN,
        f"no trip on day {days}: the file may be truncated; fetch the month again when it is "
        "complete",
        len(absent),
        0.0,
        0.0,
    )
    return worst([gap, found])


def row_counts_reconcile(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check that every published trip is in exactly one of the two tables."""
    if month.rejected is None:
        return Finding(
            Verdict.SKIP,
            "rejected_trips was not made from the same file as trip_features: materialize both",
        )
    rejected = sum(month.rejected.values())
    difference = month.published - month.kept - rejected
    if difference:
        sentence = (
            f"{month.kept:,} kept and {rejected:,} rejected trips are not the {month.published:,} "
            "published: materialize trip_features and rejected_trips again"
        )
        return Finding(Verdict.FAIL, sentence, difference, 0.0, 0.0)
    sentence = f"{month.kept:,} kept + {rejected:,} rejected = {month.published:,} published"
    return Finding(Verdict.PASS, sentence, 0.0, 0.0, 0.0)


def rejection_rates(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check that the kept share does not halve and no rejection reason changes suddenly."""
    shares = [other.kept_share for other in earlier if other.published]
    expected = median(shares) if len(shares) >= MIN_HISTORY else EXPECTED_KEPT_SHARE
    kept = f"{month.kept_share:.1%} of the published trips were kept"
    if month.kept_share < expected / 2:
        reasons = month.rejected or {}
        commonest = max(reasons, key=lambda reason: reasons[reason], default="an unknown reason")
        sentence = (
            f"{kept}, less than half of the expected {expected:.1%}; most were rejected for "
            f"{commonest}; {REMEDY}"
        )
        return Finding(Verdict.FAIL, sentence, month.kept_share, expected / 2, 1.0)
    if month.rejected is None:
        return Finding(Verdict.SKIP, f"{kept}; rejected_trips of this file is missing")
    found = worst([_reject_share(month, earlier, reason) for reason in REASONS])
    if found.verdict == Verdict.WARN:
        return found
    sentence = f"{kept}, expected {expected:.1%}"
    return Finding(found.verdict, sentence, month.kept_share, expected / 2, 1.0)


def published_schema(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check that columns are those of the previous month, apart from widths of types."""
    before = next((other for other in reversed(earlier) if other.published_columns), None)
    if before is None or not month.published_columns:
        return Finding(
            Verdict.SKIP,
            "there is no earlier file, or trip_features was not made from the stored one",
        )
    old, new = before.published_columns, month.published_columns
    changes = [f"{shown_name(name)} is new" for name in sorted(new.keys() - old.keys())]
    changes += [f"{shown_name(name)} is gone" for name in sorted(old.keys() - new.keys())]
    retyped = [name for name in sorted(old.keys() & new.keys()) if old[name] != new[name]]
    others = [name for name in retyped if not _same_kind(old[name], new[name])]
    changes += [
        f"{shown_name(name)} was {shown_name(old[name])} and is {shown_name(new[name])}"
        for name in others
    ]
    if changes:
        more = len(changes) - _MAX_CHANGES
        shown = [*changes[:_MAX_CHANGES], *([f"and {more:,} more changes"] if more > 0 else [])]
        sentence = (
            f"against {before.month}, {'; '.join(shown)}: see the TLC's data dictionary for the "
            "meaning; all columns that the project reads are there"
        )
        return Finding(Verdict.WARN, sentence, len(changes), 0.0, 0.0)
    widths = f"; other width or kind of number: {shown_names(retyped)}" if retyped else ""
    return Finding(Verdict.PASS, f"the same columns as {before.month}{widths}", 0.0, 0.0, 0.0)


def _reject_share(month: MonthProfile, earlier: Sequence[MonthProfile], reason: str) -> Finding:
    shares = [other.rejected_share(reason) for other in earlier if other.rejected is not None]
    band = share_band(shares, 3, 0.01, vanishing=0.005)
    return within(month.rejected_share(reason), band, f"rejected for {reason}", "{:.2%}")


def _same_kind(old: str, new: str) -> bool:
    return "null" in (old, new) or _kind(old) == _kind(new)


def _kind(arrow_type: str) -> str:
    if arrow_type.startswith(("int", "uint", "float", "double", "halffloat", "decimal")):
        return "number"
    if "string" in arrow_type:
        return "text"
    return arrow_type.split("[")[0]
