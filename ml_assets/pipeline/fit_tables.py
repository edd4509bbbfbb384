"""Learn the tables of past trips: target encoding of zones and hours by durations.

Each table has a group's mean slowness, shrunk towards that of a wider group when trips are few: a
pair towards the pairs between neighbouring zones, a zone's hour towards the hour. This is empirical
Bayes with a fixed strength (Micci-Barreca 2001, https://doi.org/10.1145/507533.507538).

All of it follows from sums over trips, so the trips of many months are read in parts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ml_assets.pipeline.features import LOG_MILES
from ml_assets.pipeline.trip_tables import HOURS, WEEK_HOURS, Groups, TripTables
from ml_assets.pipeline.versioned_features import Matrix, NamedColumns
from ml_assets.pipeline.zone_map import PAIRS, Codes, PairMiles, ZoneMap, fit_zone_map
from ml_assets.trips.request_columns import ZONE_CODES

REACH_MILES = 1.6
"""Length scale of a zone's neighbourhood, see :meth:`ZoneMap.neighbours`."""

PAIR_STRENGTH = 10.0
HOUR_STRENGTH = 20.0
"""Weight of the wider group's mean, in trips. Tested on April and June 2023: halving or doubling
either of these changes XGBoost's error by less than 0.2 %."""

_MIN_SPREAD = 1e-8
"""Variance of log miles below which they are one distance: the sums are rounded to 1e-10."""

CURVE_STRENGTH = 10.0
"""Weight of a straight line through log miles and log minutes, in trips."""

_CURVE_EDGES = np.linspace(-3.0, 4.0, 29)
_CURVE_POINTS = (_CURVE_EDGES[:-1] + _CURVE_EDGES[1:]) / 2


@dataclass(frozen=True)
class PastTrips:
    """Trips to learn from, or a part of them.

    Attributes:
        features: Features of n trips.
        minutes: Their durations, shape (n,), above 0.
        fold: Fold of each, shape (n,).
    """

    features: NamedColumns
    minutes: Matrix
    fold: Codes


def fit_trip_tables(
    read: Callable[[], Iterable[PastTrips]], folds: int, *, out_of_fold: bool = True
) -> tuple[TripTables, list[TripTables]]:
    """Learn the tables from trips that are read in parts, twice.

    Nothing is kept of a part but sums by fold: first of miles and durations by zone pair, then of
    slowness by hour.

    Args:
        read: Reads the parts from the first on.
        folds: Number of folds.
        out_of_fold: Whether to learn the tables of each fold.

    Returns:
        The tables of all trips, and for each fold those of the other folds' trips. All have the
        coordinates of all trips, since those of two maps cannot be compared; they do not depend on
        durations.

    Raises:
        ValueError: There are no trips, all are in one fold, or the two readings differ in number.
    """
    sums = _PairSums(folds)
    for trips in read():
        sums.add(trips)
    rows = sums.trips.sum(axis=(1, 2))
    if not rows.any():
        raise ValueError("there are no trips to learn from")
    if out_of_fold and rows.max() == rows.sum():
        raise ValueError(
            f"all {rows.sum()} training rows are in one fold, as one repeated request is: train on "
            "more trips"
        )
    all_folds = list(range(folds))
    zone_map = fit_zone_map(sums.stated_miles(all_folds))
    neighbours = zone_map.neighbours(REACH_MILES)
    fitted = [sums.fit(all_folds, zone_map, neighbours)]
    for fold in all_folds if out_of_fold else []:
        others = [other for other in all_folds if other != fold]
        of_others = fit_zone_map(sums.stated_miles(others), zone_map.points)
        of_others = replace(of_others, points=zone_map.points)
        fitted.append(sums.fit(others, of_others, neighbours))
    hours = _HourSums(folds, fitted)
    for trips in read():
        hours.add(trips)
    if not np.array_equal(hours.trips[-1].sum(axis=1), rows):
        raise ValueError("the second reading gave other trips than the first")
    tables = [hours.fit(at) for at in range(len(fitted))]
    return tables[0], tables[1:]


