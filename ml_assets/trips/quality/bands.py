"""Bands: expected ranges of figures, computed from earlier months.

A fixed limit becomes wrong as the city changes, so every limit follows the median of up to a year
of earlier months. The minimum widths below allow for normal variation between months (rows by 10 %,
shares by half, measured on 2023).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

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
