"""What past trips say about a pair of zones at an hour: shrunken means in dense tables.

Every table is a mean per group, drawn towards the mean of a larger group while trips are few:
pair and hour band towards pair, pair towards its two zones, zone towards all trips. The weights
of the larger group are those of empirical Bayes with a fixed strength (Micci-Barreca 2001,
https://doi.org/10.1145/507533.507538). Sums are ``numpy.bincount``: linear in the rows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_assets.modeling.features import FEATURE_NAMES, LARGEST_ZONE, Matrix

ZONES = LARGEST_ZONE + 1
PAIRS = ZONES * ZONES
HOURS = 48
"""Hours of a working day, then hours of a day off."""
BANDS = 12
"""Four-hour bands of a working day, then of a day off."""

ZONE_STRENGTH = 20.0
PAIR_STRENGTH = 10.0
HOUR_STRENGTH = 8.0
MILES_STRENGTH = 3.0
"""How many trips the larger group's mean counts for. Chosen on judged months April and June 2023;
flat around these values."""

_GROUPS = ("pickup", "dropoff", "hour_of_week", "pair", "pickup_hour", "dropoff_hour", "pair_band")

ENCODING_NAMES = (
    "usual_log_miles",
    "filled_log_miles",
    "detour",
    "log_minutes_by_miles",
    *(f"slowness_{group}" for group in _GROUPS),
    *(f"minutes_{group}" for group in _GROUPS),
    "expected_minutes",
    "expected_minutes_of_hour",
    "log_pair_trips",
)
"""The columns that :meth:`LearnedHistory.encode` returns, in order."""

Codes = npt.NDArray[np.int64]
_COLUMN = {name: position for position, name in enumerate(FEATURE_NAMES)}
_CURVE_EDGES = np.linspace(-3.0, 4.0, 29)
_CURVE_MIDDLES = (_CURVE_EDGES[:-1] + _CURVE_EDGES[1:]) / 2


@dataclass(frozen=True)
class Groups:
    """The group numbers of each request, shape (n,) each."""

    pickup: Codes
    dropoff: Codes
    hour_of_week: Codes
    hour: Codes
    band: Codes
    pair: Codes
    pickup_hour: Codes
    dropoff_hour: Codes
    pair_band: Codes

    @classmethod
    def of(cls, features: Matrix) -> "Groups":
        """Compute the group numbers from the matrix of RequestFeatures, (n, 11)."""
        pickup = features[:, _COLUMN["pickup_zone"]].astype(np.int64)
        dropoff = features[:, _COLUMN["dropoff_zone"]].astype(np.int64)
        clock = features[:, _COLUMN["hour"]].astype(np.int64)
        weekday = features[:, _COLUMN["weekday"]].astype(np.int64)
        day_off = features[:, _COLUMN["day_off"]].astype(np.int64)
        hour = clock + 24 * day_off
        band = clock // 4 + 6 * day_off
        pair = pickup * ZONES + dropoff
        return cls(
            pickup=pickup,
            dropoff=dropoff,
            hour_of_week=weekday * 24 + clock,
            hour=hour,
            band=band,
            pair=pair,
            pickup_hour=pickup * HOURS + hour,
            dropoff_hour=dropoff * HOURS + hour,
            pair_band=pair * BANDS + band,
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


def pair_means(groups: Groups, values: Matrix, strength: float = PAIR_STRENGTH) -> Matrix:
    """Shrunken mean per pair, shape (266 * 266,): towards the sum of its zones' deviations."""
    overall = float(values.mean())
    pickup = shrunken_means(groups.pickup, values, overall, ZONE_STRENGTH, ZONES)
    dropoff = shrunken_means(groups.dropoff, values, overall, ZONE_STRENGTH, ZONES)
    prior = (pickup[:, None] + dropoff[None, :] - overall).ravel()
    return shrunken_means(groups.pair, values, prior, strength, PAIRS)


def _tables(groups: Groups, values: Matrix) -> dict[str, npt.NDArray[np.float32]]:
    """One table per name in ``_GROUPS``."""
    overall = float(values.mean())
    pickup = shrunken_means(groups.pickup, values, overall, ZONE_STRENGTH, ZONES)
    dropoff = shrunken_means(groups.dropoff, values, overall, ZONE_STRENGTH, ZONES)
    hour = shrunken_means(groups.hour, values, overall, ZONE_STRENGTH, HOURS) - overall
    band = shrunken_means(groups.band, values, overall, ZONE_STRENGTH, BANDS) - overall
    pair = shrunken_means(
        groups.pair,
        values,
        (pickup[:, None] + dropoff[None, :] - overall).ravel(),
        PAIR_STRENGTH,
        PAIRS,
    )
    tables = {
        "pickup": pickup,
        "dropoff": dropoff,
        "hour_of_week": shrunken_means(groups.hour_of_week, values, overall, ZONE_STRENGTH, 168),
        "pair": pair,
        "pickup_hour": _within(groups.pickup_hour, values, pickup, hour),
        "dropoff_hour": _within(groups.dropoff_hour, values, dropoff, hour),
        "pair_band": _within(groups.pair_band, values, pair, band),
    }
    return {name: table.astype(np.float32) for name, table in tables.items()}


