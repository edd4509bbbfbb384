"""Fast parsing of a single JSON request in plain Python, by the rules of ``check_requests``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from ml_assets.requests.fields import (
    MAX_QUOTED_NAME,
    OWN_NAMES,
    MatchedNames,
    match_names,
    repeated_field,
    wrapped_request,
)
from ml_assets.requests.pickup_time import new_york_time, read_time
from ml_assets.requests.validate import (
    EARLIEST_PICKUP,
    MAX_MILES,
    MIN_MILES,
    PICKUP_DAYS_AHEAD,
    SHOWN_CHARACTERS,
    WHOLE_NUMBERS,
    as_text,
    is_blank,
    missing,
    wrong,
)
from ml_assets.trips.request_columns import REQUEST_COLUMNS

Columns = dict[str, npt.NDArray[Any]]

MIN_STATED_MILES = 0.05
MAX_STATED_MILES = 60.0
"""A metered distance outside this range is a meter fault (0 in 3 to 5 % of the rows, up to 201,421
miles) and is treated as missing."""

_DAYS_AHEAD = timedelta(days=PICKUP_DAYS_AHEAD)
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


class Request(NamedTuple):
    """A valid request, in the order of ``REQUEST_COLUMNS``.

    Attributes:
        trip_distance: Miles; None where left out.
        pickup_datetime: New York wall time, naive, in microseconds.
        passenger_count: None where unknown.
    """

    PULocationID: int
    DOLocationID: int
    trip_distance: float | None
    pickup_datetime: datetime
    passenger_count: float | None


class FieldError(NamedTuple):
    """The error of a field, with the field's name in the request."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class InvalidRequest:
    """An invalid request.

    Attributes:
        errors: One for each invalid or missing field, in the order of ``REQUEST_COLUMNS``, then
            one for each name that repeats a field.
        unknown: Names that are not fields; see ``requests.fields.unknown_field`` for the message.
    """

    errors: tuple[FieldError, ...]
    unknown: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of errors."""
        return len(self.errors) + len(self.unknown)


def parse_request(fields: object, now: datetime | None = None) -> Request | InvalidRequest:
    """Parse and validate one request.

    Args:
        fields: A mapping of JSON values by names as in ``requests.fields``; anything else counts as
            a request without fields.
        now: Pick-up time of a request without one; by default the current time.

    Returns:
        The same values and reasons as ``check_requests(requests_frame([fields]))``. In addition,
        unknown names and fields with two names are rejected, and a request nested in another object
        has that as its only error.
    """
    given: Mapping[Any, Any] = fields if isinstance(fields, Mapping) else {}
    names = None
    if not given.keys() <= OWN_NAMES:
        names = match_names(given)
        if not names.name_of and (wrapper := _wrapper(given)) is not None:
            return InvalidRequest(
                (FieldError(wrapper[:MAX_QUOTED_NAME], wrapped_request(wrapper)),)
            )
        given = {field: given[name] for field, name in names.name_of.items()}
    here = new_york_time() if now is None else _new_york_time(now)
    pickup_zone = _whole("PULocationID", given.get("PULocationID"))
    dropoff_zone = _whole("DOLocationID", given.get("DOLocationID"))
    distance, count = given.get("trip_distance"), given.get("passenger_count")
    miles = None if distance is None else _miles(distance)
    left_out = miles is None and _stated(distance) is None
    pickup = _pickup(given.get("pickup_datetime"), here)
    passengers = None if count is None else _whole("passenger_count", count)
    unknown = passengers is None and _stated(count) is None
    if (
        pickup_zone is None
        or dropoff_zone is None
        or (miles is None and not left_out)
        or pickup is None
        or (passengers is None and not unknown)
    ):
        fits = (
            pickup_zone,
            dropoff_zone,
            0.0 if left_out else miles,
            pickup,
            0.0 if unknown else passengers,
        )
        errors = [
            _field_error(name, given.get(name))
            for name, value in zip(REQUEST_COLUMNS, fits, strict=True)
            if value is None
        ]
        return _invalid_request(errors, names)
    if names is not None and (names.unknown or names.repeated):
        return _invalid_request([], names)
    return Request(int(pickup_zone), int(dropoff_zone), miles, pickup, passengers)


def request_columns(requests: Sequence[Request]) -> Columns:
    """Convert requests to arrays by ``REQUEST_COLUMNS``, the input of a pipeline.

    Returns:
        Zones int16, miles float64 with NaN where left out, New York wall time in microseconds,
        passengers float32 with NaN where unknown: the types of the training data.
    """
    types = _column_types()
    zones, dropoffs, miles, times, passengers = (
        zip(*requests, strict=True) if requests else ((),) * len(types)
    )
    # Four times as fast as NumPy's conversion of datetimes.
    since = [(time - _EPOCH) // _MICROSECOND for time in times]
    columns = (zones, dropoffs, miles, since, passengers)
    return {
        name: np.array(column, dtype=dtype)
        for (name, dtype), column in zip(types.items(), columns, strict=True)
    }


def states_distance(miles: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether each distance, in miles, is one that a model uses; NaN and 0 are not.

    The others count as left out: the model then uses the usual distance of the zone pair.
    """
    given = np.asarray(miles, dtype=np.float64)
    stated: npt.NDArray[np.bool_] = (given >= MIN_STATED_MILES) & (given <= MAX_STATED_MILES)
    return stated


