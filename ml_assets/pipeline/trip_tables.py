"""Target encoding of zones and hours by the durations of past trips.

Slowness is the residual of a trip's log minutes against the mean of trips of its distance. Each
table has a group's mean slowness, shrunk towards that of a wider group when trips are few: a pair
towards the pairs between neighbouring zones, a zone's hour towards the hour. This is empirical
Bayes with a fixed strength (Micci-Barreca 2001, https://doi.org/10.1145/507533.507538). Sums use
``numpy.bincount`` and are linear in the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ml_assets.pipeline.features import LOG_MILES
from ml_assets.pipeline.versioned_features import (
    Feature,
    FeatureRegistry,
    Matrix,
    NamedColumns,
    Versions,
)
from ml_assets.pipeline.zone_map import PAIRS, Codes, ZoneMap
from ml_assets.trips.request_columns import ZONE_CODES
from ml_assets.trips.target import TARGET

HOURS = 48
"""24 hours of a working day, then 24 hours of a day off."""

REACH_MILES = 1.6
"""Length scale of a zone's neighbourhood, see :meth:`ZoneMap.neighbours`."""

PAIR_STRENGTH = 10.0
HOUR_STRENGTH = 20.0
"""Weight of the wider group's mean, in trips. Tested on April and June 2023: halving or doubling
either of these changes XGBoost's error by less than 0.2 %."""

Values = npt.NDArray[np.floating]

_CURVE_EDGES = np.linspace(-3.0, 4.0, 29)
_CURVE_MIDDLES = (_CURVE_EDGES[:-1] + _CURVE_EDGES[1:]) / 2


@dataclass(frozen=True)
class Groups:
    """Group codes of n requests, each of shape (n,)."""

    pickup: Codes
    dropoff: Codes
    pair: Codes
    hour: Codes
    week_hour: Codes

    @classmethod
    def of(cls, features: NamedColumns) -> "Groups":
        """Compute the group codes from the features of requests."""
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
    """The tables learned from past trips.

    Attributes:
        curve_at: Log miles of the points of the duration curve, ascending.
        curve: Log minutes of the points of the duration curve.
        pair: Slowness by pair, (266 * 266,).
        around_pair: Slowness of the pairs between the zones' neighbours, (266 * 266,).
        pickup_hour: Additional slowness by hour and pick-up zone, (48 * 266,).
        dropoff_hour: Additional slowness by hour and drop-off zone, (48 * 266,).
        week_hour: Additional slowness by hour of the week, (168,).
        log_pair_trips: log(1 + trips) by pair, (266 * 266,).
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
        """Encode requests.

        Returns:
            Shape (n, len(encodings)), without NaN: a missing distance is replaced by the expected
            one.
        """
        return ENCODINGS.compute(encodings, TableLookup(self, features), len(features))


@dataclass(frozen=True)
class TableLookup:
    """Table values for n requests; the source of ``ENCODINGS``."""

    tables: TripTables
    features: NamedColumns

    @cached_property
    def groups(self) -> Groups:
        """Group codes of the requests."""
        return Groups.of(self.features)

    @cached_property
    def stated_log_miles(self) -> Values:
        """Log of the stated miles, NaN where implausible."""
        return self.features[LOG_MILES]

    @cached_property
    def usual_log_miles(self) -> Values:
        """Log of the expected miles of the pair."""
        return self.tables.zone_map.usual_log_miles[self.groups.pair]

    @cached_property
    def map_log_miles(self) -> Values:
        """Log of the miles between the zones on the map."""
        return self.tables.zone_map.log_miles[self.groups.pair]

    @cached_property
    def filled_log_miles(self) -> Values:
        """Log of the stated miles, or of the expected ones where none are stated."""
        return np.where(
            np.isnan(self.stated_log_miles), self.usual_log_miles, self.stated_log_miles
        )

    @cached_property
    def pickup_point(self) -> Values:
        """Coordinates of the pick-up zone, (n, 3)."""
        return self.tables.zone_map.points[self.groups.pickup]

    @cached_property
    def dropoff_point(self) -> Values:
        """Coordinates of the drop-off zone, (n, 3)."""
        return self.tables.zone_map.points[self.groups.dropoff]

    @cached_property
    def heading(self) -> Values:
        """Vector from the pick-up to the drop-off zone, (n, 3)."""
        heading: Values = self.dropoff_point - self.pickup_point
        return heading

    @cached_property
    def log_minutes_of_miles(self) -> Values:
        """Mean log minutes of trips of this distance."""
        return np.interp(self.filled_log_miles, self.tables.curve_at, self.tables.curve)

    @cached_property
    def log_minutes_of_usual_miles(self) -> Values:
        """Mean log minutes of trips of the pair's expected distance."""
        return np.interp(self.usual_log_miles, self.tables.curve_at, self.tables.curve)

    @cached_property
    def pair(self) -> Values:
        """Slowness of the pair."""
        return self.tables.pair[self.groups.pair]

    @cached_property
    def pickup_hour(self) -> Values:
        """Additional slowness of the pick-up zone at this hour."""
        slowness: Values = self.tables.pickup_hour[
            self.groups.hour * ZONE_CODES + self.groups.pickup
        ]
        return slowness

    @cached_property
    def dropoff_hour(self) -> Values:
        """Additional slowness of the drop-off zone at this hour."""
        slowness: Values = self.tables.dropoff_hour[
            self.groups.hour * ZONE_CODES + self.groups.dropoff
        ]
        return slowness

    def detour(self, reference: Values) -> Values:
        """Difference of the stated log miles to a reference; 0 where none are stated."""
        stated = self.stated_log_miles
        return np.where(np.isnan(stated), 0.0, stated - reference)

    def expected_minutes(self, log_minutes_of_miles: Values) -> Values:
        """Minutes predicted by the tables alone, for a distance that usually takes as given."""
        hours = (self.pickup_hour + self.dropoff_hour) / 2
        minutes: Values = np.exp(log_minutes_of_miles + self.pair + hours)
        return minutes


