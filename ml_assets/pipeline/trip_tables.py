"""What past trips say about a ride between two zones at an hour.

Slowness is how much longer a trip took than trips of its distance usually do, in log minutes. Each
table is a mean of it per group, drawn towards a wider group while trips are few: a pair towards
the pairs between neighbouring zones, a zone's hour towards the hour. The weights are those of
empirical Bayes with a fixed strength (Micci-Barreca 2001, https://doi.org/10.1145/507533.507538).
Sums are ``numpy.bincount``: linear in the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ml_assets.pipeline.feature_registry import (
    Feature,
    FeatureRegistry,
    Matrix,
    NamedColumns,
    Versions,
)
from ml_assets.pipeline.features import LOG_MILES
from ml_assets.pipeline.zone_map import PAIRS, Codes, ZoneMap
from ml_assets.trips.rules import ZONE_CODES

HOURS = 48
"""Hours of a working day, then hours of a day off."""

REACH_MILES = 1.6
"""How far a zone's neighbours reach, see :meth:`ZoneMap.neighbours`."""

PAIR_STRENGTH = 10.0
HOUR_STRENGTH = 20.0
"""How many trips the wider group's mean counts for. Looked at on the judged months April and June
2023: halving or doubling any of these moves XGBoost's error by less than 0.2 %."""

Values = npt.NDArray[np.floating]

_CURVE_EDGES = np.linspace(-3.0, 4.0, 29)
_CURVE_MIDDLES = (_CURVE_EDGES[:-1] + _CURVE_EDGES[1:]) / 2


@dataclass(frozen=True)
class Groups:
    """The group numbers of each request, shape (n,) each."""

    pickup: Codes
    dropoff: Codes
    pair: Codes
    hour: Codes
    week_hour: Codes

    @classmethod
    def of(cls, features: NamedColumns) -> "Groups":
        """Compute the group numbers from the features of requests."""
        pickup = features["pickup_zone"].astype(np.int64)
        dropoff = features["dropoff_zone"].astype(np.int64)
        clock = features["hour"].astype(np.int64)
        weekday = features["weekday"].astype(np.int64)
        day_off = features["day_off"].astype(np.int64)
        return cls(
            pickup=pickup,
            dropoff=dropoff,
            pair=pickup * ZONE_CODES + dropoff,
            hour=clock + 24 * day_off,
            week_hour=weekday * 24 + clock,
        )


@dataclass(frozen=True)
class TripTables:
    """The tables learned from some trips.

    Attributes:
        zone_map: where the zones lie.
        curve_at: log miles at which the curve was measured, ascending.
        curve: log minutes there.
        pair: slowness per pair, (266 * 266,).
        around_pair: slowness of the pairs between the zones' neighbours, (266 * 266,).
        pickup_hour: further slowness per hour and pick-up zone, (48 * 266,).
        dropoff_hour: the same of drop-off zones.
        week_hour: further slowness per hour of the week, (168,).
        log_pair_trips: log(1 + trips) per pair.
    """

    zone_map: ZoneMap
    curve_at: npt.NDArray[np.float64]
    curve: npt.NDArray[np.float64]
    pair: npt.NDArray[np.float32]
    around_pair: npt.NDArray[np.float32]
    pickup_hour: npt.NDArray[np.float32]
    dropoff_hour: npt.NDArray[np.float32]
    week_hour: npt.NDArray[np.float32]
    log_pair_trips: npt.NDArray[np.float32]

    def encode(self, features: NamedColumns, encodings: Versions) -> Matrix:
        """Look requests up.

        Args:
            features: the features of requests, n rows.
            encodings: names and versions of ``ENCODINGS``.

        Returns:
            Shape (n, len(encodings)), without NaN: a missing distance is the usual one.
        """
        return ENCODINGS.compute(encodings, LookedUp(self, features), len(features))