def _within(codes: Codes, values: Matrix, places: Matrix, times: Matrix) -> Matrix:
    """Means per place and time, drawn towards the place's mean plus the time's deviation."""
    prior = (places[:, None] + times[None, :]).ravel()
    return shrunken_means(codes, values, prior, HOUR_STRENGTH, prior.size)


@dataclass(frozen=True)
class LearnedHistory:
    """The tables learned from some trips.

    Attributes:
        usual_log_miles: per pair, the typical log distance.
        curve: log minutes at the middles of the log-distance bins.
        slowness: per group, how much longer than the curve trips take, in log minutes.
        minutes: per group, the mean minutes.
        log_pair_trips: log(1 + trips) per pair.
    """

    usual_log_miles: npt.NDArray[np.float32]
    curve: npt.NDArray[np.float64]
    slowness: dict[str, npt.NDArray[np.float32]]
    minutes: dict[str, npt.NDArray[np.float32]]
    log_pair_trips: npt.NDArray[np.float32]

    def encode(self, features: Matrix) -> Matrix:
        """Look requests up.

        Args:
            features: the matrix of RequestFeatures, (n, 11).

        Returns:
            Shape (n, len(ENCODING_NAMES)). Only ``detour`` may be NaN: no distance was stated.
        """
        groups = Groups.of(features)
        stated = features[:, _COLUMN["log_miles"]]
        usual = self.usual_log_miles[groups.pair]
        filled = np.where(np.isnan(stated), usual, stated)
        base = np.interp(filled, _CURVE_MIDDLES, self.curve)
        slowness = [self.slowness[name][getattr(groups, name)] for name in _GROUPS]
        minutes = [self.minutes[name][getattr(groups, name)] for name in _GROUPS]
        of = dict(zip(_GROUPS, slowness, strict=True))
        columns = [
            usual,
            filled,
            np.where(np.isnan(stated), 0.0, stated - usual),
            base,
            *slowness,
            *minutes,
            np.exp(base + of["pair_band"]),
            np.exp(base + of["pickup_hour"] + of["dropoff_hour"] - of["hour_of_week"]),
            self.log_pair_trips[groups.pair],
        ]
        return np.stack(columns, axis=1)


def learn_history(features: Matrix, minutes: Matrix) -> LearnedHistory:
    """Learn the tables.

    Args:
        features: the matrix of RequestFeatures, (n, 11).
        minutes: durations, shape (n,), above 0.

    Raises:
        ValueError: when there are no rows.
    """
    if len(features) == 0:
        raise ValueError("there are no trips to learn from")
    groups = Groups.of(features)
    stated = features[:, _COLUMN["log_miles"]]
    usual = usual_log_miles(features)
    filled = np.where(np.isnan(stated), usual[groups.pair], stated)
    log_minutes = np.log(minutes)
    curve = _curve(filled, log_minutes)
    slowness = log_minutes - np.interp(filled, _CURVE_MIDDLES, curve)
    trips = np.bincount(groups.pair, minlength=PAIRS)
    return LearnedHistory(
        usual_log_miles=usual.astype(np.float32),
        curve=curve,
        slowness=_tables(groups, slowness),
        minutes=_tables(groups, minutes),
        log_pair_trips=np.log1p(trips).astype(np.float32),
    )


def usual_log_miles(features: Matrix) -> Matrix:
    """The typical log distance of each pair, from the rows that state a plausible one.

    Args:
        features: the matrix of RequestFeatures, (n, 11).

    Returns:
        Shape (266 * 266,), indexed by pick-up zone * 266 + drop-off zone.
    """
    known = ~np.isnan(features[:, _COLUMN["log_miles"]])
    if not known.any():
        return np.zeros(PAIRS)
    stating = features[known]
    log_miles = stating[:, _COLUMN["log_miles"]]
    return pair_means(Groups.of(stating), log_miles, MILES_STRENGTH)


def _curve(log_miles: Matrix, log_minutes: Matrix) -> Matrix:
    """Mean log minutes per bin of log distance; an empty bin follows a straight line."""
    slope, intercept = _line(log_miles, log_minutes)
    bins = np.clip(np.digitize(log_miles, _CURVE_EDGES) - 1, 0, len(_CURVE_MIDDLES) - 1)
    prior = intercept + slope * _CURVE_MIDDLES
    return shrunken_means(bins, log_minutes, prior, PAIR_STRENGTH, len(_CURVE_MIDDLES))


def _line(x: Matrix, y: Matrix) -> tuple[float, float]:
    """Slope and intercept of least squares; flat when ``x`` does not vary."""
    spread = float(np.var(x))
    if spread < 1e-12:
        return 0.0, float(y.mean())
    slope = float(np.mean((x - x.mean()) * (y - y.mean()))) / spread
    return slope, float(y.mean()) - slope * float(x.mean())
