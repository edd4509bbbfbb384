"""Encoders: what past trips say about a request, as dense numbers or as sparse indicators."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin

from ml_assets.modeling.features import FEATURE_NAMES, Matrix
from ml_assets.modeling.geography import PAIRS, ZoneMap, learn_map
from ml_assets.modeling.history import ENCODING_NAMES, Groups, TripTables, learn_tables
from ml_assets.trips.rules import ZONE_CODES

_COLUMN = {name: position for position, name in enumerate(FEATURE_NAMES)}
_KEPT_NAMES = tuple(name for name in FEATURE_NAMES if name != "log_miles")
_KEPT = [_COLUMN[name] for name in _KEPT_NAMES]


class TripHistory(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Append what past trips between the same places, at such hours, say about a request.

    Input: the matrix of :class:`RequestFeatures`, (n, 11). Output: float32,
    (n, 10 + encodings), no NaN.

    ``fit`` learns from all rows, for requests that are not among them. ``fit_transform`` encodes
    the fitted rows themselves, each by the rows of the other folds only, so its own duration
    never reaches its features. A row's fold is a hash of its features: the same request, which
    the published files repeat, is in one fold, and the order of rows changes nothing.

    Args:
        folds: number of folds of ``fit_transform``, at least 2.

    Attributes:
        tables_: the learned tables.
    """

    def __init__(self, folds: int = 5) -> None:
        self.folds = folds

    def fit(self, features: Matrix, target: npt.ArrayLike) -> Self:
        """Learn the tables from features (n, 11) and minutes (n,)."""
        minutes = np.asarray(target, dtype=np.float64)
        self.tables_: TripTables = learn_tables(features, minutes, _zone_map(features))
        return self

    def transform(self, features: Matrix) -> npt.NDArray[np.float32]:
        """Encode requests that are not among the fitted rows."""
        return _beside(features, self.tables_.encode(features))

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
        zone_map = _zone_map(features)
        encoded = np.empty((len(features), len(ENCODING_NAMES)))
        for fold in range(self.folds):
            inside = fold_of_row == fold
            if inside.all():
                raise ValueError(
                    f"all {len(features)} training rows are the same request: there is nothing "
                    "to learn from; train on more trips"
                )
            tables = learn_tables(features[~inside], minutes[~inside], zone_map)
            encoded[inside] = tables.encode(features[inside])
        self.tables_ = learn_tables(features, minutes, zone_map)
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
        zone_map_: the typical distance of each pair, for requests that state none.
        spread_: standard deviation of each column in the fitted rows.
    """

    def __init__(self, least_rows: int = 2) -> None:
        self.least_rows = least_rows

    def fit(self, features: Matrix, target: Any = None) -> Self:
        """Learn which values occur, and the usual distance of each pair, from (n, 11)."""
        self.zone_map_: ZoneMap = _zone_map(features)
        start = len(_KNOTS) + 1
        self.column_of_: list[npt.NDArray[np.int32]] = []
        for codes, size in _indicator_codes(features):
            frequent = np.bincount(codes, minlength=size) >= self.least_rows
            column_of = np.full(size, -1, dtype=np.int32)
            column_of[frequent] = start + np.arange(frequent.sum(), dtype=np.int32)
            start += int(frequent.sum())
            self.column_of_.append(column_of)
        self.columns_ = start
        self.spread_: Matrix = _spread(self.transform(features))
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
        usual = self.zone_map_.usual_log_miles[Groups.of(features).pair]
        log_miles = np.where(np.isnan(stated), usual, stated)
        miles = np.exp(log_miles)
        # How far into each stretch the trip goes: the same broken lines as hinges would draw, from
        # columns that barely resemble each other, so that Lasso's coordinate descent is quick.
        driven = np.maximum((miles[:, None] - _KNOTS[:-1]) / np.diff(_KNOTS), 0.0)
        driven[:, :-1] = np.minimum(driven[:, :-1], 1.0)
        return np.column_stack([driven, np.isnan(stated), features[:, _COLUMN["airport_trip"]]])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """The names of the columns, ``group=code`` for an indicator."""
        stretches = (f"miles={start:g}" for start in _KNOTS[:-1])
        names = [*stretches, "no_stated_miles", "airport_trip"]
        for group, column_of in zip(INDICATOR_GROUPS, self.column_of_, strict=True):
            names.extend(f"{group}={code}" for code in np.flatnonzero(column_of >= 0))
        return np.asarray(names, dtype=object)


_KNOTS = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0])
"""Miles between which minutes by distance are a straight line; the last one goes on for ever."""

INDICATOR_GROUPS = (
    "pickup_zone",
    "dropoff_zone",
    "zone_pair",
    "hour_of_week",
    "distance_and_hour",
    "pickup_zone_and_hour",
    "dropoff_zone_and_hour",
    "passenger_count",
)
"""What the indicators say, in the order of their groups."""


def _spread(encoded: sparse.csr_matrix) -> Matrix:
    mean = np.asarray(encoded.mean(axis=0)).ravel()
    mean_square = np.asarray(encoded.power(2).mean(axis=0)).ravel()
    spread: Matrix = np.sqrt(np.maximum(mean_square - mean**2, 0.0))
    return spread


def _zone_map(features: Matrix) -> ZoneMap:
    """Learned from all rows, those to be encoded included: it uses no duration."""
    groups = Groups.of(features)
    return learn_map(groups.pickup, groups.dropoff, features[:, _COLUMN["log_miles"]])


def _indicator_codes(features: Matrix) -> list[tuple[npt.NDArray[np.int64], int]]:
    """The groups of indicators: integer codes of shape (n,) and how many codes there can be."""
    groups = Groups.of(features)
    pickup, dropoff = groups.pickup, groups.dropoff
    hour = features[:, _COLUMN["hour"]].astype(np.int64)
    day_off = features[:, _COLUMN["day_off"]].astype(np.int64)
    known = ~np.isnan(features[:, _COLUMN["log_miles"]])
    miles = np.exp(np.where(known, features[:, _COLUMN["log_miles"]], 0.0))
    reach = np.where(known, np.digitize(miles, (1.0, 2.0, 4.0, 8.0)), 5)
    band = hour // 4 + 6 * day_off
    passengers = features[:, _COLUMN["passenger_count"]].astype(np.int64) + 1
    return [
        (pickup, ZONE_CODES),
        (dropoff, ZONE_CODES),
        (groups.pair, PAIRS),
        (groups.week_hour, 168),
        (reach * 48 + day_off * 24 + hour, 6 * 48),
        (pickup * 12 + band, ZONE_CODES * 12),
        (dropoff * 12 + band, ZONE_CODES * 12),
        (passengers, 11),
    ]
