"""Rule: pick-up times are New York wall times, not those of another time zone.

A file whose times were written as UTC (as Spark's INT96 does) passes every other rule: all but a
few of its trips stay in their month, with the right durations. It is detected by the hourly
profile of trips, which is then shifted by hours.
"""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import MIN_HISTORY, Finding, Verdict
from ml_assets.trips.quality.profile import MonthProfile
from ml_assets.trips.quality.volume_rules import REMEDY

MIN_TRIPS = 1_000
"""With fewer kept trips an hour of the week has only a handful. Of 200 random samples of 1,000
trips of 2023-05 none fits better under any shift; of samples of 300 trips, 12 % do."""

MAX_SHIFT_HOURS = 12

MIN_LEAD = 0.02
"""Minimum gain in correlation by a shift for a failure. For months of 2023 the best shift loses
0.038 to 0.066; for a month shifted by one hour it gains 0.05, by four hours 0.58."""

MIN_CORRELATION = 0.95
"""Minimum correlation after the shift for a failure: real months correlate with those before by
0.982 to 0.992, and so do whole months that were shifted back. A month in which 30 % of the trips
are shifted stays below it, which is a warning."""

QUIET_HOURS = 3
EXPECTED_QUIET_START = (1, 5)
"""The quietest three hours of the day begin at 3 in each month of 2023, and at 1 to 4 in 500
samples of 1,000 trips from them."""

Shares = npt.NDArray[np.float64]


def no_time_shift(month: MonthProfile, earlier: Sequence[MonthProfile]) -> Finding:
    """Check that trips by hour of the week match earlier months best without a shift.

    With fewer than three earlier months, only the quietest hours of the day are checked.
    """
    hourly = _hourly_shares(month)
    if hourly is None:
        return Finding(Verdict.SKIP, f"fewer than {MIN_TRIPS:,} trips to measure")
    others = [shares for other in earlier if (shares := _hourly_shares(other)) is not None]
    if len(others) < MIN_HISTORY:
        return _quiet_at_night(hourly)
    expected = np.median(others, axis=0)
    # Correlation of the month with earlier ones after a cyclic shift back by each number of hours.
    correlations = {
        hours: float(np.corrcoef(np.roll(hourly, -hours), expected)[0, 1])
        for hours in range(-MAX_SHIFT_HOURS, MAX_SHIFT_HOURS + 1)
    }
    best = max(correlations, key=lambda hours: correlations[hours])
    fit, unshifted = correlations[best], correlations[0]
    if best == 0:
        sentence = (
            f"trips by hour of the week correlate with the {len(others)} months before by "
            f"{unshifted:.2f}, and less under any shift up to {MAX_SHIFT_HOURS} hours"
        )
        return Finding(Verdict.PASS, sentence, 0.0, 0.0, 0.0)
    comparison = (
        f"trips by hour of the week match those of the {len(others)} months before if moved "
        f"{'1 hour' if abs(best) == 1 else f'{abs(best)} hours'} "
        f"{'earlier' if best > 0 else 'later'} (correlation {fit:.2f} instead "
        f"of {unshifted:.2f})"
    )
    if fit - unshifted >= MIN_LEAD and fit >= MIN_CORRELATION:
        sentence = f"{comparison}, as if the times were not New York's (written as UTC?); {REMEDY}"
        return Finding(Verdict.FAIL, sentence, best, 0.0, 0.0)
    sentence = (
        f"{comparison}: some of the times may not be New York's (check the month before trusting "
        "models trained on it)"
    )
    return Finding(Verdict.WARN, sentence, best, 0.0, 0.0)


def _hourly_shares(month: MonthProfile) -> Shares | None:
    """Share of trips by hour of the week, Monday 0:00 first, shape (168,), with equal weight for
    each weekday; None with too few trips."""
    figures = month.figures
    if figures is None or month.kept < MIN_TRIPS:
        return None
    start = Month.parse(month.month).start
    absent = set(figures.days_without_trips)
    weekdays = [
        (start + timedelta(days=day - 1)).weekday()
        for day in range(1, Month.parse(month.month).days + 1)
        if day not in absent
    ]
    days = np.bincount(weekdays, minlength=7).clip(1)
    daily = np.asarray(figures.hour_of_week_trips).reshape(7, 24) / days[:, None]
    shares: Shares = (daily / daily.sum()).ravel()
    return shares


def _quiet_at_night(hourly: Shares) -> Finding:
    daily = hourly.reshape(7, 24).sum(axis=0)
    start = int(sum(np.roll(daily, -hour) for hour in range(QUIET_HOURS)).argmin())
    first, last = EXPECTED_QUIET_START
    shown = f"the {QUIET_HOURS} quietest hours of the day begin at {start}:00"
    if first <= start <= last:
        sentence = f"{shown}; too few earlier months to compare hour by hour"
        return Finding(Verdict.SKIP, sentence, start, first, last)
    sentence = (
        f"{shown}, in New York from {first}:00 to {last}:00: the times may be those of another "
        "time zone (UTC is 4 or 5 hours ahead); check the month before trusting models trained on "
        "it"
    )
    return Finding(Verdict.WARN, sentence, start, first, last)