def _coordinates(
    name: str, where: str, points: Callable[[TableLookup], Values]
) -> list[Feature[TableLookup]]:
    """Make the features of the three coordinates, in miles on the learned map."""
    return [
        Feature(
            f"{name}_{axis}",
            f"{where}, {axis} on the learned map, miles.",
            lambda found, at=at: points(found)[:, at],  # type: ignore[misc]
        )
        for at, axis in enumerate("xyz")
    ]


ENCODINGS: FeatureRegistry[TableLookup] = FeatureRegistry(
    Feature(
        "usual_log_miles",
        "Log of the expected miles of the zone pair.",
        lambda found: found.usual_log_miles,
    ),
    Feature(
        "map_log_miles",
        "Log of the miles between the zones on the learned map.",
        lambda found: found.map_log_miles,
    ),
    Feature(
        "filled_log_miles",
        "Log of the stated miles, or of the expected ones where none are stated.",
        lambda found: found.filled_log_miles,
        of_distance=True,
    ),
    Feature(
        "detour",
        "Difference of the stated log miles to the expected ones.",
        lambda found: found.detour(found.usual_log_miles),
        of_distance=True,
    ),
    Feature(
        "detour_on_map",
        "Difference of the stated log miles to those on the map.",
        lambda found: found.detour(found.map_log_miles),
        of_distance=True,
    ),
    *_coordinates("pickup", "Pick-up zone", lambda found: found.pickup_point),
    *_coordinates("dropoff", "Drop-off zone", lambda found: found.dropoff_point),
    *_coordinates("heading", "From the pick-up to the drop-off zone", lambda found: found.heading),
    Feature(
        f"log_{TARGET.unit}_of_miles",
        f"Mean log {TARGET.unit} of trips of this distance.",
        lambda found: found.log_minutes_of_miles,
        of_distance=True,
    ),
    Feature(
        f"log_{TARGET.unit}_of_usual_miles",
        f"Mean log {TARGET.unit} of trips of the expected distance of the zone pair.",
        lambda found: found.log_minutes_of_usual_miles,
    ),
    Feature(
        "slowness_of_pair",
        f"Slowness of the zone pair: log {TARGET.unit} above the mean of trips of its distance.",
        lambda found: found.pair,
    ),
    Feature(
        "slowness_around_pair",
        "Slowness of trips between the neighbouring zones.",
        lambda found: found.tables.around_pair[found.groups.pair],
    ),
    Feature(
        "slowness_of_pickup_hour",
        "Additional slowness of the pick-up zone at this hour.",
        lambda found: found.pickup_hour,
    ),
    Feature(
        "slowness_of_dropoff_hour",
        "Additional slowness of the drop-off zone at this hour.",
        lambda found: found.dropoff_hour,
    ),
    Feature(
        "slowness_of_week_hour",
        "Additional slowness of this hour of the week.",
        lambda found: found.tables.week_hour[found.groups.week_hour],
    ),
    Feature(
        f"expected_{TARGET.unit}",
        f"{TARGET.unit.capitalize()} expected from distance, zone pair and hour alone.",
        lambda found: found.expected_minutes(found.log_minutes_of_miles),
        of_distance=True,
    ),
    Feature(
        f"expected_{TARGET.unit}_of_usual_miles",
        f"{TARGET.unit.capitalize()} expected from the zone pair and hour alone.",
        lambda found: found.expected_minutes(found.log_minutes_of_usual_miles),
    ),
    Feature(
        "log_pair_trips",
        "Log of one plus the number of past trips of the zone pair.",
        lambda found: found.tables.log_pair_trips[found.groups.pair],
    ),
)
"""The features from the tables of past trips. Entries are added and changed like those of
``FEATURES``; a new one that needs another table adds a field to :class:`TripTables`, which
registered models lack and do not read."""


