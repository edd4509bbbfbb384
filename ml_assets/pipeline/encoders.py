"""Encoders of requests, dense from past trips or sparse indicators, and the pipeline with one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import Pipeline

from ml_assets.pipeline.bounded_regressor import BoundedRegressor
from ml_assets.pipeline.features import FEATURES, LOG_MILES, RequestFeatures
from ml_assets.pipeline.trip_tables import ENCODINGS, Groups, TripTables, fit_trip_tables
from ml_assets.pipeline.versioned_features import (
    Feature,
    FeatureRegistry,
    Matrix,
    NamedColumns,
    Versions,
)
from ml_assets.pipeline.zone_map import ZoneMap, fit_zone_map


class TripHistory(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Append encodings learned from past trips of the same zones and hours (target encoding).

    Input: the matrix of :class:`RequestFeatures`, (n, features). Output: float32,
    (n, features - 1 + encodings), without NaN: the stated log miles are replaced by their filled
    form.

    ``fit`` learns from all rows, to encode other requests. ``fit_transform`` encodes the fitted
    rows out of fold, each by the rows of the other folds, so that its own duration does not leak
    into its features. A row's fold is a hash of its features: repeated requests, which the
    published files contain, share a fold, and the order of rows does not matter.

    Args:
        folds: Number of folds of ``fit_transform``, at least 2.
        features: Names of the input columns; None means those of the current features.
        encodings: Names and versions of ``ENCODINGS``, in order; None means the current ones.

    Attributes:
        features_: Names of the columns that it was fitted on.
        encodings_: The encodings that it was fitted with.
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

    def fit(self, features: Matrix, target: npt.ArrayLike) -> Self:
        """Learn the tables from features (n, m) and minutes (n,)."""
        named = self._fix_columns(features)
        minutes = np.asarray(target, dtype=np.float64)
        self.tables_: TripTables = fit_trip_tables(named, minutes, _zone_map(named))
        return self

    def transform(self, features: Matrix) -> npt.NDArray[np.float32]:
        """Encode requests other than the fitted rows."""
        named = NamedColumns(features, self.features_)
        return _append(named, self.tables_.encode(named, self.encodings_))

    def fit_transform(  # type: ignore[override]
        self, features: Matrix, target: npt.ArrayLike
    ) -> npt.NDArray[np.float32]:
        """Learn from all rows and encode each row out of fold.

        Raises:
            ValueError: ``folds`` is below 2, or all rows are the same request.
        """
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}: must be at least 2 to encode out of fold")
        named = self._fix_columns(features)
        minutes = np.asarray(target, dtype=np.float64)
        fold_of_row = content_folds(features, self.folds)
        zone_map = _zone_map(named)
        encoded = np.empty((len(features), len(self.encodings_)))
        for fold in range(self.folds):
            inside = fold_of_row == fold
            if inside.all():
                raise ValueError(
                    f"all {len(features)} training rows are the same request: train on more trips"
                )
            tables = fit_trip_tables(named.rows(~inside), minutes[~inside], zone_map)
            encoded[inside] = tables.encode(named.rows(inside), self.encodings_)
        self.tables_ = fit_trip_tables(named, minutes, zone_map)
        return _append(named, encoded)

    def require_definitions(self) -> None:
        """Raise ``UnknownFeature`` if this code lacks an encoding that it was fitted with."""
        ENCODINGS.select(self.encodings_)

    def describe(self) -> dict[str, str]:
        """Return the sentence of each encoding that it was fitted with."""
        return ENCODINGS.describe(self.encodings_)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the output columns."""
        kept = [name for name in self.features_ if name != LOG_MILES]
        return np.asarray([*kept, *self.encodings_], dtype=object)

    def _fix_columns(self, features: Matrix) -> NamedColumns:
        self.features_: list[str] = _names(self.features)
        chosen = ENCODINGS.current if self.encodings is None else self.encodings
        self.encodings_: dict[str, int] = dict(chosen)
        return NamedColumns(features, self.features_)


def _names(features: Sequence[str] | None) -> list[str]:
    return list(FEATURES.current if features is None else features)


