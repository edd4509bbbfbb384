"""Features computed from the fields of requests alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from ml_assets.pipeline.versioned_features import Feature, FeatureRegistry, Matrix, Versions
from ml_assets.requests.fields import field_of, looks_like, quoted_name
from ml_assets.requests.parse import MAX_STATED_MILES
from ml_assets.requests.parse import states_distance as states_distance
from ml_assets.requests.pickup_time import new_york_time
from ml_assets.trips.request_columns import FIRST_ZONE, LAST_ZONE, REQUEST_COLUMNS, ZONE_CODES
from ml_assets.trips.school_days import is_school_day
from ml_assets.trips.zones import AIRPORT_ZONES

ROWS_AT_ONCE = 250_000
"""Rows that are parsed or encoded at a time: beside the result, that takes a kilobyte a row."""

NO_ZONE = 0
"""Code of every zone outside 1 to 265."""

_AT_AIRPORT = np.isin(np.arange(ZONE_CODES), AIRPORT_ZONES)

_NEW_YORK = "America/New_York"
_MINUTES_A_DAY = 1440
_MINUTES_A_WEEK = 7 * _MINUTES_A_DAY
_MONDAY_OFFSET = 3 * _MINUTES_A_DAY
"""1970-01-01 was a Thursday; this shift makes minute 0 of the week Monday 00:00."""

_FIRST_DAY, _END = (
    int(np.datetime64(day, "D").astype(np.int64)) for day in ("2005-01-01", "2030-01-01")
)
"""Days, counted from 1970-01-01, between which rules are looked up; others are computed."""

_DEFAULT_TIME = np.datetime64("2020-01-01T12:00", "m")
"""Replaces a missing pick-up time: noon on a Wednesday."""

RequestColumns = Mapping[str, npt.NDArray[Any]]
"""Requests as arrays of equal length, by the names of ``REQUEST_COLUMNS``: zones as integers or
doubles, miles, ``datetime64[us]`` in New York wall time, passengers with NaN where unknown. The
service uses them because building a one-row DataFrame takes longer than predicting it."""


@dataclass(frozen=True)
class RequestFields:
    """The parsed fields of n requests; every array has shape (n,).

    Attributes:
        pickup_zone: 1 to 265, 0 for any other value.
        dropoff_zone: 1 to 265, 0 for any other value.
        miles: Stated miles, NaN where not a number.
        minutes: Whole minutes since 1970 in New York wall time.
        passengers: 0 to 9, -1 where unknown.
    """

    pickup_zone: Matrix
    dropoff_zone: Matrix
    miles: Matrix
    minutes: npt.NDArray[np.int64]
    passengers: Matrix

    @classmethod
    def read(cls, requests: "pd.DataFrame | RequestColumns") -> Self:
        """Parse the fields of requests.

        A missing column of distances means that they are left out, one of pick-up times means now.
        """
        rows = len(requests["PULocationID"])
        return cls(
            pickup_zone=_zones(requests["PULocationID"]),
            dropoff_zone=_zones(requests["DOLocationID"]),
            miles=(
                _numbers(requests["trip_distance"])
                if "trip_distance" in requests
                else np.full(rows, np.nan)
            ),
            minutes=_wall_minutes(
                requests["pickup_datetime"]
                if "pickup_datetime" in requests
                else np.full(rows, new_york_time(), dtype="datetime64[us]")
            ),
            passengers=_passengers(requests, rows),
        )

    @cached_property
    def minute_of_week(self) -> npt.NDArray[np.int64]:
        """Minutes since Monday at midnight."""
        return (self.minutes + _MONDAY_OFFSET) % _MINUTES_A_WEEK

    @cached_property
    def minute_of_day(self) -> npt.NDArray[np.int64]:
        """Minutes since midnight."""
        return self.minute_of_week % _MINUTES_A_DAY


def _stated_miles(request: RequestFields) -> npt.ArrayLike:
    miles = request.miles
    return np.where((miles >= 0) & (miles <= MAX_STATED_MILES), miles, -1.0)


def _log_miles(request: RequestFields) -> npt.ArrayLike:
    stated = states_distance(request.miles)
    return np.where(stated, np.log(np.where(stated, request.miles, 1.0)), np.nan)


def _airport_trip(request: RequestFields) -> npt.ArrayLike:
    ends = (request.pickup_zone, request.dropoff_zone)
    pickup, dropoff = (_AT_AIRPORT[zone.astype(np.intp)] for zone in ends)
    return pickup | dropoff


def _day_off(request: RequestFields) -> npt.ArrayLike:
    return _by_day(is_day_off, request)


def _school_break(request: RequestFields) -> npt.ArrayLike:
    return _by_day(_is_school_break, request)


def _is_school_break(days: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    return ~(is_school_day(days) | is_day_off(days))


DayRule = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]]
"""A rule that is true or false for each day, counted from 1970-01-01."""


def _by_day(rule: DayRule, request: RequestFields) -> npt.NDArray[np.bool_]:
    """Look up a rule for days: computing it for a request is a third of its prediction."""
    at = request.minutes // _MINUTES_A_DAY - _FIRST_DAY
    if ((at >= 0) & (at < _END - _FIRST_DAY)).all():
        return _by_known_day(rule)[at]
    return rule(at + _FIRST_DAY)


@cache
def _by_known_day(rule: DayRule) -> npt.NDArray[np.bool_]:
    return rule(np.arange(_FIRST_DAY, _END))


FEATURES: FeatureRegistry[RequestFields] = FeatureRegistry(
    Feature("pickup_zone", "Zone where the trip begins.", lambda request: request.pickup_zone),
    Feature("dropoff_zone", "Zone where the trip ends.", lambda request: request.dropoff_zone),
    Feature("hour", "Hour of the day, 0 to 23.", lambda request: request.minute_of_day // 60),
    Feature(
        "weekday",
        "Day of the week, 0 is Monday.",
        lambda request: request.minute_of_week // _MINUTES_A_DAY,
    ),
    Feature("minute_of_day", "Minutes since midnight.", lambda request: request.minute_of_day),
    Feature(
        "minute_of_week",
        "Minutes since Monday at midnight.",
        lambda request: request.minute_of_week,
    ),
    Feature("day_off", "Whether the day is a weekend or federal holiday.", _day_off),
    Feature("school_break", "Whether it is a working day without school.", _school_break),
    Feature(
        "stated_miles",
        "Stated miles, -1 where implausible or missing.",
        _stated_miles,
        of_distance=True,
        retired=True,  # log_miles has the same information
    ),
    Feature(
        "log_miles",
        "Log of the stated miles, NaN where implausible.",
        _log_miles,
        of_distance=True,
    ),
    Feature(
        "passenger_count",
        "Number of passengers, -1 where unknown.",
        lambda request: request.passengers,
    ),
    Feature("airport_trip", "Whether the trip begins or ends at an airport.", _airport_trip),
)
"""The features computed from a request alone. To add one, add an entry: tree models use it from the
next training on, and registered models do not change. To change a definition, add an entry with the
same name and the next ``version``."""

LOG_MILES = "log_miles"
"""The only feature that may be NaN: encoders replace NaN by the pair's expected distance."""


class RequestFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Compute the features of requests; stateless, so nothing can leak from the fitted rows.

    Input: a DataFrame of shape (n, ≥ 4) with ``PULocationID``, ``DOLocationID``, ``trip_distance``
    (miles, NaN where left out), ``pickup_datetime`` (naive New York time; an aware column is
    converted) and optionally ``passenger_count``; or :data:`RequestColumns` with the same names.
    Other columns are ignored. ``transform`` allows ``trip_distance`` to be missing, which means
    left out, and ``pickup_datetime``, which means now.

    Output: float64 of shape (n, features). Only ``log_miles`` may be NaN: the stated distance is
    missing, zero or implausible, and a later step replaces it by the pair's expected one.

    Args:
        features: Names and versions of ``FEATURES``, in order; None means the current ones.

    Attributes:
        features_: The features that it was fitted with.
    """

    def __init__(self, features: Versions | None = None) -> None:
        self.features = features

    def fit(self, requests: "pd.DataFrame | RequestColumns", target: Any = None) -> Self:
        """Check the columns and store the features; nothing is learned from the rows."""
        _require_columns(requests, REQUEST_COLUMNS[:4])
        self.features_: dict[str, int] = dict(self._chosen())
        self.n_features_in_ = len(REQUEST_COLUMNS)
        return self

    def transform(self, requests: "pd.DataFrame | RequestColumns") -> Matrix:
        """Compute the matrix of shape (n, features).

        Raises:
            ValueError: A required column is missing or differs in length from the others; the
                message names it.
            TypeError: ``requests`` is neither a DataFrame nor a mapping.
            UnknownFeature: It was fitted with a feature that this code does not define.
        """
        _require_columns(requests, REQUEST_COLUMNS[:2])
        rows, chosen = len(requests["PULocationID"]), self._chosen()
        if rows <= ROWS_AT_ONCE or not isinstance(requests, pd.DataFrame):
            return FEATURES.compute(chosen, RequestFields.read(requests), rows)
        matrix = np.empty((rows, len(chosen)))
        for first in range(0, rows, ROWS_AT_ONCE):
            part = requests.iloc[first : first + ROWS_AT_ONCE]
            matrix[first : first + len(part)] = FEATURES.compute(
                chosen, RequestFields.read(part), len(part)
            )
        return matrix

    def require_definitions(self) -> None:
        """Raise ``UnknownFeature`` if this code lacks a feature that it was fitted with."""
        FEATURES.select(self.features_)

    def describe(self) -> dict[str, str]:
        """Return the sentence of each feature that it was fitted with."""
        return FEATURES.describe(self._chosen())

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the output columns."""
        return np.asarray(list(self._chosen()), dtype=object)

    def _chosen(self) -> Versions:
        fitted: Versions | None = getattr(self, "features_", None)
        if fitted is not None:
            return fitted
        return FEATURES.current if self.features is None else self.features


