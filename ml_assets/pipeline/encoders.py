"""Encoders of requests, dense from past trips or sparse indicators, and the pipeline with one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import Pipeline

from ml_assets.pipeline.bounded_regressor import BoundedRegressor
from ml_assets.pipeline.features import FEATURES, LOG_MILES, ROWS_AT_ONCE, RequestFeatures
from ml_assets.pipeline.fit_tables import PastTrips, fit_trip_tables
from ml_assets.pipeline.indicators import INDICATORS, NUMBERS, GroupedRequests
from ml_assets.pipeline.trip_tables import ENCODINGS, Groups, TripTables
from ml_assets.pipeline.versioned_features import (
    Matrix,
    NamedColumns,
    Versions,
)
from ml_assets.pipeline.zone_map import PairMiles, ZoneMap, fit_zone_map

DISTANCE_STATED = "distance_stated"
"""Name of the last column of the encoders: 1 where a distance is stated and else 0."""


class TripHistory(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Append encodings learned from past trips of the same zones and hours (target encoding).

    Input: the matrix of :class:`RequestFeatures`, (n, features). Output: float32,
    (n, features + encodings), without NaN: the stated log miles are replaced by their filled form.
    The columns that depend on the stated distance come last; the very last one is 1 where a
    distance is stated and else 0.

    ``fit`` learns from all rows, to encode other requests. ``fit_transform`` encodes the fitted
    rows out of fold, each by the rows of the other folds, so that its own duration does not leak
    into its features. A row's fold is a hash of its features: repeated requests, which the
    published files contain, share a fold, and the order of rows does not matter.

    Args:
        folds: Number of folds of ``fit_transform`` and ``fit_parts``, at least 2.
        features: Names of the input columns; None means those of the current features.
        encodings: Names and versions of ``ENCODINGS``, in order; None means the current ones.

    Attributes:
        features_: Names of the columns that it was fitted on.
        encodings_: The encodings that it was fitted with.
        order_: Position of each output column among the features, the encodings and the last one;
            missing in old models, which have no columns for a stated distance.
    """

    def __init__(
        self,
        folds: int = 5,
        features: Sequence[str] | None = None,
        encodings: Versions | None = None,
    ) -> None:
        self.folds = folds
        self.features = features
        self.encodings = encodings

    @property
    def distance_columns(self) -> int:
        """Number of last columns that depend on the stated distance."""
        return int(self._of_distance().sum()) + 1

    def fit(self, features: Matrix, target: npt.ArrayLike) -> Self:
        """Learn the tables from features (n, m) and minutes (n,)."""
        self._fix_columns()
        self.tables_: TripTables
        self.tables_, _ = fit_trip_tables(
            lambda: self._past_trips([(features, target)]), self.folds, out_of_fold=False
        )
        return self

    def fit_parts(self, read: Callable[[], Iterable[tuple[Matrix, Matrix]]]) -> list[TripTables]:
        """Learn the tables from trips that are read in parts.

        Args:
            read: Reads the parts from the first on, features (n, m) and minutes (n,); called twice.

        Returns:
            The tables of the other folds for each fold, to encode these trips, or some of them, by
            :meth:`encode_fitted`.

        Raises:
            ValueError: ``folds`` is below 2, there are no rows, or all are the same request.
        """
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}: must be at least 2 to encode out of fold")
        self._fix_columns()
        self.tables_, of_others = fit_trip_tables(lambda: self._past_trips(read()), self.folds)
        return of_others

    def encode_fitted(
        self, features: Matrix, of_others: list[TripTables]
    ) -> npt.NDArray[np.float32]:
        """Encode fitted rows out of fold, by the tables that :meth:`fit_parts` returned."""
        named = NamedColumns(features, self.features_)
        fold_of_row = content_folds(features, self.folds)
        encoded = self._empty(len(features))
        for fold, tables in enumerate(of_others):
            numbers = np.flatnonzero(fold_of_row == fold)
            for rows in row_slices(len(numbers)):
                encoded[numbers[rows]] = self._encode(named.rows(numbers[rows]), tables)
        return encoded

    def transform(self, features: Matrix) -> npt.NDArray[np.float32]:
        """Encode requests other than the fitted rows."""
        if len(features) <= ROWS_AT_ONCE:
            return self._encode(NamedColumns(features, self.features_), self.tables_)
        encoded = self._empty(len(features))
        for rows in row_slices(len(features)):
            part = NamedColumns(features[rows], self.features_)
            encoded[rows] = self._encode(part, self.tables_)
        return encoded

    def fit_transform(  # type: ignore[override]
        self, features: Matrix, target: npt.ArrayLike
    ) -> npt.NDArray[np.float32]:
        """Learn from all rows and encode each row out of fold.

        Raises:
            ValueError: ``folds`` is below 2, or all rows are the same request.
        """
        minutes = np.asarray(target, dtype=np.float64)
        return self.encode_fitted(features, self.fit_parts(lambda: [(features, minutes)]))

    def require_definitions(self) -> None:
        """Raise ``UnknownFeature`` if this code lacks an encoding that it was fitted with."""
        ENCODINGS.select(self.encodings_)

    def describe(self) -> dict[str, str]:
        """Return the sentence of each encoding that it was fitted with."""
        return ENCODINGS.describe(self.encodings_)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the output columns."""
        kept = [name for name in self.features_ if name != LOG_MILES]
        names = np.asarray([*kept, *self.encodings_, DISTANCE_STATED], dtype=object)
        order = getattr(self, "order_", None)
        return names[:-1] if order is None else names[order]

    def _past_trips(self, parts: Iterable[tuple[Matrix, npt.ArrayLike]]) -> Iterator[PastTrips]:
        for features, target in parts:
            minutes = np.asarray(target, dtype=np.float64)
            for rows in row_slices(len(features)):
                named = NamedColumns(features[rows], self.features_)
                yield PastTrips(named, minutes[rows], content_folds(named.matrix, self.folds))

    def _fix_columns(self) -> None:
        self.features_: list[str] = _names(self.features)
        self.encodings_: dict[str, int] = dict(self._chosen())
        of_distance = np.append(self._of_distance(), True)
        self.order_: npt.NDArray[np.int64] = np.argsort(of_distance, kind="stable")

    def _chosen(self) -> Versions:
        return ENCODINGS.current if self.encodings is None else self.encodings

    def _of_distance(self) -> npt.NDArray[np.bool_]:
        """Whether each feature but the log miles, then each encoding, depends on the distance."""
        kept = [name for name in _names(self.features) if name != LOG_MILES]
        known = {feature.name for feature in FEATURES if feature.of_distance}
        of_features = np.array([name in known for name in kept], dtype=bool)
        return np.concatenate([of_features, ENCODINGS.of_distance(self._chosen())])

    def _empty(self, rows: int) -> npt.NDArray[np.float32]:
        """Return an unfilled result, by columns, as :meth:`_encode` makes it."""
        return np.empty((rows, len(self.get_feature_names_out())), dtype=np.float32, order="F")

    def _encode(self, features: NamedColumns, tables: TripTables) -> npt.NDArray[np.float32]:
        """Return the features, without the one that may be NaN, and the encodings in order."""
        parts = [features.without(LOG_MILES), tables.encode(features, self.encodings_)]
        order = getattr(self, "order_", None)
        if order is None:
            return np.hstack(parts).astype(np.float32)
        parts.append(~np.isnan(features[LOG_MILES])[:, None])
        return np.asarray(np.hstack(parts)[:, order], dtype=np.float32)


def row_slices(rows: int) -> Iterator[slice]:
    """Yield slices of at most ``ROWS_AT_ONCE`` rows."""
    for first in range(0, rows, ROWS_AT_ONCE):
        yield slice(first, min(first + ROWS_AT_ONCE, rows))


def _names(features: Sequence[str] | None) -> list[str]:
    return list(FEATURES.current if features is None else features)


def content_folds(features: Matrix, folds: int) -> npt.NDArray[np.int64]:
    """Assign rows to folds by a hash of their content; equal rows share a fold.

    Args:
        features: float64 of shape (n, m).
        folds: Number of folds.

    Returns:
        Fold numbers, shape (n,), from 0 to folds - 1.
    """
    mixed = np.full(len(features), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in range(features.shape[1]):
        # Adding 0.0 turns -0.0 into 0.0: equal, but with other bits.
        word = np.ascontiguousarray(features[:, column] + 0.0).view(np.uint64)
        # The multipliers and shifts are those of MurmurHash3's 64-bit finalizer.
        mixed = (mixed ^ word) * np.uint64(0xFF51AFD7ED558CCD)
        mixed ^= mixed >> np.uint64(33)
        mixed *= np.uint64(0xC4CEB9FE1A85EC53)
        mixed ^= mixed >> np.uint64(29)
    return (mixed % np.uint64(folds)).astype(np.int64)


class TripIndicators(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Sparse indicators of zones and times, and numbers, for linear models.

    Input: the matrix of :class:`RequestFeatures`, (n, features). Output: CSR float64 with 32-bit
    indices (liblinear and Lasso's coordinate descent reject 64-bit ones), (n, learned columns).
    All columns lie between 0 and about 1, so that a penalty applies equally; a value not seen in
    fitting has no column and adds nothing. The columns that depend on the stated distance come
    last, each group with a column for every code; the very last one is 1 where a distance is
    stated and else 0.

    Args:
        least_rows: Minimum training rows with a value for a column of its own.
        features: Names of the input columns; None means those of the current features.
        indicators: Names and versions of ``INDICATORS``, in order; None means the current ones.
        numbers: The same of ``NUMBERS``.

    Attributes:
        features_: Names of the columns that it was fitted on.
        indicators_: The groups of indicators that it was fitted with.
        numbers_: The numbers that it was fitted with.
        number_at_: Column of each number; missing in old models, where they come first and no
            column depends on the stated distance alone.
        column_of_: For each group of indicators, the column of each code, -1 without one; the last
            entry is for all higher codes.
        zone_map_: Expected distance of each pair, for requests without a distance.
        spread_: Standard deviation of each column in the fitted rows.
    """

    def __init__(
        self,
        least_rows: int = 2,
        features: Sequence[str] | None = None,
        indicators: Versions | None = None,
        numbers: Versions | None = None,
    ) -> None:
        self.least_rows = least_rows
        self.features = features
        self.indicators = indicators
        self.numbers = numbers

    @property
    def distance_columns(self) -> int:
        """Number of last columns that depend on the stated distance."""
        numbers, groups = self._chosen()
        codes = [group.codes for group in INDICATORS.select(groups) if group.of_distance]
        return int(NUMBERS.of_distance(numbers).sum()) + sum(codes) + 1

    def fit(self, features: Matrix, target: Any = None) -> Self:
        """Learn the frequent values and the expected distance of each pair from (n, m)."""
        self.features_: list[str] = _names(self.features)
        numbers, indicators = self._chosen()
        self.indicators_: dict[str, int] = dict(indicators)
        self.numbers_: dict[str, int] = dict(numbers)
        named = NamedColumns(features, self.features_)
        self.zone_map_: ZoneMap = _zone_map(named)
        of_distance = NUMBERS.of_distance(self.numbers_)
        start = int(np.count_nonzero(~of_distance))
        groups = INDICATORS.select(self.indicators_)
        self.column_of_: list[npt.NDArray[np.int32]] = []
        for group, codes in zip(
            groups, self._codes(GroupedRequests(named, self.zone_map_)), strict=True
        ):
            # The additional last entry stands for all codes not seen in fitting.
            frequent = np.append(np.bincount(codes), 0) >= self.least_rows
            frequent[-1] = False
            column_of = np.full(len(frequent), -1, dtype=np.int32)
            if not group.of_distance:
                column_of[frequent] = start + np.arange(frequent.sum(), dtype=np.int32)
                start += int(frequent.sum())
            self.column_of_.append(column_of)
        self.number_at_: npt.NDArray[np.int32] = np.cumsum(~of_distance, dtype=np.int32) - 1
        self.number_at_[of_distance] = start + np.arange(of_distance.sum(), dtype=np.int32)
        start += int(of_distance.sum())
        for at, group in enumerate(groups):
            if group.of_distance:
                every = start + np.arange(group.codes, dtype=np.int32)
                self.column_of_[at] = np.append(every, np.int32(-1))
                start += group.codes
        self.columns_ = start + 1
        self.spread_: Matrix = _spread(self.transform(features))
        return self

    def transform(self, features: Matrix) -> sparse.csr_matrix:
        """Encode requests."""
        if len(features) <= ROWS_AT_ONCE:
            return self._encode(features)
        parts = [self._encode(features[rows]) for rows in row_slices(len(features))]
        return sparse.vstack(parts, format="csr")

    def _encode(self, features: Matrix) -> sparse.csr_matrix:
        named = NamedColumns(features, self.features_)
        requests = GroupedRequests(named, self.zone_map_)
        numbers = NUMBERS.compute(self.numbers_, requests, len(features))
        columns = [
            column_of[np.minimum(codes, len(column_of) - 1)]
            for codes, column_of in zip(self._codes(requests), self.column_of_, strict=True)
        ]
        number_at = getattr(self, "number_at_", None)
        if number_at is None:
            number_at = np.arange(numbers.shape[1])
        else:
            stated = ~np.isnan(named[LOG_MILES])
            numbers = np.hstack([numbers, stated[:, None]])
            number_at = np.append(number_at, self.columns_ - 1)
        dense = numbers.shape[1]
        indices = np.empty((len(features), dense + len(columns)), dtype=np.int32)
        indices[:, :dense] = number_at
        indices[:, dense:] = np.stack(columns, axis=1)
        values = np.ones(indices.shape)
        values[:, :dense] = numbers
        kept = (indices >= 0) & (values != 0)
        row_ends = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
        shape = (len(features), self.columns_)
        return sparse.csr_matrix((values[kept], indices[kept], row_ends), shape=shape)

    def _codes(self, requests: "GroupedRequests") -> list[npt.NDArray[np.int64]]:
        return [
            np.asarray(indicator.compute(requests), dtype=np.int64)
            for indicator in INDICATORS.select(self.indicators_)
        ]

    def require_definitions(self) -> None:
        """Raise ``UnknownFeature`` if this code lacks a definition that it was fitted with."""
        INDICATORS.select(self.indicators_)
        NUMBERS.select(self.numbers_)

    def describe(self) -> dict[str, str]:
        """Return the sentence of each number and group, see ``group_of``."""
        numbers = NUMBERS.describe(self.numbers_)
        sentences = {group_of(name): sentence for name, sentence in numbers.items()}
        return sentences | INDICATORS.describe(self.indicators_)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the output columns, ``group=code`` for an indicator."""
        names = np.empty(self.columns_, dtype=object)
        number_at = getattr(self, "number_at_", None)
        if number_at is not None:
            names[-1] = DISTANCE_STATED
        names[np.arange(len(self.numbers_)) if number_at is None else number_at] = list(
            self.numbers_
        )
        for group, column_of in zip(self.indicators_, self.column_of_, strict=True):
            codes = np.flatnonzero(column_of >= 0)
            names[column_of[codes]] = [f"{group}={code}" for code in codes]
        return names

    def _chosen(self) -> tuple[Versions, Versions]:
        """Return the numbers and the groups of indicators of a new fit."""
        return (
            NUMBERS.current if self.numbers is None else self.numbers,
            INDICATORS.current if self.indicators is None else self.indicators,
        )


def group_of(column: str) -> str:
    """Return the group of a column by its name: ``zone_pair`` for ``zone_pair=20104``."""
    return column.partition("=")[0]


def _spread(encoded: sparse.csr_matrix) -> Matrix:
    mean = np.asarray(encoded.mean(axis=0)).ravel()
    mean_square = np.asarray(encoded.power(2).mean(axis=0)).ravel()
    spread: Matrix = np.sqrt(np.maximum(mean_square - mean**2, 0.0))
    return spread


def _zone_map(features: NamedColumns) -> ZoneMap:
    """Learn the zone map from all rows; it does not use durations, so nothing can leak."""
    return fit_zone_map(PairMiles.of(Groups.of(features).pair, features[LOG_MILES]))


def current_history() -> TripHistory:
    """Make the encoder for tree models, with the current features: encodings of past trips."""
    return TripHistory(features=list(FEATURES.current), encodings=ENCODINGS.current)


def current_indicators(min_rows: int) -> TripIndicators:
    """Make the encoder for linear models, with the current features: sparse indicators."""
    return TripIndicators(
        min_rows,
        features=list(FEATURES.current),
        indicators=INDICATORS.current,
        numbers=NUMBERS.current,
    )


def unfitted_pipeline(encoder: Any, model: BoundedRegressor) -> Pipeline:
    """Make the pipeline of every family: the current features, an encoder, and its model."""
    return Pipeline(
        [
            ("features", RequestFeatures(FEATURES.current)),
            ("encoder", encoder),
            ("model", model),
        ]
    )
