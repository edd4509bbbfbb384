"""Baselines that a model must beat: three simple rules.

Each is a scikit-learn regressor that takes the frame of requests, so that it is fitted, measured
and listed like a model.
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
    """Predict the mean training duration for every trip.

    Attributes:
        mean_: Mean duration of the training trips, minutes.
    """

    mean_: float

    def fit(self, X: pd.DataFrame, y: npt.ArrayLike) -> Self:
        """Learn the mean of ``y``, minutes, shape (rows,); ``X`` only gives the row count."""
        self.mean_ = float(np.mean(_durations(X, y)))
        return self

    def predict(self, X: pd.DataFrame) -> Minutes:
        """Return the mean for each row of ``X``, minutes, shape (rows,)."""
        check_is_fitted(self)
        return np.full(len(X), self.mean_)


class MedianPerPair(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predict the median duration of the training trips between the same two zones.

    An unseen pair gets the median of all training trips.

    Attributes:
        pairs_: Sorted ``pair_codes`` seen in training, shape (pairs,).
        medians_: Median duration of each pair, minutes, shape (pairs,).
        median_: Median of all training trips, minutes.
    """

    pairs_: npt.NDArray[np.int64]
    medians_: Minutes
    median_: float

    def fit(self, X: pd.DataFrame, y: npt.ArrayLike) -> Self:
        """Learn the medians.

        Args:
            X: ``PULocationID`` and ``DOLocationID``, one row per trip.
            y: Durations in minutes, shape (rows,).
        """
        durations = pd.Series(_durations(X, y))
        by_pair = durations.groupby(pair_codes(X)).median()
        self.pairs_ = by_pair.index.to_numpy(dtype=np.int64)
        self.medians_ = np.asarray(by_pair, dtype=np.float64)
        self.median_ = float(durations.median())
        return self

    def predict(self, X: pd.DataFrame) -> Minutes:
        """Return the median of each row's pair, or of all trips, minutes, shape (rows,)."""
        check_is_fitted(self)
        codes = pair_codes(X)
        position = np.searchsorted(self.pairs_, codes).clip(max=len(self.pairs_) - 1)
        return np.where(self.pairs_[position] == codes, self.medians_[position], self.median_)


class DistanceLine(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predict the duration from the distance: simple linear regression.

    Published distances reach 201,421 miles, and a single such outlier would determine the slope.
    Distances are therefore clipped to between 0 and a quantile of the training distances, in
    ``fit`` and in ``predict``. A missing distance counts as the mean one.

    Args:
        limit_quantile: Quantile of the training distances at which distances are clipped.

    Attributes:
        limit_: The clipping distance, miles.
        mean_distance_: Mean clipped distance in training, miles.
        mean_duration_: Mean duration in training, minutes: the line's value at the mean distance.
        slope_: Minutes per mile; 0 when all training distances are equal.
    """

    limit_: float
    mean_distance_: float
    mean_duration_: float
    slope_: float

    def __init__(self, limit_quantile: float = 0.999) -> None:
        self.limit_quantile = limit_quantile

    def fit(self, X: pd.DataFrame, y: npt.ArrayLike) -> Self:
        """Fit the line.

        Args:
            X: ``trip_distance`` in miles, one row per trip.
            y: Durations in minutes, shape (rows,).

        Raises:
            ValueError: No row has a finite ``trip_distance``.
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
        """Return the minutes at each row's clipped ``trip_distance``, shape (rows,)."""
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
"""Constructor of each baseline by its name on the leaderboard."""


def _durations(X: pd.DataFrame, y: npt.ArrayLike) -> Minutes:
    """Return ``y`` as floats; raise ValueError if empty or not one value per row of ``X``."""
    durations = np.asarray(y, dtype=np.float64)
    if durations.shape != (len(X),) or not len(durations):
        raise ValueError(
            f"y has shape {durations.shape} for {len(X)} rows: pass one duration per trip and at "
            "least one trip"
        )
    return durations
