"""Encoders: what past trips say about a request, as dense numbers or as sparse indicators."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin

from ml_assets.modeling.features import FEATURE_NAMES, LARGEST_ZONE, Matrix
from ml_assets.modeling.history import (
    ENCODING_NAMES,
    LearnedHistory,
    learn_history,
    usual_log_miles,
)

_COLUMN = {name: position for position, name in enumerate(FEATURE_NAMES)}
_ZONES = LARGEST_ZONE + 1
_KEPT_NAMES = tuple(name for name in FEATURE_NAMES if name != "log_miles")
_KEPT = [_COLUMN[name] for name in _KEPT_NAMES]


class TripHistory(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Append what past trips between the same places, at such hours, say about a request.

    Input: the matrix of :class:`RequestFeatures`, (n, 11). Output: float32, (n, 10 + encodings), no NaN.

    ``fit`` learns from all rows, for requests that are not among them. ``fit_transform`` encodes
    the fitted rows themselves, each by the rows of the other folds only, so its own duration
    never reaches its features. A row's fold is a hash of its features: the same request, which
    the published files repeat, is in one fold, and the order of rows changes nothing.

    Args:
        folds: number of folds of ``fit_transform``, at least 2.

    Attributes:
        history_: the learned tables.
    """

    def __init__(self, folds: int = 5) -> None:
        self.folds = folds

    def fit(self, features: Matrix, target: npt.ArrayLike) -> Self:
        """Learn the tables from features (n, 11) and minutes (n,)."""
        self.history_: LearnedHistory = learn_history(
            features, np.asarray(target, dtype=np.float64)
        )
        return self

    def transform(self, features: Matrix) -> npt.NDArray[np.float32]:
        """Encode requests that are not among the fitted rows."""
        return _beside(features, self.history_.encode(features))

    def fit_transform(  # type: ignore[override]
        self, features: Matrix, target: npt.ArrayLike
    ) -> npt.NDArray[np.float32]:
        """Learn from all rows and encode each by the folds it is not in.

        Raises:
            ValueError: when ``folds`` is below 2.
        """
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}: encoding out of fold needs at least 2")
        minutes = np.asarray(target, dtype=np.float64)
        fold_of_row = content_folds(features, self.folds)
        encoded = np.empty((len(features), len(ENCODING_NAMES)))
        for fold in range(self.folds):
            inside = fold_of_row == fold
            if inside.all():
                raise ValueError(
                    f"all {len(features)} training rows are the same request: there is nothing "
                    "to learn from; train on more trips"
                )
            history = learn_history(features[~inside], minutes[~inside])
            encoded[inside] = history.encode(features[inside])
        self.fit(features, minutes)
        return _beside(features, encoded)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """The names of the columns of the matrix."""
        return np.asarray([*_KEPT_NAMES, *ENCODING_NAMES], dtype=object)


def _beside(features: Matrix, encoded: Matrix) -> npt.NDArray[np.float32]:
    """The features without the one that may be NaN (its filled form is encoded), then the rest."""
    return np.hstack([features[:, _KEPT], encoded]).astype(np.float32)


