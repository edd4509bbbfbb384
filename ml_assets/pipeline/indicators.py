"""The columns of linear models: groups of indicators, and numbers from 0 to about 1."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ml_assets.pipeline.features import LOG_MILES
from ml_assets.pipeline.trip_tables import HOURS, Groups
from ml_assets.pipeline.versioned_features import Feature, FeatureRegistry, Matrix, NamedColumns
from ml_assets.pipeline.zone_map import ZoneMap


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
    def usual_miles(self) -> Matrix:
        """Expected miles of the pair."""
        miles: Matrix = np.exp(self.zone_map.usual_log_miles[self.groups.pair], dtype=np.float64)
        return miles

    @cached_property
    def reach(self) -> npt.NDArray[np.int64]:
        """Band of the stated miles, 0 to 4; 5 where no distance is stated."""
        known = ~np.isnan(self.features[LOG_MILES])
        return np.where(known, np.digitize(self.miles, _BANDS), len(_BANDS) + 1)

    @cached_property
    def band(self) -> npt.NDArray[np.int64]:
        """Four-hour band of a working day, 0 to 5, or of a day off, 6 to 11."""
        hour = self.features["hour"].astype(np.int64)
        return hour // 4 + 6 * self.features["day_off"].astype(np.int64)


_BANDS = (1.0, 2.0, 4.0, 8.0)

INDICATORS: FeatureRegistry[GroupedRequests] = FeatureRegistry(
    Feature("pickup_zone", "Zone where the trip begins.", lambda requests: requests.groups.pickup),
    Feature("dropoff_zone", "Zone where the trip ends.", lambda requests: requests.groups.dropoff),
    Feature("zone_pair", "Pick-up and drop-off zone.", lambda requests: requests.groups.pair),
    Feature("hour_of_week", "Hour of the week.", lambda requests: requests.groups.week_hour),
    Feature(
        "school_break_and_hour",
        "Four-hour band of a working day without school.",
        lambda requests: (
            requests.features["school_break"] * (1 + requests.features["hour"] // 4)
        ).astype(np.int64),
    ),
    Feature(
        "distance_and_hour",
        "Band of miles, and hour of a working day or a day off.",
        lambda requests: requests.reach * HOURS + requests.groups.hour,
        of_distance=True,
        codes=(len(_BANDS) + 2) * HOURS,
    ),
    Feature(
        "usual_distance_and_hour",
        "Band of the expected miles, and hour of a working day or a day off.",
        lambda requests: np.digitize(requests.usual_miles, _BANDS) * HOURS + requests.groups.hour,
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


def _segments() -> Iterator[Feature[GroupedRequests]]:
    """Make the share of each segment of the distance that a trip covers, above 1 in the last one.

    The shares are the same functions as hinges, but with little correlation between columns, so
    that Lasso's coordinate descent converges fast.
    """
    for start, end in pairwise(_KNOTS):
        name = f"miles={start:g}"
        of_stated = partial(_covered, start, end, lambda requests: requests.miles)
        of_usual = partial(_covered, start, end, lambda requests: requests.usual_miles)
        yield Feature(name, "Miles, piecewise linear.", of_stated, of_distance=True)
        yield Feature(f"usual_{name}", "Expected miles, piecewise linear.", of_usual)


def _covered(
    start: float,
    end: float,
    miles_of: Callable[[GroupedRequests], Matrix],
    requests: GroupedRequests,
) -> Matrix:
    share = np.maximum((miles_of(requests) - start) / (end - start), 0.0)
    return share if end == _KNOTS[-1] else np.minimum(share, 1.0)


NUMBERS: FeatureRegistry[GroupedRequests] = FeatureRegistry(
    *_segments(),
    Feature(
        "no_stated_miles",
        "Whether no plausible distance is stated.",
        lambda requests: np.isnan(requests.features[LOG_MILES]),
        of_distance=True,
        retired=True,  # such requests have a regressor of their own
    ),
    Feature(
        "airport_trip",
        "Whether the trip begins or ends at an airport.",
        lambda requests: requests.features["airport_trip"],
    ),
)
"""The numbers of the linear models, from 0 to about 1; each is a column. Entries are added and
changed like those of ``FEATURES``."""