def columns_of(frame: pl.DataFrame) -> Columns:
    """Convert a frame of valid requests to the arrays of :func:`request_columns`.

    Args:
        frame: ``CheckedRequests.requests`` or ``trip_features``; other columns are ignored.
    """
    return {
        name: frame[name].to_numpy().astype(dtype, copy=False)
        for name, dtype in _column_types().items()
    }


def _column_types() -> dict[str, np.dtype[Any]]:
    types = ("int16", "int16", "float64", "datetime64[us]", "float32")
    return {name: np.dtype(text) for name, text in zip(REQUEST_COLUMNS, types, strict=True)}


_new_york_time = lru_cache(maxsize=16)(new_york_time)
"""Cached, since all requests of a list have the same current time."""


def _number(value: Any) -> float | None:
    """Parse a number or numeric text; None for anything else."""
    if type(value) is float:
        return value
    if type(value) is not int:
        text = as_text(value)
        # float() also accepts non-ASCII digits, 1_000, and other white space around a number.
        if text is None or not text.isascii() or "_" in text or text != text.strip():
            return None
        value = text
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _whole(field: str, value: Any) -> float | None:
    first, last = WHOLE_NUMBERS[field]
    number = _number(value)
    fits = number is not None and first <= number <= last and number.is_integer()
    return number if fits else None


def _miles(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and MIN_MILES <= number <= MAX_MILES else None


def _pickup(value: Any, here: datetime) -> datetime | None:
    text = _stated(value)
    if text is None:
        return here
    time = read_time(text)
    inside = time is not None and EARLIEST_PICKUP <= time <= here + _DAYS_AHEAD
    return time if inside else None


def _wrapper(given: Mapping[Any, Any]) -> str | None:
    """Return the first key with an object or a list, in which other servers nest requests."""
    return next((str(key) for key, value in given.items() if isinstance(value, dict | list)), None)


def _stated(value: Any) -> str | None:
    """Return a value as text; None for a missing or blank one."""
    text = as_text(value)
    return None if text is None or is_blank(text) else text


def _invalid_request(errors: list[FieldError], names: MatchedNames | None) -> InvalidRequest:
    """Return the rejection with the names of the request."""
    if names is None:
        return InvalidRequest(tuple(errors))
    found = [FieldError(names.name_of.get(field, field), message) for field, message in errors]
    found += [FieldError(repeated[0], repeated_field(*repeated)) for repeated in names.repeated]
    return InvalidRequest(tuple(found), tuple(names.unknown))


def _field_error(field: str, value: Any) -> FieldError:
    text = _stated(value)
    reason = missing(field) if text is None else wrong(field, text[:SHOWN_CHARACTERS])
    return FieldError(field, reason)