def content_folds(features: Matrix, folds: int) -> npt.NDArray[np.int64]:
    """Assign rows to folds by a hash of their content; equal rows share a fold.

    Args:
        features: float64 of shape (n, m).
        folds: how many.

    Returns:
        Fold numbers, shape (n,), from 0 to folds - 1.
    """
    # Adding 0.0 turns -0.0 into 0.0, which is equal but has other bits.
    words = np.ascontiguousarray(features + 0.0).view(np.uint64)
    mixed = np.full(len(features), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in range(words.shape[1]):
        # The multipliers and shifts are those of MurmurHash3's 64-bit finalizer.
        mixed = (mixed ^ words[:, column]) * np.uint64(0xFF51AFD7ED558CCD)
        mixed ^= mixed >> np.uint64(33)
        mixed *= np.uint64(0xC4CEB9FE1A85EC53)
        mixed ^= mixed >> np.uint64(29)
    return (mixed % np.uint64(folds)).astype(np.int64)


class TripIndicators(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Sparse indicators of where and when, and a broken line of how far, for linear models.

    Input: the matrix of :class:`RequestFeatures`, (n, 11). Output: CSR float64 with 32-bit indices
    (liblinear and the coordinate descent of Lasso refuse 64-bit ones), (n, learned columns). All
    columns lie between 0 and about 1, so that one penalty is fair to all; a value never seen in
    fitting has no column and adds nothing.

    Args:
        least_rows: a value needs so many training rows to get a column of its own.

    Attributes:
        column_of_: per group of indicators, the column of each code, -1 without one.
        usual_log_miles_: the typical log distance of each pair, for requests that state none.
    """

    def __init__(self, least_rows: int = 2) -> None:
        self.least_rows = least_rows

    def fit(self, features: Matrix, target: Any = None) -> Self:
        """Learn which values occur, and the usual distance of each pair, from (n, 11)."""
        self.usual_log_miles_ = usual_log_miles(features)
        start = len(_KNOTS) + 2
        self.column_of_: list[npt.NDArray[np.int32]] = []
        for codes, size in _indicator_codes(features):
            frequent = np.bincount(codes, minlength=size) >= self.least_rows
            column_of = np.full(size, -1, dtype=np.int32)
            column_of[frequent] = start + np.arange(frequent.sum(), dtype=np.int32)
            start += int(frequent.sum())
            self.column_of_.append(column_of)
        self.columns_ = start
        return self

    def transform(self, features: Matrix) -> sparse.csr_matrix:
        """Encode requests, fitted rows or new ones."""
        distance = self._distance_columns(features)
        columns = [
            column_of[codes]
            for (codes, _), column_of in zip(
                _indicator_codes(features), self.column_of_, strict=True
            )
        ]
        dense = distance.shape[1]
        indices = np.empty((len(features), dense + len(columns)), dtype=np.int32)
        indices[:, :dense] = np.arange(dense)
        indices[:, dense:] = np.stack(columns, axis=1)
        values = np.ones(indices.shape)
        values[:, :dense] = distance
        kept = (indices >= 0) & (values != 0)
        row_ends = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
        shape = (len(features), self.columns_)
        return sparse.csr_matrix((values[kept], indices[kept], row_ends), shape=shape)

    def _distance_columns(self, features: Matrix) -> Matrix:
        stated = features[:, _COLUMN["log_miles"]]
        pair = _pair_codes(features)
        log_miles = np.where(np.isnan(stated), self.usual_log_miles_[pair], stated)
        miles = np.exp(log_miles)
        hinges = np.maximum(miles[:, None] - _KNOTS, 0.0) / (20.0 - _KNOTS)
        return np.column_stack([hinges, np.isnan(stated), features[:, _COLUMN["airport_trip"]]])


_KNOTS = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0])
"""Miles at which the line of minutes by distance may bend."""


def _pair_codes(features: Matrix) -> npt.NDArray[np.int64]:
    pickup = features[:, _COLUMN["pickup_zone"]].astype(np.int64)
    return pickup * _ZONES + features[:, _COLUMN["dropoff_zone"]].astype(np.int64)


def _indicator_codes(features: Matrix) -> list[tuple[npt.NDArray[np.int64], int]]:
    """The groups of indicators: integer codes of shape (n,) and how many codes there can be."""
    pickup = features[:, _COLUMN["pickup_zone"]].astype(np.int64)
    dropoff = features[:, _COLUMN["dropoff_zone"]].astype(np.int64)
    hour = features[:, _COLUMN["hour"]].astype(np.int64)
    weekday = features[:, _COLUMN["weekday"]].astype(np.int64)
    day_off = features[:, _COLUMN["day_off"]].astype(np.int64)
    known = ~np.isnan(features[:, _COLUMN["log_miles"]])
    miles = np.exp(np.where(known, features[:, _COLUMN["log_miles"]], 0.0))
    reach = np.where(known, np.digitize(miles, (1.0, 2.0, 4.0, 8.0)), 5)
    band = hour // 4 + 6 * day_off
    passengers = features[:, _COLUMN["passenger_count"]].astype(np.int64) + 1
    return [
        (pickup, _ZONES),
        (dropoff, _ZONES),
        (pickup * _ZONES + dropoff, _ZONES * _ZONES),
        (weekday * 24 + hour, 168),
        (reach * 48 + day_off * 24 + hour, 6 * 48),
        (pickup * 12 + band, _ZONES * 12),
        (dropoff * 12 + band, _ZONES * 12),
        (passengers, 11),
    ]