def _require_columns(requests: "pd.DataFrame | RequestColumns", required: tuple[str, ...]) -> None:
    frame = isinstance(requests, pd.DataFrame)
    if not frame and not isinstance(requests, Mapping):
        raise TypeError(
            f"requests must be a pandas DataFrame with columns {', '.join(REQUEST_COLUMNS)}, or a "
            f"mapping of these to arrays, not {type(requests).__name__}"
        )
    absent = [name for name in required if name not in requests]
    if absent:
        raise ValueError(f"the requests lack {', '.join(absent)}, which a model needs")
    _require_own_names(requests)
    if not frame:
        shapes = {name: np.shape(requests[name]) for name in REQUEST_COLUMNS if name in requests}
        if len(set(shapes.values())) != 1 or len(shapes["PULocationID"]) != 1:
            raise ValueError(f"the columns must be arrays of equal length, not {shapes}")


def _require_own_names(columns: "pd.DataFrame | RequestColumns") -> None:
    """Raise if a column looks like a missing optional field, which a default would replace.

    Other interfaces accept the published names of fields; a pipeline accepts only its own.
    """
    optional = [name for name in REQUEST_COLUMNS[2:] if name not in columns]
    for name in (name for name in columns if isinstance(name, str)) if optional else ():
        field = field_of(name) or looks_like(name, optional)
        if field in optional:
            raise ValueError(
                f"the requests have the column {quoted_name(name)}, which looks like {field}: "
                f"rename it to {field}, or drop it"
            )


def _numbers(column: "pd.Series[Any] | npt.NDArray[Any]") -> Matrix:
    values = np.asarray(column)
    if values.dtype.kind not in "fiu":
        series = pd.Series(column)
        values = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return values.astype(np.float64)


def _zones(column: "pd.Series[Any] | npt.NDArray[Any]") -> Matrix:
    zones = _numbers(column)
    return np.where((zones >= FIRST_ZONE) & (zones <= LAST_ZONE), np.floor(zones), NO_ZONE)


def _wall_minutes(column: "pd.Series[Any] | npt.NDArray[Any]") -> npt.NDArray[np.int64]:
    """Return whole minutes since 1970 in New York wall time.

    Seconds are dropped on purpose: rows entered by hand have none, which depends on how a row was
    recorded and not on the duration.
    """
    if not isinstance(column, np.ndarray) or column.dtype.kind != "M":
        column = _naive_times(pd.Series(column))
    times = column.astype("datetime64[m]")
    return np.where(np.isnat(times), _DEFAULT_TIME, times).astype(np.int64)


def _naive_times(column: "pd.Series[Any]") -> npt.NDArray[np.datetime64]:
    if column.dtype.kind != "M":
        column = pd.to_datetime(column, errors="coerce")
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert(_NEW_YORK).dt.tz_localize(None)
    return column.to_numpy()


def _passengers(requests: "pd.DataFrame | RequestColumns", rows: int) -> Matrix:
    """Return passengers from 0 to 9, or -1 where unknown (rides dispatched by an app)."""
    if "passenger_count" not in requests:
        return np.full(rows, -1.0)
    passengers = _numbers(requests["passenger_count"])
    return np.where((passengers >= 0) & (passengers <= 9), passengers, -1.0)


def is_day_off(days: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether days (counted from 1970-01-01) are a Saturday, a Sunday or a federal holiday.

    The holidays are those with the traffic of a Sunday: New Year, Memorial Day, Independence Day,
    Labor Day, Thanksgiving and Christmas (5 U.S.C. 6103), on their own date.
    """
    date = days.astype("datetime64[D]")
    months = date.astype("datetime64[M]")
    month = months.astype(np.int64) % 12 + 1
    day = (date - months).astype(np.int64) + 1
    weekday = (days + 3) % 7
    fixed = (
        ((month == 1) & (day == 1)) | ((month == 7) & (day == 4)) | ((month == 12) & (day == 25))
    )
    memorial = (month == 5) & (weekday == 0) & (day >= 25)
    labor = (month == 9) & (weekday == 0) & (day <= 7)
    thanksgiving = (month == 11) & (weekday == 3) & (day >= 22) & (day <= 28)
    result: npt.NDArray[np.bool_] = (weekday >= 5) | fixed | memorial | labor | thanksgiving
    return result
