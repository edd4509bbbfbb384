"""What surrounds an estimator: predictions kept inside what a kept trip can last."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone

from ml_assets.pipeline.background_sample import BackgroundSample
from ml_assets.pipeline.conformal_intervals import PredictionIntervals
from ml_assets.trips.rules import LONGEST_MINUTES, SHORTEST_MINUTES


class BoundedRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Clip the predictions of ``regressor`` to the range of the target.

    Only trips of 1 to 60 minutes are kept, so nothing else can be right; an unbounded linear model
    answers hours, or less than nothing, for a far or absurd request.

    Args:
        regressor: any regressor; it is cloned and the clone is fitted.
        lower: least minutes ever predicted.
        upper: most minutes ever predicted.

    Attributes:
        regressor_: the fitted clone.
        intervals_: bounds of its predictions, where they were calibrated; a new fit has none, and
            models stored before there were intervals lack the attribute
            (``pipeline.conformal_intervals.get_intervals`` knows both).
        background_sample_: what explanations compare a request with, kept likewise
            (``pipeline.background_sample``).
    """

    def __init__(
        self, regressor: Any, lower: float = SHORTEST_MINUTES, upper: float = LONGEST_MINUTES
    ) -> None:
        self.regressor = regressor
        self.lower = lower
        self.upper = upper

    def fit(self, features: Any, target: npt.ArrayLike) -> Self:
        """Fit a clone of the regressor on features (n, m) and minutes (n,)."""
        self.regressor_ = clone(self.regressor).fit(features, np.asarray(target, dtype=np.float64))
        self.adopt(self.regressor_)
        return self

    def adopt(self, fitted: Any) -> Self:
        """Take an already fitted regressor as one's own.

        A forest's predictions are summed by threads in whatever order they finish, which moves the
        last bit, and threads cost more than they save on one request: it predicts with one.
        """
        if hasattr(fitted, "estimators_") and "n_jobs" in fitted.get_params():
            fitted.set_params(n_jobs=1)
        self.regressor_ = fitted
        self.intervals_: PredictionIntervals | None = None
        self.background_sample_: BackgroundSample | None = None
        return self

    def predict(self, features: Any) -> npt.NDArray[np.float64]:
        """Minutes of shape (n,), within ``lower`` and ``upper``."""
        predicted = self.regressor_.predict(features)
        return np.clip(np.asarray(predicted, dtype=np.float64), self.lower, self.upper)