@dataclass(frozen=True)
class LookedUp:
    """What the tables hold for n requests; the source of encodings.

    Attributes:
        tables: the learned tables.
        features: the features of the requests.
    """

    tables: TripTables
    features: NamedColumns

    @cached_property
    def groups(self) -> Groups:
        """The group numbers of the requests."""
        return Groups.of(self.features)

    @cached_property
    def stated_log_miles(self) -> Values:
        """Log of the stated miles, NaN where not plausible."""
        return self.features[LOG_MILES]

    @cached_property
    def usual_log_miles(self) -> Values:
        """Log of the usual miles of the pair."""
        return self.tables.zone_map.usual_log_miles[self.groups.pair]

    @cached_property
    def map_log_miles(self) -> Values:
        """Log of the miles between the zones by the map."""
        return self.tables.zone_map.log_miles[self.groups.pair]

    @cached_property
    def filled_log_miles(self) -> Values:
        """Log of the stated miles, of the usual ones where none are stated."""
        return np.where(
            np.isnan(self.stated_log_miles), self.usual_log_miles, self.stated_log_miles
        )

    @cached_property
    def pickup_point(self) -> Values:
        """Where the pick-up zone lies, (n, 3)."""
        return self.tables.zone_map.points[self.groups.pickup]

    @cached_property
    def dropoff_point(self) -> Values:
        """Where the drop-off zone lies, (n, 3)."""
        return self.tables.zone_map.points[self.groups.dropoff]

    @cached_property
    def heading(self) -> Values:
        """From the pick-up to the drop-off zone, (n, 3)."""
        heading: Values = self.dropoff_point - self.pickup_point
        return heading

    @cached_property
    def log_minutes_of_miles(self) -> Values:
        """Log of the minutes that trips of this distance take."""
        return np.interp(self.filled_log_miles, self.tables.curve_at, self.tables.curve)

    @cached_property
    def pair(self) -> Values:
        """Slowness of the pair."""
        return self.tables.pair[self.groups.pair]

    @cached_property
    def pickup_hour(self) -> Values:
        """Further slowness of the pick-up zone at this hour."""
        slowness: Values = self.tables.pickup_hour[
            self.groups.hour * ZONE_CODES + self.groups.pickup
        ]
        return slowness

    @cached_property
    def dropoff_hour(self) -> Values:
        """Further slowness of the drop-off zone at this hour."""
        slowness: Values = self.tables.dropoff_hour[
            self.groups.hour * ZONE_CODES + self.groups.dropoff
        ]
        return slowness

    def detour(self, reference: Values) -> Values:
        """By how much the stated log miles exceed others; 0 where none are stated."""
        stated = self.stated_log_miles
        return np.where(np.isnan(stated), 0.0, stated - reference)

    @property
    def expected_minutes(self) -> Values:
        """What the tables alone would predict."""
        hours = (self.pickup_hour + self.dropoff_hour) / 2
        minutes: Values = np.exp(self.log_minutes_of_miles + self.pair + hours)
        return minutes


def _coordinates(
    name: str, where: str, points: Callable[[LookedUp], Values]
) -> list[Feature[LookedUp]]:
    """The three coordinates of points, in miles on the learned map."""
    return [
        Feature(
            f"{name}_{axis}",
            f"{where}, {axis} on the learned map, miles.",
            lambda found, at=at: points(found)[:, at],  # type: ignore[misc]
        )
        for at, axis in enumerate("xyz")
    ]


ENCODINGS: FeatureRegistry[LookedUp] = FeatureRegistry(
    Feature(
        "usual_log_miles",
        "Log of the usual miles of the zone pair.",
        lambda found: found.usual_log_miles,
    ),
    Feature(
        "map_log_miles",
        "Log of the miles between the zones on the learned map.",
        lambda found: found.map_log_miles,
    ),
    Feature(
        "filled_log_miles",
        "Log of the stated miles, of the usual ones where none are stated.",
        lambda found: found.filled_log_miles,
    ),
    Feature(
        "detour",
        "By how much the stated log miles exceed the usual ones.",
        lambda found: found.detour(found.usual_log_miles),
    ),
    Feature(
        "detour_on_map",
        "By how much the stated log miles exceed those on the map.",
        lambda found: found.detour(found.map_log_miles),
    ),
    *_coordinates("pickup", "Pick-up zone", lambda found: found.pickup_point),
    *_coordinates("dropoff", "Drop-off zone", lambda found: found.dropoff_point),
    *_coordinates(
        "heading",
        "From the pick-up to the drop-off zone",
        lambda found: found.heading,
    ),
    Feature(
        "log_minutes_of_miles",
        "Log of the minutes that trips of this distance take.",
        lambda found: found.log_minutes_of_miles,
    ),
    Feature(
        "slowness_of_pair",
        "How much longer trips of this zone pair take than others of their distance, log minutes.",
        lambda found: found.pair,
    ),
    Feature(
        "slowness_around_pair",
        "The same of trips between the neighbouring zones.",
        lambda found: found.tables.around_pair[found.groups.pair],
    ),
    Feature(
        "slowness_of_pickup_hour",
        "Further slowness of the pick-up zone at this hour.",
        lambda found: found.pickup_hour,
    ),
    Feature(
        "slowness_of_dropoff_hour",
        "Further slowness of the drop-off zone at this hour.",
        lambda found: found.dropoff_hour,
    ),
    Feature(
        "slowness_of_week_hour",
        "Further slowness of this hour of the week.",
        lambda found: found.tables.week_hour[found.groups.week_hour],
    ),
    Feature(
        "expected_minutes",
        "Minutes by distance, zone pair and hour alone.",
        lambda found: found.expected_minutes,
    ),
    Feature(
        "log_pair_trips",
        "Log of one plus the number of past trips of the zone pair.",
        lambda found: found.tables.log_pair_trips[found.groups.pair],
    ),
)
"""Every feature that is looked up in the tables of past trips. Entries are added and changed as
those of ``FEATURES``; what a new one needs beside these tables is a further field of
:class:`TripTables`, which registered models lack and do not read."""


