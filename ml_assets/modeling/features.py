"""From a frame of ride requests to a matrix of numbers, without learning anything."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from ml_assets.trips.rules import FIRST_ZONE, LAST_ZONE, REQUEST_COLUMNS, ZONE_CODES
from ml_assets.trips.zones import AIRPORT_ZONES

FEATURE_NAMES = (
    "pickup_zone",
    "dropoff_zone",
    "hour",
    "weekday",
    "minute_of_day",
    "minute_of_week",
    "day_off",
    "stated_miles",
    "log_miles",
    "passenger_count",
    "airport_trip",
)
"""The columns of the matrix, in order."""

NO_ZONE = 0
"""Where every location outside 1 to 265 is put."""

LEAST_MILES = 0.05
MOST_MILES = 60.0
"""A metered distance outside these is a fault of the meter (0 in 3 to 5 % of the rows, 201,421
miles at the other end), so it says nothing about how far the trip goes."""

_AT_AIRPORT = np.isin(np.arange(ZONE_CODES), AIRPORT_ZONES)

_NEW_YORK = "America/New_York"
_MINUTES_A_DAY = 1440
_MINUTES_A_WEEK = 7 * _MINUTES_A_DAY
_MONDAY_OFFSET = 3 * _MINUTES_A_DAY
"""1970-01-01 was a Thursday; with this shift, minute 0 of the week is Monday 00:00."""

_USUAL_TIME = np.datetime64("2020-01-01T12:00", "m")
"""Stands in for a missing pick-up time: noon in the middle of a week."""

Matrix = npt.NDArray[np.float64]

RequestColumns = Mapping[str, npt.NDArray[Any]]
"""Requests as arrays of one length, by the names of ``REQUEST_COLUMNS``: zones as integers or
doubles, miles, ``datetime64[us]`` on the wall clock of New York, passengers with NaN where unknown.
What a service asks with: to build a DataFrame of one row takes longer than to answer it."""


class RequestFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn request fields into numbers; stateless, so nothing can leak from what it was fitted on.

    Input: a DataFrame of shape (n, ≥ 4) with ``PULocationID``, ``DOLocationID``, ``trip_distance``
    (miles), ``pickup_datetime`` (naive New York time; an aware column is converted) and, if it is
    known, ``passenger_count``; or :data:`RequestColumns` of the same. Other columns are ignored.

    Output: float64 of shape (n, 11), named by ``FEATURE_NAMES``. Only ``log_miles`` may be NaN: the
    stated distance is then missing, zero or absurd, and a later step knows the pair's usual one.
    """

    def fit(self, requests: "pd.DataFrame | RequestColumns", target: Any = None) -> Self:
        """Check the columns; there is nothing to learn."""
        _require_columns(requests)
        self.n_features_in_ = len(REQUEST_COLUMNS)
        return self

    def transform(self, requests: "pd.DataFrame | RequestColumns") -> Matrix:
        """Compute the matrix of shape (n, 11).

        Raises:
            ValueError: when a required column is missing, or is no array as long as the others;
                the message names it.
            TypeError: when ``requests`` is neither a DataFrame nor a mapping.
        """
        _require_columns(requests)
        miles = _numbers(requests["trip_distance"])
        minutes = _wall_minutes(requests["pickup_datetime"])
        minute_of_week = (minutes + _MONDAY_OFFSET) % _MINUTES_A_WEEK
        minute_of_day = minute_of_week % _MINUTES_A_DAY
        pickup = _zones(requests["PULocationID"])
        dropoff = _zones(requests["DOLocationID"])
        plausible = (miles >= LEAST_MILES) & (miles <= MOST_MILES)
        matrix = np.empty((len(miles), len(FEATURE_NAMES)))
        matrix[:, 0] = pickup
        matrix[:, 1] = dropoff
        matrix[:, 2] = minute_of_day // 60
        matrix[:, 3] = minute_of_week // _MINUTES_A_DAY
        matrix[:, 4] = minute_of_day
        matrix[:, 5] = minute_of_week
        matrix[:, 6] = is_day_off(minutes // _MINUTES_A_DAY)
        matrix[:, 7] = np.where((miles >= 0) & (miles <= MOST_MILES), miles, -1.0)
        matrix[:, 8] = np.where(plausible, np.log(np.where(plausible, miles, 1.0)), np.nan)
        matrix[:, 9] = _passengers(requests, len(miles))
        matrix[:, 10] = _AT_AIRPORT[pickup.astype(np.intp)] | _AT_AIRPORT[dropoff.astype(np.intp)]
        return matrix

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """The names of the columns of the matrix."""
        return np.asarray(FEATURE_NAMES, dtype=object)


def _require_columns(requests: "pd.DataFrame | RequestColumns") -> None:
    frame = isinstance(requests, pd.DataFrame)
    if not frame and not isinstance(requests, Mapping):
        raise TypeError(
            f"requests must be a pandas DataFrame with columns {', '.join(REQUEST_COLUMNS)}, or a "
            f"mapping of these to arrays, not {type(requests).__name__}"
        )
    absent = [name for name in REQUEST_COLUMNS[:4] if name not in requests]
    if absent:
        raise ValueError(f"the requests lack {', '.join(absent)}: a model needs all of these")
    if not frame:
        shapes = {name: np.shape(requests[name]) for name in REQUEST_COLUMNS if name in requests}
        if len(set(shapes.values())) != 1 or len(shapes["PULocationID"]) != 1:
            raise ValueError(f"the columns must be arrays of one length, not {shapes}")


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
    """Whole minutes since 1970 on the wall clock of New York.

    Seconds are dropped on purpose: rows entered by hand carry none, which tells how the row was
    recorded and not how long the ride takes.
    """
    if not isinstance(column, np.ndarray) or column.dtype.kind != "M":
        column = _naive_times(pd.Series(column))
    times = column.astype("datetime64[m]")
    return np.where(np.isnat(times), _USUAL_TIME, times).astype(np.int64)


def _naive_times(column: "pd.Series[Any]") -> npt.NDArray[np.datetime64]:
    if column.dtype.kind != "M":
        column = pd.to_datetime(column, errors="coerce")
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert(_NEW_YORK).dt.tz_localize(None)
    return column.to_numpy()


def _passengers(requests: "pd.DataFrame | RequestColumns", rows: int) -> Matrix:
    """Passengers from 0 to 9, or -1 where nobody counted (rides that an app dispatched)."""
    if "passenger_count" not in requests:
        return np.full(rows, -1.0)
    passengers = _numbers(requests["passenger_count"])
    return np.where((passengers >= 0) & (passengers <= 9), passengers, -1.0)


def is_day_off(days: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether days (counted from 1970-01-01) are a Saturday, a Sunday or a federal holiday.

    The holidays are those on which traffic is a Sunday's: New Year, Memorial Day, Independence
    Day, Labor Day, Thanksgiving and Christmas (5 U.S.C. 6103), on their own date.
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
