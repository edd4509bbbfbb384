"""What a model must beat: three rules that anybody could apply without machine learning.

Each is a scikit-learn regressor that takes the request frame itself, so that it is fitted,
measured, stored and listed exactly as the model families are.
"""

from collections.abc import Callable
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ml_assets.evaluation.metrics import pair_codes

Minutes = npt.NDArray[np.float64]


class GlobalMean(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Every trip lasts as long as the average one.

    Attributes:
        mean_: average duration of the training trips, minutes.
    """

    mean_: float

    def fit(self, X: pd.DataFrame, y: npt.ArrayLike) -> Self:
        """Learn the mean of ``y``, minutes, shape (rows,); ``X`` only gives the row count."""
        self.mean_ = float(np.mean(_durations(X, y)))
        return self

    def predict(self, X: pd.DataFrame) -> Minutes:
        """The mean for each row of ``X``, minutes, shape (rows,)."""
        check_is_fitted(self)
        return np.full(len(X), self.mean_)


class MedianPerPair(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A trip lasts as long as the median trip between the same two zones.

    A pair that training never saw gets the median of all training trips.

    Attributes:
        pairs_: sorted ``pair_codes`` seen in training, shape (pairs,).
        medians_: median duration of each, minutes, shape (pairs,).
        median_: median of all training trips, minutes.
    """

    pairs_: npt.NDArray[np.int64]
    medians_: Minutes
    median_: float

    def fit(self, X: pd.DataFrame, y: npt.ArrayLike) -> Self:
        """Learn the medians.

        Args:
            X: ``PULocationID`` and ``DOLocationID``, one row a trip.
            y: durations in minutes, shape (rows,).
        """
        durations = pd.Series(_durations(X, y))
        by_pair = durations.groupby(pair_codes(X)).median()
        self.pairs_ = by_pair.index.to_numpy(dtype=np.int64)
        self.medians_ = np.asarray(by_pair, dtype=np.float64)
        self.median_ = float(durations.median())
        return self

    def predict(self, X: pd.DataFrame) -> Minutes:
        """The median of each row's pair, or of all trips, minutes, shape (rows,)."""
        check_is_fitted(self)
        codes = pair_codes(X)
        position = np.searchsorted(self.pairs_, codes).clip(max=len(self.pairs_) - 1)
        return np.where(self.pairs_[position] == codes, self.medians_[position], self.median_)


class DistanceLine(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A trip takes some minutes to start and then so many a mile: least squares on distance.

    Published distances reach 201,421 miles, and one such row would turn the line on its own. So
    distances are limited to between 0 and a quantile of the training distances, in ``fit`` and
    in ``predict`` alike. A missing distance counts as the average one.

    Args:
        limit_quantile: distances above this quantile of the training ones count as that long.

    Attributes:
        limit_: the longest distance that counts, miles.
        mean_distance_: average limited distance in training, miles.
        mean_duration_: average duration in training, minutes: the line's value there.
        slope_: minutes a mile; 0 when all training distances are the same.
    """

    limit_: float
    mean_distance_: float
    mean_duration_: float
    slope_: float

    def __init__(self, limit_quantile: float = 0.999) -> None:
        self.limit_quantile = limit_quantile

    def fit(self, X: pd.DataFrame, y: npt.ArrayLike) -> Self:
        """Learn the line.

        Args:
            X: ``trip_distance`` in miles, one row a trip.
            y: durations in minutes, shape (rows,).

        Raises:
            ValueError: when no row has a finite ``trip_distance``.
        """
        durations = _durations(X, y)
        distance: Minutes = X["trip_distance"].to_numpy(dtype=np.float64)
        known = np.isfinite(distance)
        if not known.any():
            raise ValueError(f"trip_distance is missing or infinite in all {len(X)} rows")
        distance, durations = distance[known], durations[known]
        self.limit_ = max(float(np.quantile(distance, self.limit_quantile)), 0.0)
        distance = distance.clip(0.0, self.limit_)
        self.mean_distance_ = float(distance.mean())
        self.mean_duration_ = float(durations.mean())
        centred = distance - self.mean_distance_
        differ = distance.max() > distance.min()
        self.slope_ = float(centred @ durations / (centred @ centred)) if differ else 0.0
        return self

    def predict(self, X: pd.DataFrame) -> Minutes:
        """The line's minutes at each row's limited ``trip_distance``, shape (rows,)."""
        check_is_fitted(self)
        distance = X["trip_distance"].to_numpy(dtype=np.float64)
        limited = distance.clip(0.0, self.limit_)
        limited = np.where(np.isnan(distance), self.mean_distance_, limited)
        return self.mean_duration_ + self.slope_ * (limited - self.mean_distance_)


BASELINES: dict[str, Callable[[], BaseEstimator]] = {
    "global_mean": GlobalMean,
    "median_per_pair": MedianPerPair,
    "distance_line": DistanceLine,
}
"""Name on the leaderboard to what makes a fresh, unfitted baseline."""


def _durations(X: pd.DataFrame, y: npt.ArrayLike) -> Minutes:
    """``y`` as floats; ValueError when it is empty or has not one value per row of ``X``."""
    durations = np.asarray(y, dtype=np.float64)
    if durations.shape != (len(X),) or not len(durations):
        raise ValueError(
            f"y has shape {durations.shape} for {len(X)} rows: one duration a trip is needed, "
            "and at least one trip"
        )
    return durations
