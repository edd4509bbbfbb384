"""Validation of requests: the same rules for batch files, the prediction service and the UI."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from ml_assets.requests.pickup_time import is_parseable, new_york_time, to_wall_time
from ml_assets.trips.request_columns import FIRST_ZONE, LAST_ZONE, REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

REQUIRED_FIELDS: Final = REQUEST_COLUMNS[:2]
"""Required fields of a request: the two zones."""

MIN_MILES: Final = 0.0
MAX_MILES: Final = 1000.0
"""Longer rides do not occur. Models have their own limits of plausible distances, and treat others
as left out."""

MIN_PASSENGERS: Final = 0
MAX_PASSENGERS: Final = 9

EARLIEST_PICKUP: Final = datetime(2009, 1, 1)
"""First month of published trips; New York wall time, as every time without an offset."""
PICKUP_DAYS_AHEAD: Final = 365

_ZONE_RULE = f"a zone number from {FIRST_ZONE} to {LAST_ZONE}"
RULES: Final = {
    "PULocationID": _ZONE_RULE,
    "DOLocationID": _ZONE_RULE,
    "trip_distance": f"a number of miles from {MIN_MILES:.0f} to {MAX_MILES:.0f}, or left out for "
    "the usual distance of the two zones",
    "pickup_datetime": f"an ISO 8601 time from {EARLIEST_PICKUP:%Y-%m-%d} to a year from now, like "
    "2024-05-06T17:30 (New York time) or with its offset",
    "passenger_count": f"a whole number from {MIN_PASSENGERS} to {MAX_PASSENGERS}",
}
"""Description of valid values: ``f"{field} must be {RULES[field]}, not {value}"``."""

WHOLE_NUMBERS: Final = {
    "PULocationID": (FIRST_ZONE, LAST_ZONE),
    "DOLocationID": (FIRST_ZONE, LAST_ZONE),
    "passenger_count": (MIN_PASSENGERS, MAX_PASSENGERS),
}
"""Integer fields with their minimum and maximum."""

REASON: Final = "reason"
"""Column with the reason why a row has no prediction; null where it has one."""
DISTANCE: Final = "distance"
DISTANCE_MILES: Final = "distance_miles"
"""Columns with the distance that was used: ``STATED`` or ``USUAL``, and its miles."""
PREDICTION_COLUMNS: Final = (
    *TARGET.prediction_fields,
    DISTANCE,
    DISTANCE_MILES,
    "model_version",
    "scored_at",
)
"""Columns of a prediction; all null where there is a reason."""

SHOWN_CHARACTERS: Final = 40
"""Maximum characters of an invalid value in a reason."""
MAX_VALUE_CHARACTERS: Final = 1000
"""Longer text, without surrounding white space, is not a value."""
TOO_LONG: Final = f"text over {MAX_VALUE_CHARACTERS} characters"
"""Replaces such text in a reason; neither a number nor a time."""
WHITE_SPACE: Final = " \t\n\v\f\r"
"""Stripped from both ends of text. Libraries differ in what else counts as white space."""


@dataclass(frozen=True)
class CheckedRequests:
    """The result of a check.

    Attributes:
        requests: The valid rows, in order: ``REQUEST_COLUMNS`` with the types of the training data
            (zones int16, miles float64 or null where left out, New York wall time in microseconds,
            passengers float32 or null).
        valid: Whether each input row is valid.
        reasons: Why each input row is invalid: field, value and range; null where valid.
    """

    requests: pl.DataFrame
    valid: pl.Series
    reasons: pl.Series


def missing(field: str) -> str:
    """Return the reason for a missing field."""
    return f"{field} is missing: it must be {RULES[field]}"


def wrong(field: str, shown: str) -> str:
    """Return the reason for an invalid value."""
    return f"{field} must be {RULES[field]}, not {shown}"


def requests_frame(requests: Iterable[Any]) -> pl.DataFrame:
    """Convert requests from JSON to a frame for :func:`check_requests`.

    A column of only numbers keeps its type; other columns become text.

    Args:
        requests: Mappings with any values; anything else counts as a request without fields.
    """
    rows = [row if isinstance(row, Mapping) else {} for row in requests]
    return pl.DataFrame(
        [_column([row.get(name) for row in rows]).alias(name) for name in REQUEST_COLUMNS]
    )


def _column(values: list[Any]) -> pl.Series:
    """Return the values of a field as a column of their type if lossless, else as text."""
    found = {*map(type, values)} - {type(None)}
    plain = {float: pl.Float64, int: pl.Int64}.get(found.pop()) if len(found) == 1 else None
    if plain is not None:
        with suppress(OverflowError, TypeError):  # an integer out of range
            return pl.Series(values, dtype=plain)
    return pl.Series([as_text(value) for value in values], dtype=pl.String)


def check_requests(frame: pl.DataFrame, now: datetime | None = None) -> CheckedRequests:
    """Validate the rows of a frame as requests.

    Numbers may be text (``"74"``), zones and passengers whole floats. A time without an offset is
    New York time and not changed, even if a clock change skipped it; with an offset it is
    converted. Empty text and NaN count as missing.

    Args:
        frame: Columns of any type; absent request fields count as missing.
        now: Pick-up time of requests without one; by default the current time.
    """
    here = new_york_time(now)
    given = pl.DataFrame(
        [
            _given(frame[name]).alias(name)
            if name in frame.columns
            else pl.Series(name, [None] * frame.height, pl.String)
            for name in REQUEST_COLUMNS
        ]
    )
    read = pl.DataFrame(
        [
            (to_wall_time if name == "pickup_datetime" else _numbers)(given[name]).alias(name)
            for name in REQUEST_COLUMNS
        ]
    )
    fits = read.select(**_ranges(here)).fill_null(False)
    optional = [name for name in REQUEST_COLUMNS if name not in REQUIRED_FIELDS]
    fits = fits.with_columns(fits[name] | given[name].is_null() for name in optional)
    valid = fits.select(valid=pl.all_horizontal(pl.all()))["valid"]
    return CheckedRequests(
        requests=_typed(read.filter(valid), here), valid=valid, reasons=_reasons(given, fits, valid)
    )


def states_no_pickup(frame: pl.DataFrame) -> pl.Series:
    """Whether each row has no pick-up time and is predicted for the current time."""
    if "pickup_datetime" not in frame.columns:
        return pl.Series([True] * frame.height, dtype=pl.Boolean)
    return _given(frame["pickup_datetime"]).is_null()


def _ranges(here: datetime) -> dict[str, pl.Expr]:
    """Return the expressions that check the range of each field."""
    last = here + timedelta(days=PICKUP_DAYS_AHEAD)
    inside: dict[str, tuple[Any, Any]] = {
        **WHOLE_NUMBERS,
        "trip_distance": (MIN_MILES, MAX_MILES),
        "pickup_datetime": (EARLIEST_PICKUP, last),
    }
    return {
        name: pl.col(name).is_between(*inside[name])
        & (pl.col(name) == pl.col(name).floor() if name in WHOLE_NUMBERS else True)
        for name in REQUEST_COLUMNS
    }


def _typed(read: pl.DataFrame, here: datetime) -> pl.DataFrame:
    return read.select(
        pl.col("PULocationID", "DOLocationID").cast(pl.Int16),
        pl.col("trip_distance"),
        pl.col("pickup_datetime").fill_null(pl.lit(here, pl.Datetime("us"))),
        pl.col("passenger_count").cast(pl.Float32),
    )


def _reasons(given: pl.DataFrame, fits: pl.DataFrame, valid: pl.Series) -> pl.Series:
    """Return why each row is invalid; null where it is valid."""
    invalid = given.filter(~valid)
    invalid_fits = fits.filter(~valid)
    parts = []
    for name in REQUEST_COLUMNS:
        absent = pl.col("shown").is_null()
        reason = pl.when("fits").then(None).when(absent).then(pl.lit(missing(name)))
        text = reason.otherwise(pl.format(wrong(name, "{}"), pl.col("shown")))
        shown = pl.DataFrame({"shown": _shown(invalid[name]), "fits": invalid_fits[name]})
        parts.append(shown.select(text.alias(name)))
    reasons = pl.concat(parts, how="horizontal").select(
        reason=pl.concat_str(pl.all(), separator="; ", ignore_nulls=True)
    )
    rows = pl.DataFrame({"row": pl.Series(range(len(valid)), dtype=pl.UInt32)})
    invalid_rows = rows.filter(~valid).hstack(reasons)
    return rows.join(invalid_rows, on="row", how="left", maintain_order="left")["reason"]


def _given(column: pl.Series) -> pl.Series:
    """Return a column as numbers, times or text, null where blank."""
    dtype = column.dtype
    if dtype.is_float():
        return column.fill_nan(None)
    if dtype.is_numeric() or dtype in (pl.Datetime, pl.Date):
        return column
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        text = _short(column.cast(pl.String).str.strip_chars(WHITE_SPACE))
    elif dtype == pl.Object:
        text = pl.Series("text", [as_text(value) for value in column.to_list()], pl.String)
    else:
        kind = {pl.Boolean: "true or false", pl.Struct: "an object"}.get(
            dtype.base_type(), "a list"
        )
        kind = kind if dtype.is_nested() or dtype == pl.Boolean else f"of type {dtype}"
        present = column.is_not_null().to_frame("present")
        text = present.select(text=pl.when("present").then(pl.lit(kind)).otherwise(None))["text"]
    empty = (pl.col("text") == "") | (pl.col("text").str.to_lowercase() == "nan")
    return text.to_frame().select(text=pl.when(empty).then(None).otherwise("text"))["text"]


def _short(texts: pl.Series) -> pl.Series:
    """Replace texts that are too long to be a value."""
    text = pl.col("text")
    short = (
        pl.when(text.str.len_chars() > MAX_VALUE_CHARACTERS).then(pl.lit(TOO_LONG)).otherwise(text)
    )
    return texts.rename("text").to_frame().select(text=short)["text"]


def _numbers(column: pl.Series) -> pl.Series:
    """Convert to float64; null where not a number."""
    if column.dtype in (pl.Datetime, pl.Date):
        return pl.Series(column.name, [None] * len(column), pl.Float64)
    return column.cast(pl.Float64, strict=False).fill_nan(None)


def _shown(column: pl.Series) -> pl.Series:
    """Format each value for a reason; null where missing."""
    if column.dtype in (pl.Datetime, pl.Date):
        kept = is_parseable(column).rename("kept")
        far = pl.when(column.is_not_null()).then(pl.lit("a time far out of range"))
        return kept.to_frame().select(shown=pl.col("kept").cast(pl.String).fill_null(far))["shown"]
    if column.dtype == pl.Float64:  # formatted by Python, like a JSON request
        return pl.Series([as_text(value) for value in column.to_list()], dtype=pl.String)
    return column.cast(pl.String).str.slice(0, SHOWN_CHARACTERS)


def is_blank(text: str) -> bool:
    """Whether text counts as a missing value."""
    return not text or text.lower() == "nan"


def as_text(value: Any) -> str | None:
    """Convert any value to text with the same meaning as a number or time, or with none."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip(WHITE_SPACE)
        if len(text) > MAX_VALUE_CHARACTERS:
            return TOO_LONG
        # A lone surrogate is valid in JSON text but not in UTF-8.
        return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value) if -(2**63) <= value < 2**63 else "a number of many digits"
    kind = {bool: "true or false", list: "a list", dict: "an object"}.get(type(value))
    return kind or f"of type {type(value).__name__}"
