"""The last step of a pipeline: an estimator for stated distances, and one for requests without."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone

from ml_assets.config.cores import call_uninterrupted
from ml_assets.pipeline.background_sample import BackgroundSample
from ml_assets.pipeline.conformal_intervals import PredictionIntervals
from ml_assets.trips.target import TARGET

Minutes = npt.NDArray[np.float64]


class BoundedRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predict requests with and without a stated distance, within the range of the target.

    Only trips of 1 to 60 minutes are kept, so no other prediction can be right; an unbounded linear
    model predicts hours or negative minutes for an extreme request.

    The distance of a published trip is metered, and a request may leave it out. Measured on green
    trips (fitted on 2023-01 and 02, tested on 04), an XGBoost model of metered trips had an RMSE of
    5.49 minutes when asked with the usual distance of the zone pair instead. A second one, fitted
    without the columns that depend on the distance, had 5.20, and the first kept its 4.13 on
    metered distances. A single model of both kinds of rows had 5.17 and 4.16, for twice the rows.

    Args:
        regressor: Any regressor; a clone of it is fitted on the rows with a stated distance.
        lower: Lower bound of predictions, minutes.
        upper: Upper bound of predictions, minutes.
        distance_columns: Number of last columns that depend on the stated distance. The very last
            one is 1 where a distance is stated and else 0. With 0 there is one estimator for all.
        without_distance: The regressor for requests without a distance; None means another clone
            of ``regressor``.
        share_without_distance: Share of the rows that it is fitted on, above 0 and at most 1.

    Attributes:
        regressor_: The fitted clone.
        without_distance_: The fitted regressor for requests without a distance; None if there is
            one for all.
        intervals_: Calibrated prediction intervals or None; missing in models stored before there
            were intervals (see ``pipeline.conformal_intervals.get_intervals``).
        usual_intervals_: Those of predictions without a distance; missing in old models as well.
        seen_pairs_: Whether the months of the fit have trips of a zone pair, or None; missing in
            old models as well (see ``pipeline.conformal_intervals.seen_pairs``).
        background_sample_: Background data for explanations or None; missing in old models as well
            (see ``pipeline.background_sample``).
    """

    def __init__(
        self,
        regressor: Any,
        lower: float = TARGET.lower,
        upper: float = TARGET.upper,
        distance_columns: int = 0,
        without_distance: Any = None,
        share_without_distance: float = 1.0,
    ) -> None:
        self.regressor = regressor
        self.lower = lower
        self.upper = upper
        self.distance_columns = distance_columns
        self.without_distance = without_distance
        self.share_without_distance = share_without_distance

    def fit(self, features: Any, target: npt.ArrayLike) -> Self:
        """Fit clones of the regressors on features (n, m) and minutes (n,).

        Raises:
            ValueError: ``share_without_distance`` is not above 0 and at most 1.
        """
        minutes = np.asarray(target, dtype=np.float64)
        if self.distance_columns == 0:
            return self.wrap_fitted(fit_regressor(clone(self.regressor), features, minutes))
        rows, target_rows = rows_with_distance(features, minutes)
        fitted = fit_regressor(clone(self.regressor), rows, target_rows)
        rows, target_rows = rows_without_distance(
            features, minutes, self.distance_columns, self.share_without_distance
        )
        other = self.regressor if self.without_distance is None else self.without_distance
        return self.wrap_fitted(fitted, fit_regressor(clone(other), rows, target_rows))

    def wrap_fitted(self, fitted: Any, without_distance: Any = None) -> Self:
        """Wrap already fitted regressors.

        Forests are set to predict with one thread: several threads add up the trees in the order
        in which they finish, which changes the last bit, and are slower for a single request.
        """
        for each in (fitted, without_distance):
            if hasattr(each, "estimators_") and "n_jobs" in each.get_params():
                each.set_params(n_jobs=1)
        self.regressor_ = fitted
        self.without_distance_ = without_distance
        self.intervals_: PredictionIntervals | None = None
        self.usual_intervals_: PredictionIntervals | None = None
        self.seen_pairs_: npt.NDArray[np.bool_] | None = None
        self.background_sample_: BackgroundSample | None = None
        return self

    def predict(self, features: Any) -> npt.NDArray[np.float64]:
        """Predict minutes, shape (n,), clipped to ``lower`` and ``upper``."""
        predicted = np.asarray(self._predict(features), dtype=np.float64)
        return np.clip(predicted, self.lower, self.upper)

    @property
    def has_two_regressors(self) -> bool:
        """Whether requests without a distance have a regressor of their own."""
        # Models stored before there were two regressors lack the attribute.
        return getattr(self, "without_distance_", None) is not None

    def predict_modes(self, features: Any) -> tuple[Minutes, Minutes]:
        """Predict the same requests as they are, and as if none stated a distance.

        The second prediction needs no other encoding, since its regressor does not see the columns
        of the distance.

        Raises:
            ValueError: There is one regressor for all requests.
        """
        if not self.has_two_regressors:
            raise ValueError("one regressor for all requests: encode them without distances")
        without = self.without_distance_.predict(features[:, : -self.distance_columns])
        usual = np.clip(np.asarray(without, dtype=np.float64), self.lower, self.upper)
        return self.predict(features), usual

    def join_modes(
        self, features: Any, with_distance: npt.ArrayLike, without_distance: npt.ArrayLike
    ) -> tuple[Minutes, Minutes]:
        """Return what :meth:`predict_modes` does, from predictions of its two regressors.

        Args:
            features: Encoded rows, shape (n, m).
            with_distance: Predicted minutes of the rows with a stated distance, or of all rows if
                there are none, see :func:`rows_with_distance`.
            without_distance: Predicted minutes of all rows without it, shape (n,).
        """
        usual = np.clip(np.asarray(without_distance, dtype=np.float64), self.lower, self.upper)
        stated = _stated(features)
        if not stated.any():
            return usual, usual
        known = np.clip(np.asarray(with_distance, dtype=np.float64), self.lower, self.upper)
        mixed = usual.copy()
        mixed[stated] = known
        return mixed, usual

    def _predict(self, features: Any) -> npt.NDArray[np.floating]:
        if not self.has_two_regressors:
            predicted: npt.NDArray[np.floating] = self.regressor_.predict(features)
            return predicted
        stated = _stated(features)
        if stated.all():
            return np.asarray(self.regressor_.predict(features[:, :-1]))
        without = self.without_distance_.predict(features[~stated][:, : -self.distance_columns])
        if not stated.any():
            return np.asarray(without)
        mixed = np.empty(len(stated))
        mixed[stated] = self.regressor_.predict(features[stated][:, :-1])
        mixed[~stated] = without
        return mixed


