"""Conformal prediction intervals of the predicted minutes.

Split conformal prediction (Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World")
uses the quantiles of a model's residuals on unseen trips. Errors grow with the duration, so the
quantiles are computed by bins of predicted minutes: Mondrian conformal regression (Boström &
Johansson 2020, "Mondrian conformal regressors", PMLR 128). The two tails have separate quantiles,
since durations are skewed to the right.

Measured on green trips (fitted on 2023-01 to 03, calibrated on 04, tested on 05), nominal coverage
80 %: the coverage was 80.0 % of all trips and 79 to 81 % of each fifth of the predictions, with a
mean width of 7.96 minutes. Zone pairs without training trips are a category of their own, since
their errors are larger. A single quantile for all trips covered 44 to 96 % by bin; conformalized
quantile regression (Romano, Patterson & Candès 2019, NeurIPS 32) with boosted quantiles covered
78.7 %, and 64 to 85 % by bin.

Needs NumPy only, since the prediction service loads it.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml_assets.trips.request_columns import ZONE_CODES
from ml_assets.trips.target import TARGET

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

NOMINAL = 0.8
BINS = 20
MIN_RESIDUALS = 50
"""Minimum residuals of a bin: the 10th and 90th percentiles are the fifth residuals from either
end."""

MIN_UNSEEN = 200
"""Minimum trips of unseen zone pairs for intervals of their own, and of each of their bins: they
are few, and a bin of 50 covers 2 points too many, since ranks are rounded outwards."""

MIN_BLOCKS = 3
MIN_BLOCK_TRIPS = 5_000
MAX_MARGIN = 0.03
"""Bounds of :func:`drift_margin`: in green weeks of 2023 the coverage has a standard deviation of
0.4 to 1.7 points, and 5,000 trips alone one of 0.6."""

Minutes = npt.NDArray[np.float64]


class PredictionIntervals:
    """Offsets of the lower and upper bounds, by bins of predicted minutes.

    A plain class of arrays, which skops stores with the pipeline and restores by name.

    Args:
        nominal: Nominal coverage, a share of trips.
        edges: Predicted minutes between the bins, ascending, shape (k - 1,); an edge belongs to the
            bin below it.
        below: Offset of the lower bound, minutes, shape (k,); minus infinity in a bin with too few
            trips.
        above: Offset of the upper bound, minutes, shape (k,); infinity in a bin with too few trips.
        residuals: Number of calibration residuals by bin, shape (k,).
        unseen: Intervals of zone pairs without training trips; None means the same ones.
    """

    unseen: "PredictionIntervals | None" = None  # models stored before have none

    def __init__(
        self,
        nominal: float,
        edges: Minutes,
        below: Minutes,
        above: Minutes,
        residuals: npt.NDArray[np.int64],
        unseen: "PredictionIntervals | None" = None,
    ) -> None:
        self.nominal = nominal
        self.edges = edges
        self.below = below
        self.above = above
        self.residuals = residuals
        self.unseen = unseen

    @property
    def calibrated_rows(self) -> int:
        """Number of trips that the intervals were calibrated on."""
        of_unseen = 0 if self.unseen is None else self.unseen.calibrated_rows
        return int(self.residuals.sum()) + of_unseen

    def bounds(
        self, minutes: npt.ArrayLike, seen: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Minutes, Minutes]:
        """Compute the lower and upper bound of each prediction.

        Args:
            minutes: Predicted minutes, any shape.
            seen: Whether training trips have the zone pair, same shape; None means all.

        Returns:
            Bounds of the same shape with lower ≤ minutes ≤ upper, within the range of the target (1
            to 60 minutes) if the prediction is; NaN where the prediction is NaN.
        """
        if self.unseen is not None and seen is not None and not seen.all():
            both = zip(self.bounds(minutes), self.unseen.bounds(minutes), strict=True)
            lower, upper = (np.where(seen, *sides) for sides in both)
            return lower, upper
        predicted = np.asarray(minutes, dtype=np.float64)
        of_bin = np.searchsorted(self.edges, predicted)
        possible = np.clip(predicted, TARGET.lower, TARGET.upper)
        lower = np.clip(possible + self.below[of_bin], TARGET.lower, TARGET.upper)
        upper = np.clip(possible + self.above[of_bin], TARGET.lower, TARGET.upper)
        return np.minimum(lower, predicted), np.maximum(upper, predicted)


def calibrate(
    predicted: npt.ArrayLike,
    actual: npt.ArrayLike,
    nominal: float = NOMINAL,
    bins: int = BINS,
    margin: float = 0.0,
) -> PredictionIntervals:
    """Calibrate the intervals of a model on trips that it was not fitted on.

    The bounds of a bin with n residuals are those of rank ⌊(n + 1) (1 - nominal) / 2⌋ and
    ⌈(n + 1) (1 + nominal) / 2⌉, the finite-sample correction: a new exchangeable trip of the bin is
    covered with a probability of at least ``nominal``.

    Args:
        predicted: Predicted minutes, shape (n,).
        actual: Actual minutes in the same order, shape (n,).
        nominal: Nominal coverage, above 0 and below 1.
        bins: Maximum number of bins of equal counts; fewer if a bin would have less than
            ``MIN_RESIDUALS``. Equal predictions share a bin.
        margin: Share of calibration trips covered beyond ``nominal``, see :func:`drift_margin`.

    Raises:
        ValueError: The two differ in shape, are empty or have NaN or infinite values, or
            ``nominal``, with or without ``margin``, or ``bins`` is out of range.
    """
    minutes, durations = _checked(predicted, actual)
    if not 0 < nominal <= nominal + margin < 1:
        raise ValueError(f"nominal is {nominal}: must be a share above 0 and below 1, such as 0.8")
    if bins < 1:
        raise ValueError(f"bins is {bins}: must be 1 or more")
    edges = _edges(minutes, bins)
    of_bin = np.searchsorted(edges, minutes)
    residuals = [np.sort((durations - minutes)[of_bin == at]) for at in range(len(edges) + 1)]
    below, above = zip(*(_quantiles(found, nominal + margin) for found in residuals), strict=True)
    counts = np.array([len(found) for found in residuals], dtype=np.int64)
    return PredictionIntervals(nominal, edges, np.array(below), np.array(above), counts)


def calibrate_pairs(
    predicted: Minutes,
    actual: Minutes,
    seen: npt.NDArray[np.bool_],
    nominal: float = NOMINAL,
    margin: float = 0.0,
) -> PredictionIntervals:
    """Calibrate zone pairs with and without training trips apart, see :func:`calibrate`.

    Args:
        seen: Whether training trips have the trip's zone pair, shape (n,). With fewer than
            ``MIN_UNSEEN`` trips of one kind, all are calibrated together.
    """
    bins = min(BINS, int(np.count_nonzero(~seen)) // MIN_UNSEEN)
    if bins == 0 or np.count_nonzero(seen) < MIN_UNSEEN:
        return calibrate(predicted, actual, nominal, margin=margin)
    intervals = calibrate(predicted[seen], actual[seen], nominal, margin=margin)
    intervals.unseen = calibrate(predicted[~seen], actual[~seen], nominal, bins, margin)
    return intervals


def drift_margin(
    predicted: npt.ArrayLike, actual: npt.ArrayLike, blocks: npt.ArrayLike, nominal: float = NOMINAL
) -> float:
    """Estimate how much coverage varies in time: the margin for trips that come later.

    Each block of the calibration trips is covered by intervals of the others (a delete-one-block
    jackknife, Künsch 1989, Annals of Statistics 17). The margin is the standard deviation of that
    coverage between blocks, without the part that is due to the number of trips. Trips of a later
    block are not exchangeable with those of the calibration month; for an exact guarantee over
    whole blocks, many more of them would be needed (Dunn, Wasserman & Ramdas 2023, JASA 118).

    Args:
        predicted: Predicted minutes, shape (n,).
        actual: Actual minutes, shape (n,).
        blocks: Block of each trip, such as its week, shape (n,).

    Returns:
        A share from 0 to ``MAX_MARGIN``; 0 with fewer than 3 blocks of ``MIN_BLOCK_TRIPS``.
    """
    minutes, durations = _checked(predicted, actual)
    block, trips = np.asarray(blocks), []
    coverage = []
    for each in np.unique(block):
        inside = block == each
        if np.count_nonzero(inside) < MIN_BLOCK_TRIPS or inside.all():
            continue
        lower, upper = calibrate(minutes[~inside], durations[~inside], nominal).bounds(
            minutes[inside]
        )
        covered = (lower <= durations[inside]) & (durations[inside] <= upper)
        coverage.append(covered.mean())
        trips.append(len(covered))
    if len(coverage) < MIN_BLOCKS:
        return 0.0
    sampling = nominal * (1 - nominal) * np.mean(1 / np.array(trips))
    between = np.var(coverage, ddof=1) - sampling
    return float(min(np.sqrt(max(between, 0.0)), MAX_MARGIN))


def get_intervals(pipeline: Any) -> PredictionIntervals | None:
    """Return the intervals stored in a pipeline's last step; None without any.

    Old registered models and clones have none.
    """
    intervals: PredictionIntervals | None = getattr(pipeline[-1], "intervals_", None)
    return intervals


def get_usual_intervals(pipeline: Any) -> PredictionIntervals | None:
    """Return the intervals of predictions without a stated distance; None without any.

    Models registered before these were calibrated apart have none.
    """
    intervals: PredictionIntervals | None = getattr(pipeline[-1], "usual_intervals_", None)
    return intervals


def attach_seen_pairs(
    pipeline: "Pipeline", pickup: npt.NDArray[np.int64], dropoff: npt.NDArray[np.int64]
) -> None:
    """Store the zone pairs of all trips of a fit's months, sampled or not, for its intervals."""
    seen = np.zeros(ZONE_CODES * ZONE_CODES, dtype=bool)
    seen[pickup * ZONE_CODES + dropoff] = True
    pipeline[-1].seen_pairs_ = seen


