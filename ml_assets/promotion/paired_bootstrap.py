"""Paired bootstrap: whether one model is better than another on the same trips, or by chance."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

RESAMPLES = 1000
"""Enough for a 5 % tail: Efron and Tibshirani, *An Introduction to the Bootstrap* (1993), section
14.3, require at least 1,000 for a confidence limit."""

_VALUES_AT_ONCE = 4_000_000

MAX_RESAMPLED = 200_000
"""Beyond so many trips, means of a few trips each are resampled: they vary as much as their mean
does, and a month of yellow trips would take minutes."""


@dataclass(frozen=True)
class PairedDifference:
    """Difference between the RMSE of champion and challenger on the same trips, in minutes.

    Attributes:
        improvement: ``champion_rmse - challenger_rmse``; above 0 when the challenger is better.
        lower_bound: One-sided lower confidence limit of the improvement, minutes.
        confidence: Confidence level of that limit, a fraction.
        win_rate: Share of the resamples in which the challenger's RMSE was lower.
    """

    champion_rmse: float
    challenger_rmse: float
    improvement: float
    lower_bound: float
    confidence: float
    win_rate: float
    trips: int


def paired_bootstrap(
    champion: npt.ArrayLike,
    challenger: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 42,
) -> PairedDifference:
    """Compare the RMSE of two models by resampling trips, with both errors of each trip.

    Uses the percentile limits of SciPy's ``bootstrap`` with ``paired=True``.

    Args:
        champion: The champion's squared error of each trip, minutes², shape (n,).
        challenger: The challenger's, of the same trips.
        confidence: Confidence level of the lower limit, above 0 and below 1.

    Raises:
        ValueError: The lengths differ, there are fewer than two trips or values that are not
            finite, or ``confidence`` is not a fraction.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence is {confidence}: give a fraction, for example 0.95")
    before, after = (np.asarray(errors, dtype=np.float64) for errors in (champion, challenger))
    _require_comparable([before, after])
    trips = len(before)
    resampled = tuple(_means(errors) for errors in (before, after))
    found = bootstrap(
        resampled,
        _rmse_difference,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _VALUES_AT_ONCE // len(resampled[0])),
        confidence_level=confidence,
        alternative="greater",
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return PairedDifference(
        champion_rmse=float(np.sqrt(before.mean())),
        challenger_rmse=float(np.sqrt(after.mean())),
        improvement=float(_rmse_difference(before, after, axis=-1)),
        lower_bound=float(found.confidence_interval.low),
        confidence=confidence,
        win_rate=float(np.mean(found.bootstrap_distribution > 0)),
        trips=trips,
    )


def _means(errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the errors, or the means of equally many errors that are far apart in the month.

    At most ``MAX_RESAMPLED`` values; the last few trips that make no whole group are left out.
    """
    each = -(-len(errors) // MAX_RESAMPLED)
    if each == 1:
        return errors
    groups = len(errors) // each
    means: npt.NDArray[np.float64] = errors[: each * groups].reshape(each, groups).mean(axis=0)
    return means


def _rmse_difference(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], axis: int
) -> npt.NDArray[np.float64]:
    difference: npt.NDArray[np.float64] = np.sqrt(before.mean(axis=axis)) - np.sqrt(
        after.mean(axis=axis)
    )
    return difference


def _require_comparable(errors: list[npt.NDArray[np.float64]]) -> None:
    lengths = {values.shape for values in errors}
    if len(lengths) != 1 or errors[0].ndim != 1:
        shapes = ", ".join(str(values.shape) for values in errors)
        raise ValueError(f"the squared errors have the shapes {shapes}: give one a trip")
    if len(errors[0]) < 2:
        raise ValueError(f"{len(errors[0])} trips cannot be resampled: two at least are needed")
    if not all(np.isfinite(values).all() for values in errors):
        raise ValueError("squared errors must be finite numbers")
