"""Prediction intervals: how far a trip may last from what was predicted, calibrated on trips.

Split conformal prediction (Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World")
takes the quantiles of what a model erred on trips that it had not seen. A long ride errs more than
a short one, so the quantiles are taken apart for trips of like predicted minutes, which is Mondrian
conformal regression (Boström & Johansson 2020, "Mondrian conformal regressors", PMLR 128). Both
tails are cut apart, since durations lean to the right.

Measured on green trips (fitted on 2023-01 to 03, calibrated on 04, judged on 05), nominal 80 %: it
held 80.0 % of all trips and 79 to 81 % of each fifth of the predictions, 7.96 minutes wide on
average. One quantile for all held 44 to 96 % by bin; conformalized quantile regression (Romano,
Patterson & Candès 2019, NeurIPS 32) with boosted quantiles held 78.7 %, and 64 to 85 % by bin.

Needs NumPy only, since the prediction service loads it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from ml_assets.trips.rules import LONGEST_MINUTES, SHORTEST_MINUTES

NOMINAL = 0.8
BINS = 20
MIN_RESIDUALS = 50
"""Of a bin: its tenth and ninetieth percent are then its fifth residuals from either end."""

Minutes = npt.NDArray[np.float64]


class PredictionIntervals:
    """What to add to predicted minutes for the lower and the upper bound, by predicted minutes.

    A plain class of arrays, which skops stores with the pipeline and rebuilds by name.

    Args:
        nominal: Share of trips that the intervals are to hold.
        edges: Predicted minutes between the bins, ascending, shape (k - 1,); each belongs to the
            bin below it.
        below: Added for the lower bound, minutes, shape (k,); minus infinity where too few trips
            were seen to tell.
        above: Added for the upper bound, minutes, shape (k,); infinity likewise.
        residuals: How many residuals each bin was calibrated on, shape (k,).
    """

    def __init__(
        self,
        nominal: float,
        edges: Minutes,
        below: Minutes,
        above: Minutes,
        residuals: npt.NDArray[np.int64],
    ) -> None:
        self.nominal = nominal
        self.edges = edges
        self.below = below
        self.above = above
        self.residuals = residuals

    def bounds(self, minutes: npt.ArrayLike) -> tuple[Minutes, Minutes]:
        """Lower and upper bound of each prediction, in its shape.

        Args:
            minutes: Predicted; any shape.

        Returns:
            Lower ≤ minutes ≤ upper, within what a kept trip can last (1 to 60 minutes) as far as
            the prediction itself is. Where the prediction is NaN, so are they.
        """
        predicted = np.asarray(minutes, dtype=np.float64)
        of_bin = np.searchsorted(self.edges, predicted)
        possible = np.clip(predicted, SHORTEST_MINUTES, LONGEST_MINUTES)
        lower = np.clip(possible + self.below[of_bin], SHORTEST_MINUTES, LONGEST_MINUTES)
        upper = np.clip(possible + self.above[of_bin], SHORTEST_MINUTES, LONGEST_MINUTES)
        return np.minimum(lower, predicted), np.maximum(upper, predicted)


def calibrate(
    predicted: npt.ArrayLike,
    actual: npt.ArrayLike,
    nominal: float = NOMINAL,
    bins: int = BINS,
) -> PredictionIntervals:
    """Learn the intervals of a model from trips that it was not fitted on.

    Of the n residuals of a bin, the bounds are those of rank ⌊(n + 1) (1 - nominal) / 2⌋ and
    ⌈(n + 1) (1 + nominal) / 2⌉, which makes up for n being finite: a new trip of the bin that is
    exchangeable with them is held with a probability of at least ``nominal``.

    Args:
        predicted: Minutes, shape (n,).
        actual: Durations in minutes, in the same order.
        nominal: Share of trips to hold, above 0 and below 1.
        bins: Of so many bins each has as many trips as the others; fewer where a bin would have
            less than ``MIN_RESIDUALS``. Equal predictions are never parted.

    Raises:
        ValueError: when the two differ in shape, are empty or hold NaN or infinity; or when
            ``nominal`` or ``bins`` is out of its range.
    """
    minutes, durations = _checked(predicted, actual)
    if not 0 < nominal < 1:
        raise ValueError(f"nominal is {nominal}: give a share above 0 and below 1, such as 0.8")
    if bins < 1:
        raise ValueError(f"bins is {bins}: give 1 or more")
    edges = _edges(minutes, bins)
    of_bin = np.searchsorted(edges, minutes)
    residuals = [np.sort((durations - minutes)[of_bin == at]) for at in range(len(edges) + 1)]
    below, above = zip(*(_quantiles(found, nominal) for found in residuals), strict=True)
    counts = np.array([len(found) for found in residuals], dtype=np.int64)
    return PredictionIntervals(nominal, edges, np.array(below), np.array(above), counts)


def get_intervals(pipeline: Any) -> PredictionIntervals | None:
    """The intervals that a pipeline keeps in its last step; None when it keeps none.

    Models that were registered before there were intervals have none, nor has a clone.
    """
    found: PredictionIntervals | None = getattr(pipeline[-1], "intervals_", None)
    return found


def attach_intervals(pipeline: Pipeline, intervals: PredictionIntervals | None) -> None:
    """Keep intervals in the last step of a fitted pipeline, to be stored with it."""
    pipeline[-1].intervals_ = intervals


def interval_bounds(pipeline: Any, minutes: npt.ArrayLike) -> tuple[Minutes, Minutes] | None:
    """Lower and upper bounds of what a pipeline predicted, as ``PredictionIntervals.bounds``.

    Args:
        pipeline: Fitted, of this project.
        minutes: Its predictions.

    Returns:
        None for a pipeline without intervals.
    """
    intervals = get_intervals(pipeline)
    return None if intervals is None else intervals.bounds(minutes)


def _checked(predicted: npt.ArrayLike, actual: npt.ArrayLike) -> tuple[Minutes, Minutes]:
    minutes = np.asarray(predicted, dtype=np.float64)
    durations = np.asarray(actual, dtype=np.float64)
    if minutes.ndim != 1 or minutes.shape != durations.shape:
        raise ValueError(
            f"predicted has shape {minutes.shape}, actual {durations.shape}: both must be of the "
            "same trips, one number a trip"
        )
    if not len(minutes):
        raise ValueError("there is no trip to calibrate intervals on: ingest the tuning month")
    if not (np.isfinite(minutes).all() and np.isfinite(durations).all()):
        raise ValueError("predicted or actual minutes hold NaN or infinity: clean them first")
    return minutes, durations


def _edges(minutes: Minutes, bins: int) -> Minutes:
    """Between bins of equal counts: halfway to the next prediction, so that last bits part none."""
    ordered, trips = np.sort(minutes), len(minutes)
    wanted = max(1, min(bins, trips // MIN_RESIDUALS))
    last_of_bin = ordered[np.arange(1, wanted) * trips // wanted - 1]
    ends: list[int] = []
    for end in np.searchsorted(ordered, last_of_bin, side="right"):
        in_bin, left = end - (ends[-1] if ends else 0), trips - end
        if min(in_bin, left) >= MIN_RESIDUALS:
            ends.append(int(end))
    first_after = np.array(ends, dtype=np.int64)
    return ordered[first_after - 1] / 2 + ordered[first_after] / 2


def _quantiles(residuals: Minutes, nominal: float) -> tuple[float, float]:
    """Of sorted residuals; infinite where the rank lies beyond them."""
    ranks = (len(residuals) + 1) * (1 + np.array([-nominal, nominal])) / 2
    # 51 × 0.1 in binary is a little less than 5.1, and 50 × 0.1 may be less than 5.
    low, high = int(np.floor(ranks[0] + 1e-9)), int(np.ceil(ranks[1] - 1e-9))
    below = float(residuals[low - 1]) if low >= 1 else -np.inf
    above = float(residuals[high - 1]) if high <= len(residuals) else np.inf
    return below, above