def seen_pairs(
    pipeline: Any, pickup: npt.NDArray[Any], dropoff: npt.NDArray[Any]
) -> npt.NDArray[np.bool_] | None:
    """Return whether the months of a pipeline's fit have trips of each zone pair, shape (n,).

    Args:
        pickup: Pick-up zones, 1 to 265, shape (n,).
        dropoff: Drop-off zones, 1 to 265, shape (n,).

    Returns:
        None for a pipeline that was stored before they were recorded.
    """
    seen: npt.NDArray[np.bool_] | None = getattr(pipeline[-1], "seen_pairs_", None)
    return None if seen is None else seen[pickup.astype(np.intp) * ZONE_CODES + dropoff]


def attach_intervals(
    pipeline: "Pipeline",
    intervals: PredictionIntervals | None,
    usual: PredictionIntervals | None = None,
) -> None:
    """Store intervals in the last step of a fitted pipeline.

    Args:
        intervals: Those of predictions with a stated distance.
        usual: Those of predictions without one; None means the same intervals.
    """
    pipeline[-1].intervals_ = intervals
    pipeline[-1].usual_intervals_ = usual


def copy_intervals(source: Any, pipeline: "Pipeline") -> None:
    """Store the intervals of another pipeline in a fitted pipeline."""
    attach_intervals(pipeline, get_intervals(source), get_usual_intervals(source))