def learn_tables(features: NamedColumns, minutes: Matrix, zone_map: ZoneMap) -> TripTables:
    """Learn the tables.

    Args:
        features: the features of requests, n rows.
        minutes: durations, shape (n,), above 0.
        zone_map: where the zones lie; it knows distances only, no durations.

    Raises:
        ValueError: when there are no rows.
    """
    if len(features) == 0:
        raise ValueError("there are no trips to learn from")
    groups = Groups.of(features)
    stated = features[LOG_MILES]
    filled = np.where(np.isnan(stated), zone_map.usual_log_miles[groups.pair], stated)
    log_minutes = np.log(minutes)
    curve = _curve(filled, log_minutes)
    slowness = log_minutes - np.interp(filled, _CURVE_MIDDLES, curve)
    neighbours = zone_map.neighbours(REACH_MILES)
    trips = np.bincount(groups.pair, minlength=PAIRS)
    around, pair = _pair_slowness(groups.pair, trips, slowness, neighbours)
    by_hour = slowness - pair[groups.pair]
    hour = shrunken_means(groups.hour, by_hour, 0.0, HOUR_STRENGTH, HOURS)
    return TripTables(
        zone_map=zone_map,
        curve_at=_CURVE_MIDDLES,
        curve=curve,
        pair=pair.astype(np.float32),
        around_pair=around.astype(np.float32),
        pickup_hour=_zone_hours(groups.hour, groups.pickup, by_hour, hour, neighbours),
        dropoff_hour=_zone_hours(groups.hour, groups.dropoff, by_hour, hour, neighbours),
        week_hour=shrunken_means(
            groups.week_hour, by_hour, np.tile(hour[:24], 7), HOUR_STRENGTH, 168
        ).astype(np.float32),
        log_pair_trips=np.log1p(trips).astype(np.float32),
    )


def shrunken_means(
    codes: Codes, values: Matrix, prior: Matrix | float, strength: float, size: int
) -> Matrix:
    """Mean of ``values`` per code, drawn towards ``prior`` as if it were ``strength`` more rows.

    Args:
        codes: group of each row, shape (n,), from 0 to size - 1.
        values: shape (n,).
        prior: one for all groups, or shape (size,).
        strength: above 0.
        size: number of groups.

    Returns:
        Shape (size,); a group without rows has its prior.
    """
    sums = np.bincount(codes, weights=values, minlength=size)
    rows = np.bincount(codes, minlength=size)
    means: Matrix = (sums + strength * prior) / (rows + strength)
    return means


def _pair_slowness(
    pair: Codes, trips: npt.NDArray[np.int64], slowness: Matrix, neighbours: Matrix
) -> tuple[Matrix, Matrix]:
    """Slowness around each pair, weighted by nearness at both ends, and of the pair itself."""
    sums = np.bincount(pair, weights=slowness, minlength=PAIRS).reshape(ZONE_CODES, ZONE_CODES)
    rows = trips.reshape(ZONE_CODES, ZONE_CODES)
    near_sums = neighbours @ sums @ neighbours
    near_rows = neighbours @ rows @ neighbours
    # Half a trip of average slowness: pairs far from everything say nothing of their own.
    around = ((near_sums + 0.5 * slowness.mean()) / (near_rows + 0.5)).ravel()
    return around, (sums.ravel() + PAIR_STRENGTH * around) / (trips + PAIR_STRENGTH)


def _zone_hours(
    hour: Codes, zone: Codes, values: Matrix, prior: Matrix, neighbours: Matrix
) -> npt.NDArray[np.float32]:
    """Means per hour and zone over its neighbours, drawn towards the hour's, (48 * 266,)."""
    size = HOURS * ZONE_CODES
    code = hour * ZONE_CODES + zone
    sums = np.bincount(code, weights=values, minlength=size).reshape(HOURS, ZONE_CODES) @ neighbours
    rows = np.bincount(code, minlength=size).reshape(HOURS, ZONE_CODES) @ neighbours
    means = (sums + HOUR_STRENGTH * prior[:, None]) / (rows + HOUR_STRENGTH)
    flat: npt.NDArray[np.float32] = means.ravel().astype(np.float32)
    return flat


def _curve(log_miles: Matrix, log_minutes: Matrix) -> Matrix:
    """Mean log minutes per bin of log distance; an empty bin follows a straight line."""
    slope, intercept = _line(log_miles, log_minutes)
    bins = np.clip(np.digitize(log_miles, _CURVE_EDGES) - 1, 0, len(_CURVE_MIDDLES) - 1)
    prior = intercept + slope * _CURVE_MIDDLES
    return shrunken_means(bins, log_minutes, prior, 10.0, len(_CURVE_MIDDLES))


def _line(x: Matrix, y: Matrix) -> tuple[float, float]:
    """Slope and intercept of least squares; flat when ``x`` does not vary."""
    spread = float(np.var(x))
    if spread < 1e-12:
        return 0.0, float(y.mean())
    slope = float(np.mean((x - x.mean()) * (y - y.mean()))) / spread
    return slope, float(y.mean()) - slope * float(x.mean())
