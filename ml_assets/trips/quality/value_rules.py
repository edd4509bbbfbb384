"""Rules on the kept trips of a month: columns, values, duplicates and zone pairs."""

from collections.abc import Callable, Sequence
from statistics import median

import numpy as np

from ml_assets.trips.quality.finding import (
    MIN_HISTORY,
    Band,
    Finding,
    Verdict,
    ratio_band,
    share_band,
    within,
    worst,
)
from ml_assets.trips.quality.profile import KeptFigures, MonthProfile, unseen_share
from ml_assets.trips.quality.volume_rules import REMEDY
from ml_assets.trips.request_columns import ZONE_CODES
from ml_assets.trips.target import FEATURE_COLUMNS, TARGET

MIN_TRIPS = 100
"""With fewer trips, a month's distributions are mostly chance."""

_MAX_CORRELATION = 0.99
_MAX_DUPLICATES = 0.1
_MAX_SHARE = 0.5
_MIN_SPREAD_MINUTES = 3.0
_RECENT = 3


def no_leaky_columns(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check that no column holds what is known only after the ride, by name or correlation."""
    unknown = [name for name in month.columns if name not in FEATURE_COLUMNS]
    if unknown:
        sentence = (
            f"{', '.join(unknown)} may not be known when a ride is requested: drop it, or add it "
            "to REQUEST_COLUMNS in ml_assets/trips/request_columns.py if every request has it"
        )
        return Finding(Verdict.FAIL, sentence, len(unknown), 0.0, 0.0)
    if month.figures is None or month.kept < MIN_TRIPS:
        return Finding(Verdict.PASS, f"only {', '.join(month.columns)}", 0.0, 0.0, 0.0)
    correlations = month.figures.target_correlation
    closest = max(correlations, key=lambda name: abs(correlations[name]), default=None)
    strongest = abs(correlations[closest]) if closest else 0.0
    if strongest > _MAX_CORRELATION:
        sentence = (
            f"{closest} nearly equals the target (correlation {correlations[closest]:.3f}), so it "  # type: ignore[index]
            f"was computed from it; {REMEDY}"
        )
        return Finding(Verdict.FAIL, sentence, strongest, 0.0, _MAX_CORRELATION)
    sentence = "only request columns and the target; none correlates with the target too closely"
    if closest:
        sentence += f" (highest: {closest}, {strongest:.2f})"
    return Finding(Verdict.PASS, sentence, strongest, 0.0, _MAX_CORRELATION)


def matches_schema(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check types, missing values and ranges against the table's schema."""
    if month.contract_fault is not None:
        return Finding(Verdict.FAIL, month.contract_fault, 1.0, 0.0, 0.0)
    if month.figures is None:
        return Finding(Verdict.SKIP, "there are no values")
    not_finite = month.figures.endless_distances
    if not_finite:
        sentence = (
            f"trip_distance is infinite or not a number in {not_finite:,} trips: materialize "
            "trip_features again"
        )
        return Finding(Verdict.FAIL, sentence, not_finite, 0.0, 0.0)
    sentence = (
        f"nothing missing or out of range, target {month.figures.shortest:.1f} to "
        f"{month.figures.longest:.1f} of {TARGET.bounds}"
    )
    return Finding(Verdict.PASS, sentence, 0.0, 0.0, 0.0)


def duplicate_rate(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check for duplicate rides: 0.13 % of the rows of 2023 repeat another, mostly refunds."""
    twin = next((other for other in earlier if other.raw_sha256 == month.raw_sha256), None)
    if twin is not None:
        sentence = f"the published file is identical to that of {twin.month}; {REMEDY}"
        return Finding(Verdict.FAIL, sentence, 1.0, 0.0, 0.0)
    if month.figures is None:
        return _nothing_measured()
    share = month.share(month.figures.duplicates)
    if share > _MAX_DUPLICATES and month.kept >= MIN_TRIPS:
        sentence = (
            f"{share:.1%} of the kept trips repeat another one (same pick-up, duration, zones and "
            f"distance), so they would count twice; {REMEDY}"
        )
        return Finding(Verdict.FAIL, sentence, share, 0.0, _MAX_DUPLICATES)
    shares = [other.share(figures.duplicates) for other, figures in _measured(earlier)]
    return within(share, share_band(shares, 3, 0.01), "repeated trips", "{:.2%}")


def target_distribution(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check that durations vary, and that their median and spread are as in earlier months."""
    figures = month.figures
    if figures is None or month.kept < MIN_TRIPS:
        return _nothing_measured()
    spread = figures.ninetieth - figures.tenth
    if spread < _MIN_SPREAD_MINUTES:
        sentence = (
            f"80 % of the durations lie within {spread:.2f} minutes ({figures.tenth:.1f} to "
            f"{figures.ninetieth:.1f}), so there is nothing to learn from them; {REMEDY}"
        )
        return Finding(Verdict.FAIL, sentence, spread, _MIN_SPREAD_MINUTES, None)
    medians = _of(earlier, lambda other: other.median)
    spreads = _of(earlier, lambda other: other.ninetieth - other.tenth)
    return worst(
        [
            within(figures.median, ratio_band(medians, 1.25, 1.5), "median minutes", "{:.1f}"),
            within(spread, ratio_band(spreads, 1.4, 2), "minutes from 10 % to 90 %", "{:.1f}"),
        ]
    )


def feature_distribution(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check that distances (in miles) and passenger counts are as in earlier months."""
    figures = month.figures
    if figures is None or month.kept < MIN_TRIPS:
        return _nothing_measured()
    zero = month.share(figures.zero_distances)
    if zero > _MAX_SHARE:
        sentence = (
            f"{zero:.1%} of the kept trips have a distance of 0 miles: a model would learn to "
            f"ignore it; {REMEDY}"
        )
        return Finding(Verdict.FAIL, sentence, zero, 0.0, _MAX_SHARE)
    others = _measured(earlier)
    zeros = [other.share(measured.zero_distances) for other, measured in others]
    missing = [other.share(measured.missing_passengers) for other, measured in others]
    miles = [measured.median_miles or 0.0 for _, measured in others]
    uncounted = month.share(figures.missing_passengers)
    return worst(
        [
            within(zero, share_band(zeros, 3, 0.03), "zero distances"),
            within(uncounted, share_band(missing, 3, 0.1), "without passenger count"),
            within(
                figures.median_miles or 0.0, ratio_band(miles, 1.25, 1.5), "median miles", "{:.2f}"
            ),
        ]
    )


def unseen_zone_pairs(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check that zone pairs without earlier trips are about as frequent as in earlier months."""
    others = [figures for _, figures in _measured(earlier)]
    if month.figures is None or not others:
        return Finding(Verdict.SKIP, "there is no earlier month with zone pairs")
    seen = np.zeros(ZONE_CODES * ZONE_CODES, dtype=np.bool_)
    shares: list[float] = []
    for figures in others:
        shares.append(unseen_share(figures.pairs, seen))
        seen |= figures.pairs > 0
    share = unseen_share(month.figures.pairs, seen)
    what = "trips between zones without earlier trips"
    if len(others) < MIN_HISTORY:
        return within(share, None, what)
    center = median(shares[1:][-_RECENT:])  # all pairs of the first month are new
    band = Band(0.0, center, 3 * center + 0.02)
    if share in band or share <= _MAX_SHARE or month.kept < MIN_TRIPS:
        return within(share, band, what)
    sentence = (
        f"{share:.1%} of the trips go between zones without trips in the {len(others)} months "
        f"before, as if zones had been renumbered; {REMEDY}"
    )
    return Finding(Verdict.FAIL, sentence, share, 0.0, band.upper)


def _measured(months: Sequence[MonthProfile]) -> list[tuple[MonthProfile, KeptFigures]]:
    return [(month, month.figures) for month in months if month.figures is not None]


def _of(months: Sequence[MonthProfile], figure: Callable[[KeptFigures], float]) -> list[float]:
    return [figure(figures) for _, figures in _measured(months)]


def _nothing_measured() -> Finding:
    return Finding(Verdict.SKIP, f"fewer than {MIN_TRIPS} trips to measure")
