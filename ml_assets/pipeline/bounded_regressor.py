"""The wrapper of an estimator that clips predictions to the range of the target."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone

from ml_assets.pipeline.background_sample import BackgroundSample
from ml_assets.pipeline.conformal_intervals import PredictionIntervals
from ml_assets.trips.target import TARGET


class BoundedRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Clip the predictions of ``regressor`` to the range of the target.

    Only trips of 1 to 60 minutes are kept, so no other prediction can be right; an unbounded linear
    model predicts hours or negative minutes for an extreme request.

    Args:
        regressor: Any regressor; a clone of it is fitted.
        lower: Lower bound of predictions, minutes.
        upper: Upper bound of predictions, minutes.

    Attributes:
        regressor_: The fitted clone.
        intervals_: Calibrated prediction intervals or None; missing in models stored before there
            were intervals (see ``pipeline.conformal_intervals.get_intervals``).
        background_sample_: Background data for explanations or None; missing in old models as well
            (see ``pipeline.background_sample``).
    """

    def __init__(
        self, regressor: Any, lower: float = TARGET.lower, upper: float = TARGET.upper
    ) -> None:
        self.regressor = regressor
        self.lower = lower
        self.upper = upper

    def fit(self, features: Any, target: npt.ArrayLike) -> Self:
        """Fit a clone of the regressor on features (n, m) and minutes (n,)."""
        self.regressor_ = clone(self.regressor).fit(features, np.asarray(target, dtype=np.float64))
        self.wrap_fitted(self.regressor_)
        return self

    def wrap_fitted(self, fitted: Any) -> Self:
        """Wrap an already fitted regressor.

        Forests are set to predict with one thread: several threads add up the trees in the order
        in which they finish, which changes the last bit, and are slower for a single request.
        """
        if hasattr(fitted, "estimators_") and "n_jobs" in fitted.get_params():
            fitted.set_params(n_jobs=1)
        self.regressor_ = fitted
        self.intervals_: PredictionIntervals | None = None
        self.background_sample_: BackgroundSample | None = None
        return self

    def predict(self, features: Any) -> npt.NDArray[np.float64]:
        """Predict minutes, shape (n,), clipped to ``lower`` and ``upper``."""
        predicted = self.regressor_.predict(features)
        return np.clip(np.asarray(predicted, dtype=np.float64), self.lower, self.upper)
