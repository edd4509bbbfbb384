"""What surrounds an estimator: predictions kept inside what a kept trip can last."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone

from ml_assets.modeling.intervals import PredictionIntervals
from ml_assets.modeling.tree_walk import MOST_ROWS, TreeWalk
from ml_assets.modeling.typical_requests import TypicalRequests
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
            (``modeling.intervals.intervals_of`` knows both).
        typical_requests_: what explanations compare a request with, kept likewise
            (``modeling.typical_requests``).
        tree_walk_: a quicker way to the same predictions; only after :meth:`hurry`.
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
        self.typical_requests_: TypicalRequests | None = None
        self.tree_walk_: TreeWalk | None = None
        return self

    def predict(self, features: Any) -> npt.NDArray[np.float64]:
        """Minutes of shape (n,), within ``lower`` and ``upper``."""
        walk: TreeWalk | None = getattr(self, "tree_walk_", None)
        few = walk is not None and len(features) <= MOST_ROWS
        predicted = walk.predict(features) if walk and few else self.regressor_.predict(features)
        return np.clip(np.asarray(predicted, dtype=np.float64), self.lower, self.upper)

    def hurry(self) -> None:
        """Prepare to answer a few requests quickly, where that gives the same bits.

        Takes a second; worth it where requests come one by one. It is not to be stored.
        """
        self.tree_walk_ = TreeWalk.of(self.regressor_)
