"""Encodings of requests by tables of past trips: expected distances and slowness.

Slowness is the residual of a trip's log minutes against the mean of trips of its distance; see
``fit_tables`` for how the tables are learned.
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
from ml_assets.pipeline.zone_map import Codes, ZoneMap
from ml_assets.trips.request_columns import ZONE_CODES
from ml_assets.trips.target import TARGET

HOURS = 48
"""24 hours of a working day, then 24 hours of a day off."""

WEEK_HOURS = 168

Values = npt.NDArray[np.floating]


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