class _PairSums:
    """Sums by fold and zone pair, for what does not need the hour.

    Attributes:
        trips: Number of trips by fold, whether a distance is stated, and pair.
        log_minutes: Sum of their log minutes, likewise.
        log_miles: Sum of log miles of the trips with a stated one, by fold and pair.
        weights: Sum of the weights of the curve's points, by fold, pair and point: the curve at a
            trip's stated distance is a mean of two points, weighted by proximity.
        curve_trips: Number of trips with a stated distance by fold and bin of the curve.
        curve_minutes: Sum of their log minutes, likewise.
        moments: Sums of log miles, their squares and their products with log minutes, of the trips
            with a stated distance, by fold.
    """

    def __init__(self, folds: int) -> None:
        points = len(_CURVE_POINTS)
        self.trips = np.zeros((folds, 2, PAIRS), dtype=np.int64)
        self.log_minutes = np.zeros((folds, 2, PAIRS))
        self.log_miles = np.zeros((folds, PAIRS))
        self.weights = sparse.csr_matrix((folds * PAIRS, points))
        self.curve_trips = np.zeros((folds, points))
        self.curve_minutes = np.zeros((folds, points))
        self.moments = np.zeros((folds, 3))

    def add(self, trips: PastTrips) -> None:
        """Add a part of the trips."""
        folds, fold, pair = len(self.trips), trips.fold, Groups.of(trips.features).pair
        log_miles, log_minutes = trips.features[LOG_MILES], np.log(trips.minutes)
        is_stated = ~np.isnan(log_miles)

        def add_up(into: npt.NDArray[Any], codes: Codes, values: Matrix | int = 1) -> None:
            np.add.at(into.reshape(-1), codes, values)  # touches the sums of these codes only

        code = (fold * 2 + is_stated) * PAIRS + pair
        add_up(self.trips, code)
        add_up(self.log_minutes, code, log_minutes)
        if not is_stated.all():
            fold, pair = fold[is_stated], pair[is_stated]
            log_miles, log_minutes = log_miles[is_stated], log_minutes[is_stated]
        code = fold * PAIRS + pair
        add_up(self.log_miles, code, log_miles)
        for at, values in enumerate((log_miles, log_miles**2, log_miles * log_minutes)):
            self.moments[:, at] += np.bincount(fold, values, folds)
        bins = fold * len(_CURVE_POINTS) + _curve_bin(log_miles)
        add_up(self.curve_trips, bins)
        add_up(self.curve_minutes, bins, log_minutes)
        lower, share = _between_points(log_miles)
        weights = np.concatenate([1 - share, share])
        cells = (np.tile(code, 2), np.concatenate([lower, lower + 1]))
        self.weights += sparse.coo_matrix((weights, cells), self.weights.shape).tocsr()

    def stated_miles(self, folds: list[int]) -> PairMiles:
        """Return the sums over the trips of these folds with a stated distance."""
        return PairMiles(_total(self.trips[:, 1], folds), _total(self.log_miles, folds))

    def fit(self, folds: list[int], zone_map: ZoneMap, neighbours: Matrix) -> "_PairTables":
        """Learn the curve, and the slowness of pairs, from the trips of these folds."""
        trips, log_minutes = _total(self.trips, folds), _total(self.log_minutes, folds)
        usual = zone_map.usual_log_miles.astype(np.float64)
        number = int(trips.sum())
        mean = float(log_minutes.sum()) / number
        curve = self._curve(folds, number, mean, usual, trips[0], log_minutes[0])
        weights = sum(self.weights[fold * PAIRS : (fold + 1) * PAIRS] for fold in folds)
        expected = weights @ curve + trips[0] * _at_points(curve, *_between_points(usual))
        sums, rows = log_minutes.sum(axis=0) - expected, trips.sum(axis=0)
        near_sums, near_rows = (
            neighbours @ values.reshape(ZONE_CODES, ZONE_CODES) @ neighbours
            for values in (sums, rows)
        )
        # Half a trip of mean slowness as the prior for pairs without neighbours.
        around = ((near_sums + 0.5 * sums.sum() / number) / (near_rows + 0.5)).ravel()
        pair = shrunken_means(sums, rows, around, PAIR_STRENGTH)
        return _PairTables(zone_map, neighbours, curve, pair, around, rows)

    def _curve(
        self,
        folds: list[int],
        rows: int,
        mean: float,
        usual: Matrix,
        trips: Codes,
        log_minutes: Matrix,
    ) -> Matrix:
        """Return mean log minutes by bin of log distance, shrunk towards a linear fit.

        Args:
            rows: Number of trips.
            mean: Mean of their log minutes.
            usual: Expected log miles by pair, for the trips without a stated distance.
            trips: Number of these by pair.
            log_minutes: Sum of their log minutes by pair.
        """
        miles, squares, products = self.moments[folds].sum(axis=0)
        x, y = (miles + trips @ usual) / rows, mean
        spread = (squares + trips @ usual**2) / rows - x**2
        slope = 0.0
        if spread > _MIN_SPREAD:
            slope = ((products + log_minutes @ usual) / rows - x * y) / spread
        prior = y + slope * (_CURVE_POINTS - x)
        bins, size = _curve_bin(usual), len(_CURVE_POINTS)
        in_bin = self.curve_trips[folds].sum(axis=0) + np.bincount(bins, trips, size)
        sums = self.curve_minutes[folds].sum(axis=0) + np.bincount(bins, log_minutes, size)
        return shrunken_means(sums, in_bin, prior, CURVE_STRENGTH)


def _total(by_fold: npt.NDArray[Any], folds: list[int]) -> npt.NDArray[Any]:
    """Add up the first axis over these folds, without a copy of them."""
    total: npt.NDArray[Any] = by_fold[folds[0]].copy()
    for fold in folds[1:]:
        total += by_fold[fold]
    return total


@dataclass(frozen=True)
class _PairTables:
    """What is learned before the hours, see :class:`TripTables`, and the zones' proximity."""

    zone_map: ZoneMap
    neighbours: Matrix
    curve: Matrix
    pair: Matrix
    around: Matrix
    trips: npt.NDArray[np.int64]


