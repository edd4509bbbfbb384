"""What past trips say about a ride between two zones at an hour.

Slowness is how much longer a trip took than trips of its distance usually do, in log minutes. Each
table is a mean of it per group, drawn towards a wider group while trips are few: a pair towards
the pairs between neighbouring zones, a zone's hour towards the hour. The weights are those of
empirical Bayes with a fixed strength (Micci-Barreca 2001, https://doi.org/10.1145/507533.507538).
Sums are ``numpy.bincount``: linear in the rows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_assets.modeling.features import FEATURE_NAMES, Matrix
from ml_assets.modeling.geography import PAIRS, Codes, ZoneMap
from ml_assets.trips.rules import ZONE_CODES

HOURS = 48
"""Hours of a working day, then hours of a day off."""

REACH_MILES = 1.6
"""How far a zone's neighbours reach, see :meth:`ZoneMap.neighbours`."""

PAIR_STRENGTH = 10.0
HOUR_STRENGTH = 20.0
"""How many trips the wider group's mean counts for. Looked at on the judged months April and June
2023: halving or doubling any of these moves XGBoost's error by less than 0.2 %."""

ENCODING_NAMES = (
    "usual_log_miles",
    "map_log_miles",
    "filled_log_miles",
    "detour",
    "detour_on_map",
    "pickup_x",
    "pickup_y",
    "pickup_z",
    "dropoff_x",
    "dropoff_y",
    "dropoff_z",
    "heading_x",
    "heading_y",
    "heading_z",
    "log_minutes_of_miles",
    "slowness_of_pair",
    "slowness_around_pair",
    "slowness_of_pickup_hour",
    "slowness_of_dropoff_hour",
    "slowness_of_week_hour",
    "expected_minutes",
    "log_pair_trips",
)
"""The columns that :meth:`TripTables.encode` returns, in order."""

_COLUMN = {name: position for position, name in enumerate(FEATURE_NAMES)}
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
    def of(cls, features: Matrix) -> "Groups":
        """Compute the group numbers from the matrix of RequestFeatures."""
        pickup = features[:, _COLUMN["pickup_zone"]].astype(np.int64)
        dropoff = features[:, _COLUMN["dropoff_zone"]].astype(np.int64)
        clock = features[:, _COLUMN["hour"]].astype(np.int64)
        weekday = features[:, _COLUMN["weekday"]].astype(np.int64)
        day_off = features[:, _COLUMN["day_off"]].astype(np.int64)
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
        curve: log minutes at the middles of the log-distance bins.
        pair: slowness per pair, (266 * 266,).
        around_pair: slowness of the pairs between the zones' neighbours, (266 * 266,).
        pickup_hour: further slowness per hour and pick-up zone, (48 * 266,).
        dropoff_hour: the same of drop-off zones.
        week_hour: further slowness per hour of the week, (168,).
        log_pair_trips: log(1 + trips) per pair.
    """

    zone_map: ZoneMap
    curve: npt.NDArray[np.float64]
    pair: npt.NDArray[np.float32]
    around_pair: npt.NDArray[np.float32]
    pickup_hour: npt.NDArray[np.float32]
    dropoff_hour: npt.NDArray[np.float32]
    week_hour: npt.NDArray[np.float32]
    log_pair_trips: npt.NDArray[np.float32]

    def encode(self, features: Matrix) -> Matrix:
        """Look requests up.

        Args:
            features: the matrix of RequestFeatures, (n, m).

        Returns:
            Shape (n, len(ENCODING_NAMES)), without NaN: a missing distance is the usual one.
        """
        groups = Groups.of(features)
        stated = features[:, _COLUMN["log_miles"]]
        usual = self.zone_map.usual_log_miles[groups.pair]
        on_map = self.zone_map.log_miles[groups.pair]
        missing = np.isnan(stated)
        filled = np.where(missing, usual, stated)
        base = np.interp(filled, _CURVE_MIDDLES, self.curve)
        pair = self.pair[groups.pair]
        pickup_hour = self.pickup_hour[groups.hour * ZONE_CODES + groups.pickup]
        dropoff_hour = self.dropoff_hour[groups.hour * ZONE_CODES + groups.dropoff]
        start = self.zone_map.points[groups.pickup]
        end = self.zone_map.points[groups.dropoff]
        columns = [
            usual,
            on_map,
            filled,
            np.where(missing, 0.0, stated - usual),
            np.where(missing, 0.0, stated - on_map),
            *start.T,
            *end.T,
            *(end - start).T,
            base,
            pair,
            self.around_pair[groups.pair],
            pickup_hour,
            dropoff_hour,
            self.week_hour[groups.week_hour],
            np.exp(base + pair + (pickup_hour + dropoff_hour) / 2),
            self.log_pair_trips[groups.pair],
        ]
        return np.stack(columns, axis=1)


def learn_tables(features: Matrix, minutes: Matrix, zone_map: ZoneMap) -> TripTables:
    """Learn the tables.

    Args:
        features: the matrix of RequestFeatures, (n, m).
        minutes: durations, shape (n,), above 0.
        zone_map: where the zones lie; it knows distances only, no durations.

    Raises:
        ValueError: when there are no rows.
    """
    if len(features) == 0:
        raise ValueError("there are no trips to learn from")
    groups = Groups.of(features)
    stated = features[:, _COLUMN["log_miles"]]
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
