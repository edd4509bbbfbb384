"""Data-quality rules, their findings and verdicts, and the bands that figures are expected in.

A fixed limit becomes wrong as the city changes, so every limit follows the median of up to a year
of earlier months: a band. The minimum widths of bands allow for normal variation between months
(rows by 10 %, shares by half, measured on 2023).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from statistics import median

from ml_assets.trips.quality.profile import MonthProfile

HISTORY_MONTHS = 12
"""Number of earlier months, the nearest ones, that define a band: every season once."""

MIN_HISTORY = 3
"""With fewer earlier months there is no band."""

_MAD_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation of a normal distribution."""

_SIGMAS = 6.0


@dataclass(frozen=True)
class Band:
    """Limits computed from earlier months, both included, and their center."""

    lower: float
    center: float
    upper: float

    def __contains__(self, value: float) -> bool:
        return self.lower <= value <= self.upper


def ratio_band(earlier: Sequence[float], min_factor: float, max_factor: float) -> Band | None:
    """Compute a multiplicative band around the median, for counts and other figures above 0.

    Args:
        earlier: The figure in earlier months; values that are not above 0 are ignored.
        min_factor: The band includes ``median / min_factor`` to ``median * min_factor``.
        max_factor: The band is within ``median / max_factor`` to ``median * max_factor``.

    Returns:
        The band; its half-width is six robust standard deviations of the logarithms, within these
        limits. None with fewer than ``MIN_HISTORY`` months.
    """
    values = [value for value in earlier if value > 0]
    if len(values) < MIN_HISTORY:
        return None
    center = median(values)
    deviation = median(abs(math.log(value / center)) for value in values)
    factor = min(max(math.exp(_SIGMAS * _MAD_TO_SIGMA * deviation), min_factor), max_factor)
    return Band(center / factor, center, center * factor)


def share_band(
    earlier: Sequence[float], factor: float, slack: float, vanishing: float = 1.0
) -> Band | None:
    """Compute a band for a share: up to ``factor`` times the median, or ``slack`` above it.

    Args:
        earlier: The share in earlier months.
        factor: Allowed multiple of the median.
        slack: Increase that is always allowed.
        vanishing: If the median is above this, the share may not fall below a fifth of the median.

    Returns:
        The band; None with fewer than ``MIN_HISTORY`` months.
    """
    if len(earlier) < MIN_HISTORY:
        return None
    center = median(earlier)
    lower = center / 5 if center > vanishing else 0.0
    return Band(lower, center, max(center * factor, center + slack))


class Verdict(IntEnum):
    """Result of a rule for a month, from best to worst."""

    PASS = 0
    SKIP = 1
    """Nothing to compare with yet, or nothing to measure."""
    WARN = 2
    """Reported, but still used for training."""
    FAIL = 3
    """Training on this month would be worse than training without it."""


@dataclass(frozen=True)
class Finding:
    """The result of one rule for one month, with the figure that was checked and its limits.

    Attributes:
        sentence: Explanation, without the month's name, to follow it after a colon.
    """

    verdict: Verdict
    sentence: str
    value: float | None = None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Rule:
    """A requirement on every month.

    Attributes:
        check: Function of the month and the earlier months, in order; returns the finding. Its
            name is that of the asset check.
        description: The requirement, in one sentence.
        table: The checked table: ``raw_trips``, ``trip_features`` or ``rejected_trips``.
        blocking: Whether it can fail a month; it is then a blocking check.
    """

    check: Callable[[MonthProfile, Sequence[MonthProfile]], Finding]
    description: str
    table: str = "trip_features"
    blocking: bool = True

    @property
    def name(self) -> str:
        """Name of the check."""
        return self.check.__name__


def within(value: float, band: Band | None, what: str, unit: str = "{:.1%}") -> Finding:
    """Check one figure against its band: WARN outside, SKIP without a band.

    Args:
        what: Name of the figure in the sentence.
        unit: Format of figures.
    """
    shown = unit.format(value)
    if band is None:
        sentence = f"{what} {shown}; too few earlier months to compare"
        return Finding(Verdict.SKIP, sentence, value)
    limits = f"{unit.format(band.lower)} to {unit.format(band.upper)}"
    if value in band:
        return Finding(
            Verdict.PASS, f"{what} {shown}, expected {limits}", value, band.lower, band.upper
        )
    sentence = (
        f"{what} {shown}, outside the expected {limits} (check the month before trusting models "
        "trained on it)"
    )
    return Finding(Verdict.WARN, sentence, value, band.lower, band.upper)


def worst(findings: Sequence[Finding]) -> Finding:
    """Return the worst of several findings; equal warnings or failures are joined to one."""
    level = max(finding.verdict for finding in findings)
    chosen = [finding for finding in findings if finding.verdict == level]
    if level < Verdict.WARN or len(chosen) == 1:
        return chosen[0]
    first = chosen[0]
    sentence = "; ".join(finding.sentence for finding in chosen)
    return Finding(level, sentence, first.value, first.lower, first.upper)