class _HourSums:
    """Sums of slowness above that of the pair by hour, for several tables.

    Attributes:
        trips: Number of trips by fold, for each of three groups: hour and pick-up zone, hour and
            drop-off zone, hour of the week.
        slowness: Sum of their slowness above that of the pair, by table. The first table is of all
            trips, the others are of those outside of a fold.
    """

    def __init__(self, folds: int, tables: list[_PairTables]) -> None:
        sizes = (HOURS * ZONE_CODES, HOURS * ZONE_CODES, WEEK_HOURS)
        self.tables = tables
        self.trips = [np.zeros((folds, size), dtype=np.int64) for size in sizes]
        self.slowness = [np.zeros((len(tables), size)) for size in sizes]

    def add(self, trips: PastTrips) -> None:
        """Add a part of the trips."""
        groups = Groups.of(trips.features)
        codes = (
            groups.hour * ZONE_CODES + groups.pickup,
            groups.hour * ZONE_CODES + groups.dropoff,
            groups.week_hour,
        )
        for total, code in zip(self.trips, codes, strict=True):
            by_fold = np.bincount(trips.fold * total.shape[1] + code, minlength=total.size)
            total += by_fold.reshape(total.shape)
        log_miles, log_minutes = trips.features[LOG_MILES], np.log(trips.minutes)
        missing = np.flatnonzero(np.isnan(log_miles))
        pair_of_missing = groups.pair[missing]
        lower, share = _between_points(np.where(np.isnan(log_miles), 0.0, log_miles))
        for at, table in enumerate(self.tables):
            usual = table.zone_map.usual_log_miles[pair_of_missing].astype(np.float64)
            lower[missing], share[missing] = _between_points(usual)
            by_hour = log_minutes - _at_points(table.curve, lower, share)
            by_hour -= table.pair[groups.pair]
            if at > 0:
                by_hour[trips.fold == at - 1] = 0.0
            for slowness, code in zip(self.slowness, codes, strict=True):
                slowness[at] += np.bincount(code, by_hour, slowness.shape[1])

    def fit(self, at: int) -> TripTables:
        """Learn the tables with this number."""
        table = self.tables[at]
        of_pickup, of_dropoff, of_week = (slowness[at] for slowness in self.slowness)
        pickups, dropoffs, weeks = (
            trips.sum(axis=0) - (trips[at - 1] if at else 0) for trips in self.trips
        )
        by_hour = (HOURS, ZONE_CODES)
        sums, trips = (values.reshape(by_hour).sum(axis=1) for values in (of_pickup, pickups))
        hour = shrunken_means(sums, trips, 0.0, HOUR_STRENGTH)

        def by_zone(sums: Matrix, trips: Codes) -> npt.NDArray[np.float32]:
            """Return means by hour and zone with its neighbours, shrunk towards the hour's."""
            near_sums, near_trips = (
                values.reshape(by_hour) @ table.neighbours for values in (sums, trips)
            )
            means = shrunken_means(near_sums, near_trips, hour[:, None], HOUR_STRENGTH)
            return means.ravel().astype(np.float32)

        return TripTables(
            zone_map=table.zone_map,
            curve_at=_CURVE_POINTS,
            curve=table.curve,
            pair=table.pair.astype(np.float32),
            around_pair=table.around.astype(np.float32),
            pickup_hour=by_zone(of_pickup, pickups),
            dropoff_hour=by_zone(of_dropoff, dropoffs),
            week_hour=shrunken_means(of_week, weeks, np.tile(hour[:24], 7), HOUR_STRENGTH).astype(
                np.float32
            ),
            log_pair_trips=np.log1p(table.trips).astype(np.float32),
        )


def shrunken_means(
    sums: Matrix, trips: npt.NDArray[Any], prior: Matrix | float, strength: float
) -> Matrix:
    """Compute means from sums and numbers of trips, shrunk towards a prior.

    Args:
        prior: One prior for all groups, or one for each.
        strength: Weight of the prior in trips, above 0.

    Returns:
        Shape of ``sums``; a group without trips has its prior.
    """
    means: Matrix = (sums + strength * prior) / (trips + strength)
    return means


def _curve_bin(log_miles: Matrix) -> Codes:
    """Return the bin of the curve that each distance is in."""
    return np.clip(np.digitize(log_miles, _CURVE_EDGES) - 1, 0, len(_CURVE_POINTS) - 1)


def _between_points(log_miles: Matrix) -> tuple[Codes, Matrix]:
    """Return the lower of the curve's two points around each distance, and the upper one's weight.

    Beyond the ends, the curve is that of the last point.
    """
    step = _CURVE_POINTS[1] - _CURVE_POINTS[0]
    last = len(_CURVE_POINTS) - 1
    position = np.clip((log_miles - _CURVE_POINTS[0]) / step, 0.0, last)
    lower = np.minimum(position.astype(np.int64), last - 1)
    return lower, position - lower


def _at_points(curve: Matrix, lower: Codes, share: Matrix) -> Matrix:
    """Return the curve between these points."""
    at: Matrix = curve[lower] + share * np.diff(curve)[lower]
    return at