def _append(features: NamedColumns, encoded: Matrix) -> npt.NDArray[np.float32]:
    """Append the encodings to the features, without the one that may be NaN."""
    return np.hstack([features.without(LOG_MILES), encoded]).astype(np.float32)


def content_folds(features: Matrix, folds: int) -> npt.NDArray[np.int64]:
    """Assign rows to folds by a hash of their content; equal rows share a fold.

    Args:
        features: float64 of shape (n, m).
        folds: Number of folds.

    Returns:
        Fold numbers, shape (n,), from 0 to folds - 1.
    """
    # Adding 0.0 turns -0.0 into 0.0: equal, but with other bits.
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
    """Sparse indicators of zones and times, and numbers, for linear models.

    Input: the matrix of :class:`RequestFeatures`, (n, features). Output: CSR float64 with 32-bit
    indices (liblinear and Lasso's coordinate descent reject 64-bit ones), (n, learned columns).
    All columns lie between 0 and about 1, so that a penalty applies equally; a value not seen in
    fitting has no column and adds nothing.

    Args:
        least_rows: Minimum training rows with a value for a column of its own.
        features: Names of the input columns; None means those of the current features.
        indicators: Names and versions of ``INDICATORS``, in order; None means the current ones.
        numbers: The same of ``NUMBERS``.

    Attributes:
        features_: Names of the columns that it was fitted on.
        indicators_: The groups of indicators that it was fitted with.
        numbers_: The numbers that it was fitted with; they are the first columns.
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

    def fit(self, features: Matrix, target: Any = None) -> Self:
        """Learn the frequent values and the expected distance of each pair from (n, m)."""
        self.features_: list[str] = _names(self.features)
        chosen = INDICATORS.current if self.indicators is None else self.indicators
        self.indicators_: dict[str, int] = dict(chosen)
        self.numbers_: dict[str, int] = dict(
            NUMBERS.current if self.numbers is None else self.numbers
        )
        named = NamedColumns(features, self.features_)
        self.zone_map_: ZoneMap = _zone_map(named)
        start = len(self.numbers_)
        self.column_of_: list[npt.NDArray[np.int32]] = []
        for codes in self._codes(GroupedRequests(named, self.zone_map_)):
            # The additional last entry stands for all codes not seen in fitting.
            frequent = np.append(np.bincount(codes), 0) >= self.least_rows
            frequent[-1] = False
            column_of = np.full(len(frequent), -1, dtype=np.int32)
            column_of[frequent] = start + np.arange(frequent.sum(), dtype=np.int32)
            start += int(frequent.sum())
            self.column_of_.append(column_of)
        self.columns_ = start
        self.spread_: Matrix = _spread(self.transform(features))
        return self

    def transform(self, features: Matrix) -> sparse.csr_matrix:
        """Encode requests."""
        named = NamedColumns(features, self.features_)
        requests = GroupedRequests(named, self.zone_map_)
        numbers = NUMBERS.compute(self.numbers_, requests, len(features))
        columns = [
            column_of[np.minimum(codes, len(column_of) - 1)]
            for codes, column_of in zip(self._codes(requests), self.column_of_, strict=True)
        ]
        dense = numbers.shape[1]
        indices = np.empty((len(features), dense + len(columns)), dtype=np.int32)
        indices[:, :dense] = np.arange(dense)
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
        names = list(self.numbers_)
        for group, column_of in zip(self.indicators_, self.column_of_, strict=True):
            names.extend(f"{group}={code}" for code in np.flatnonzero(column_of >= 0))
        return np.asarray(names, dtype=object)


@dataclass(frozen=True)
class GroupedRequests:
    """Group codes and distances of requests; the source of ``INDICATORS`` and ``NUMBERS``."""

    features: NamedColumns
    zone_map: ZoneMap

    @cached_property
    def groups(self) -> Groups:
        """Zones, pairs and hours."""
        return Groups.of(self.features)

    @cached_property
    def miles(self) -> Matrix:
        """Stated miles, or the expected ones of the pair where none are stated."""
        stated = self.features[LOG_MILES]
        expected = self.zone_map.usual_log_miles[self.groups.pair]
        miles: Matrix = np.exp(np.where(np.isnan(stated), expected, stated))
        return miles

    @cached_property
    def reach(self) -> npt.NDArray[np.int64]:
        """Band of miles, 0 to 4; 5 where no distance is stated."""
        log_miles = self.features[LOG_MILES]
        known = ~np.isnan(log_miles)
        miles = np.exp(np.where(known, log_miles, 0.0))
        return np.where(known, np.digitize(miles, (1.0, 2.0, 4.0, 8.0)), 5)

    @cached_property
    def band(self) -> npt.NDArray[np.int64]:
        """Four-hour band of a working day, 0 to 5, or of a day off, 6 to 11."""
        hour = self.features["hour"].astype(np.int64)
        return hour // 4 + 6 * self.features["day_off"].astype(np.int64)


INDICATORS: FeatureRegistry[GroupedRequests] = FeatureRegistry(
    Feature("pickup_zone", "Zone where the trip begins.", lambda requests: requests.groups.pickup),
    Feature("dropoff_zone", "Zone where the trip ends.", lambda requests: requests.groups.dropoff),
    Feature("zone_pair", "Pick-up and drop-off zone.", lambda requests: requests.groups.pair),
    Feature("hour_of_week", "Hour of the week.", lambda requests: requests.groups.week_hour),
    Feature(
        "distance_and_hour",
        "Band of miles, and hour of a working day or a day off.",
        lambda requests: requests.reach * 48 + requests.groups.hour,
    ),
    Feature(
        "pickup_zone_and_hour",
        "Pick-up zone, and four-hour band of a working day or a day off.",
        lambda requests: requests.groups.pickup * 12 + requests.band,
    ),
    Feature(
        "dropoff_zone_and_hour",
        "Drop-off zone, and four-hour band of a working day or a day off.",
        lambda requests: requests.groups.dropoff * 12 + requests.band,
    ),
    Feature(
        "passenger_count",
        "Number of passengers.",
        lambda requests: requests.features["passenger_count"].astype(np.int64) + 1,
    ),
)
"""The groups of indicators, as integer codes from 0: each frequent code becomes a column of the
linear models. Entries are added and changed like those of ``FEATURES``."""


_KNOTS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
"""Knots of the piecewise linear distance, miles; the last segment is unbounded."""


def _segment(start: float, end: float) -> Feature[GroupedRequests]:
    """Make the share of a segment of the distance that a trip covers, above 1 in the last one.

    The shares are the same functions as hinges, but with little correlation between columns, so
    that Lasso's coordinate descent converges fast.
    """
    highest = np.inf if end == _KNOTS[-1] else 1.0

    def covered(requests: GroupedRequests) -> Matrix:
        share = np.maximum((requests.miles - start) / (end - start), 0.0)
        return np.minimum(share, highest)

    return Feature(f"miles={start:g}", "Miles, piecewise linear.", covered)


NUMBERS: FeatureRegistry[GroupedRequests] = FeatureRegistry(
    *(_segment(start, end) for start, end in pairwise(_KNOTS)),
    Feature(
        "no_stated_miles",
        "Whether no plausible distance is stated.",
        lambda requests: np.isnan(requests.features[LOG_MILES]),
    ),
    Feature(
        "airport_trip",
        "Whether the trip begins or ends at an airport.",
        lambda requests: requests.features["airport_trip"],
    ),
)
"""The numbers of the linear models, from 0 to about 1; each is a column. Entries are added and
changed like those of ``FEATURES``."""


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
    groups = Groups.of(features)
    return fit_zone_map(groups.pickup, groups.dropoff, features[LOG_MILES])


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


def unfitted_pipeline(encoder: Any, estimator: Any) -> Pipeline:
    """Make the pipeline of every family: the current features, an encoder, and its estimator."""
    return Pipeline(
        [
            ("features", RequestFeatures(FEATURES.current)),
            ("encoder", encoder),
            ("model", BoundedRegressor(estimator)),
        ]
    )
