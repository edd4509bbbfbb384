"""Bands learned from earlier months: what is usual, and how far a month may stray from it.

A fixed number misfires as the city changes, so every limit follows the median of up to a year of
earlier months. Months move by themselves (rows by 10 %, shares by half, measured on 2023), which
the least widths below leave room for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

HISTORY_MONTHS = 12
"""So many earlier months, the nearest ones, tell what is usual: every season once."""

MIN_HISTORY = 3
"""With fewer months nothing is usual yet."""

_MAD_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation of a normal distribution."""

_SIGMAS = 6.0


@dataclass(frozen=True)
class Band:
    """Limits learned from earlier months, both included."""

    lower: float
    usual: float
    upper: float

    def __contains__(self, value: float) -> bool:
        return self.lower <= value <= self.upper


def ratio_band(earlier: Sequence[float], least: float, most: float) -> Band | None:
    """A band of factors around the median: for counts and other figures above 0.

    Args:
        earlier: The figure in earlier months; those that are not above 0 count for nothing.
        least: The band reaches at least from ``median / least`` to ``median * least``.
        most: And at most from ``median / most`` to ``median * most``.

    Returns:
        The band; its width is six robust standard deviations of the logarithms, within those
        limits. None with fewer than ``MIN_HISTORY`` months.
    """
    values = [value for value in earlier if value > 0]
    if len(values) < MIN_HISTORY:
        return None
    usual = median(values)
    deviation = median(abs(math.log(value / usual)) for value in values)
    factor = min(max(math.exp(_SIGMAS * _MAD_TO_SIGMA * deviation), least), most)
    return Band(usual / factor, usual, usual * factor)


def share_band(
    earlier: Sequence[float], factor: float, slack: float, vanishing: float = 1.0
) -> Band | None:
    """A band for a share: up to ``factor`` times the median, or ``slack`` above it if that is more.

    Args:
        earlier: The share in earlier months.
        factor: How many times the usual share is still usual.
        slack: A rise by so much is always usual.
        vanishing: A share that is usually above this may not fall below a fifth of the median.

    Returns:
        The band; None with fewer than ``MIN_HISTORY`` months.
    """
    if len(earlier) < MIN_HISTORY:
        return None
    usual = median(earlier)
    lower = usual / 5 if usual > vanishing else 0.0
    return Band(lower, usual, max(usual * factor, usual + slack))