def fit_trip_tables(features: NamedColumns, minutes: Matrix, zone_map: ZoneMap) -> TripTables:
    """Learn the tables.

    Args:
        minutes: Durations, shape (n,), above 0.
        zone_map: Map of the zones, learned from distances without durations.

    Raises:
        ValueError: There are no rows.
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
    """Compute the mean of ``values`` by code, shrunk towards ``prior``.

    The prior has the weight of ``strength`` rows.

    Args:
        codes: Group of each row, shape (n,), from 0 to size - 1.
        values: Values of the rows, shape (n,).
        prior: One prior for all groups, or shape (size,).
        strength: Weight of the prior in rows, above 0.
        size: Number of groups.

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
    """Return the slowness around each pair, weighted by proximity at both ends, and of the pair."""
    sums = np.bincount(pair, weights=slowness, minlength=PAIRS).reshape(ZONE_CODES, ZONE_CODES)
    rows = trips.reshape(ZONE_CODES, ZONE_CODES)
    near_sums = neighbours @ sums @ neighbours
    near_rows = neighbours @ rows @ neighbours
    # Half a trip of mean slowness as the prior for pairs without neighbours.
    around = ((near_sums + 0.5 * slowness.mean()) / (near_rows + 0.5)).ravel()
    return around, (sums.ravel() + PAIR_STRENGTH * around) / (trips + PAIR_STRENGTH)


def _zone_hours(
    hour: Codes, zone: Codes, values: Matrix, prior: Matrix, neighbours: Matrix
) -> npt.NDArray[np.float32]:
    """Return means by hour and zone with its neighbours, shrunk towards the hour's, (48 * 266,)."""
    size = HOURS * ZONE_CODES
    code = hour * ZONE_CODES + zone
    sums = np.bincount(code, weights=values, minlength=size).reshape(HOURS, ZONE_CODES) @ neighbours
    rows = np.bincount(code, minlength=size).reshape(HOURS, ZONE_CODES) @ neighbours
    means = (sums + HOUR_STRENGTH * prior[:, None]) / (rows + HOUR_STRENGTH)
    flat: npt.NDArray[np.float32] = means.ravel().astype(np.float32)
    return flat


def _curve(log_miles: Matrix, log_minutes: Matrix) -> Matrix:
    """Return mean log minutes by bin of log distance, shrunk towards a linear fit."""
    slope, intercept = _line(log_miles, log_minutes)
    bins = np.clip(np.digitize(log_miles, _CURVE_EDGES) - 1, 0, len(_CURVE_MIDDLES) - 1)
    prior = intercept + slope * _CURVE_MIDDLES
    return shrunken_means(bins, log_minutes, prior, 10.0, len(_CURVE_MIDDLES))


def _line(x: Matrix, y: Matrix) -> tuple[float, float]:
    """Return slope and intercept of least squares; the slope is 0 when ``x`` does not vary."""
    spread = float(np.var(x))
    if spread < 1e-12:
        return 0.0, float(y.mean())
    slope = float(np.mean((x - x.mean()) * (y - y.mean()))) / spread
    return slope, float(y.mean()) - slope * float(x.mean())