def interval_bounds(
    pipeline: Any,
    minutes: npt.ArrayLike,
    stated: npt.NDArray[np.bool_] | None = None,
    seen: npt.NDArray[np.bool_] | None = None,
) -> tuple[Minutes, Minutes] | None:
    """Compute the bounds of a pipeline's predictions, minutes; None for one without intervals.

    Args:
        minutes: Predicted minutes, shape (n,).
        stated: Whether the distance of each request was stated, see
            ``requests.parse.states_distance``; None means all.
        seen: Whether training trips have the zone pair, see :func:`seen_pairs`; None means all.
    """
    intervals, usual = get_intervals(pipeline), get_usual_intervals(pipeline)
    if intervals is None:
        return None
    if usual is None or stated is None or stated.all():
        return intervals.bounds(minutes, seen)
    if not stated.any():
        return usual.bounds(minutes, seen)
    both = zip(intervals.bounds(minutes, seen), usual.bounds(minutes, seen), strict=True)
    lower, upper = (np.where(stated, of_stated, of_usual) for of_stated, of_usual in both)
    return lower, upper


def _checked(predicted: npt.ArrayLike, actual: npt.ArrayLike) -> tuple[Minutes, Minutes]:
    minutes = np.asarray(predicted, dtype=np.float64)
    durations = np.asarray(actual, dtype=np.float64)
    if minutes.ndim != 1 or minutes.shape != durations.shape:
        raise ValueError(
            f"predicted has shape {minutes.shape}, actual {durations.shape}: both must have one "
            "number per trip for the same trips"
        )
    if not len(minutes):
        raise ValueError("no trip to calibrate intervals on: ingest the validation month")
    if not (np.isfinite(minutes).all() and np.isfinite(durations).all()):
        raise ValueError("predicted or actual minutes have NaN or infinity: clean them first")
    return minutes, durations


def _edges(minutes: Minutes, bins: int) -> Minutes:
    """Return the edges of bins of equal counts.

    An edge is halfway between two predictions, so that the last bit of a prediction does not change
    its bin.
    """
    ordered, trips = np.sort(minutes), len(minutes)
    count = max(1, min(bins, trips // MIN_RESIDUALS))
    last_of_bin = ordered[np.arange(1, count) * trips // count - 1]
    ends: list[int] = []
    for end in np.searchsorted(ordered, last_of_bin, side="right"):
        in_bin, left = end - (ends[-1] if ends else 0), trips - end
        if min(in_bin, left) >= MIN_RESIDUALS:
            ends.append(int(end))
    first_after = np.array(ends, dtype=np.int64)
    return ordered[first_after - 1] / 2 + ordered[first_after] / 2


def _quantiles(residuals: Minutes, nominal: float) -> tuple[float, float]:
    """Return both quantiles of sorted residuals, infinite where the rank is out of range."""
    ranks = (len(residuals) + 1) * (1 + np.array([-nominal, nominal])) / 2
    # The tolerance is for binary rounding: 50 × 0.1 may be slightly less than 5.
    low, high = int(np.floor(ranks[0] + 1e-9)), int(np.ceil(ranks[1] - 1e-9))
    below = float(residuals[low - 1]) if low >= 1 else -np.inf
    above = float(residuals[high - 1]) if high <= len(residuals) else np.inf
    return below, above