def fit_regressor(
    regressor: Any, features: Any, minutes: npt.NDArray[np.float64], **options: Any
) -> Any:
    """Fit a regressor, and return it; an interrupt may arrive at any moment.

    XGBoost reads the rows through Python functions. If one of them is interrupted, it goes on
    without some of the rows, and writes beyond the memory that it has for the others. Its private
    method that reads them is wrapped; ``test_interrupted_fit.py`` fails if it is renamed.

    Args:
        features: Encoded rows, shape (n, m).
        options: Further arguments of its ``fit``.
    """
    build = getattr(regressor, "_create_dmatrix", None)
    if build is None:
        return regressor.fit(features, minutes, **options)
    regressor._create_dmatrix = lambda *rows, **named: call_uninterrupted(
        lambda: build(*rows, **named)
    )
    try:
        return regressor.fit(features, minutes, **options)
    finally:
        del regressor._create_dmatrix


def rows_with_distance(
    features: Any, minutes: npt.NDArray[np.float64]
) -> tuple[Any, npt.NDArray[np.float64]]:
    """Return the rows with a stated distance, or all if none has one, without the last column."""
    stated = _stated(features)
    if stated.all() or not stated.any():
        return features[:, :-1], minutes
    return features[stated][:, :-1], minutes[stated]


def check_share(share: float) -> float:
    """Return the share of rows; raise ValueError unless it is above 0 and at most 1."""
    if not 0 < share <= 1:
        raise ValueError(f"share_without_distance is {share}: must be above 0 and at most 1")
    return share


def rows_without_distance(
    features: Any,
    minutes: npt.NDArray[np.float64],
    distance_columns: int,
    share: float = 1.0,
) -> tuple[Any, npt.NDArray[np.float64]]:
    """Return rows without the columns of the distance: all, or a share at equal intervals.

    Raises:
        ValueError: ``share`` is not above 0 and at most 1.
    """
    if check_share(share) < 1:
        chosen = np.diff(np.floor(np.arange(len(minutes) + 1) * share)) > 0
        features, minutes = features[chosen], minutes[chosen]
    return features[:, :-distance_columns], minutes


def _stated(features: Any) -> npt.NDArray[np.bool_]:
    """Whether each encoded row has a stated distance, by its last column."""
    last = features[:, -1]
    stated: npt.NDArray[np.bool_] = (last.toarray().ravel() if issparse(last) else last) > 0
    return stated
