"""What a valid request is: the same rules for batch files, the prediction service and the UI.

The constants cost no import; the check of a frame imports Polars when it is called.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ml_assets.trips.calendar import NEW_YORK
from ml_assets.trips.rules import FIRST_ZONE, LAST_ZONE, REQUEST_COLUMNS

if TYPE_CHECKING:
    import polars as pl

REQUIRED_FIELDS: Final = REQUEST_COLUMNS[:3]
"""Fields that a request must have: the two zones and the distance."""

LEAST_MILES: Final = 0.0
MOST_MILES: Final = 1000.0
"""Nobody rides further; what the model makes of the distance is its own affair."""

FEWEST_PASSENGERS: Final = 0
MOST_PASSENGERS: Final = 9

EARLIEST_PICKUP: Final = datetime(2009, 1, 1)
"""First month of published trips; New York wall time, as every time without an offset."""
PICKUP_DAYS_AHEAD: Final = 365

ZONE_RULE: Final = f"a zone number from {FIRST_ZONE} to {LAST_ZONE}"
MILES_RULE: Final = f"a number of miles from {LEAST_MILES:.0f} to {MOST_MILES:.0f}"
PASSENGERS_RULE: Final = f"a whole number from {FEWEST_PASSENGERS} to {MOST_PASSENGERS}"
PICKUP_RULE: Final = (
    f"an ISO 8601 time from {EARLIEST_PICKUP:%Y-%m-%d} to a year from now, like "
    "2024-05-06T17:30 (New York time) or with its offset"
)

RULES: Final = {
    "PULocationID": ZONE_RULE,
    "DOLocationID": ZONE_RULE,
    "trip_distance": MILES_RULE,
    "pickup_datetime": PICKUP_RULE,
    "passenger_count": PASSENGERS_RULE,
}
"""What each field must be, in words: ``f"{field} must be {RULES[field]}, not {value}"``."""

_SHOWN_CHARACTERS = 40
_READ_CHARACTERS = 1000
_ISO_TIME = (
    r"^(?P<day>\d{4}-\d\d-\d\d)(?:[Tt ](?P<minute>(?:[01]\d|2[0-3]):[0-5]\d)"
    r"(?P<second>:[0-5]\d)?(?:[.,](?P<part>\d{1,9}))?"
    r" ?(?:[Zz]|(?P<sign>[+-])(?P<hours>[01]\d|2[0-3]):?(?P<minutes>[0-5]\d)?)?)?$"
)
_ANY_OFFSET = r"[Tt ].*([Zz]|[+-]\d\d:?(\d\d)?)$"
_FIRST_CONVERTED, _LAST_CONVERTED = datetime(2000, 1, 1), datetime(2200, 1, 1)
"""Times outside are refused anyway, and may be more than a calendar can convert."""


@dataclass(frozen=True)
class CheckedRequests:
    """What a check has found.

    Attributes:
        requests: The valid rows, in order: ``REQUEST_COLUMNS`` with the types that models are
            trained on (zones int16, miles float64, New York wall time in microseconds, passengers
            float32 or null).
        valid: For each row of the input whether it is among them.
        reasons: For each row of the input why it is not: field, value and range; null where valid.
    """

    requests: "pl.DataFrame"
    valid: "pl.Series"
    reasons: "pl.Series"


def latest_pickup(now: datetime | None = None) -> datetime:
    """The last valid pick-up, New York wall time.

    Args:
        now: An instant with its offset; by default the present one.
    """
    return new_york_time(now) + timedelta(days=PICKUP_DAYS_AHEAD)


def new_york_time(now: datetime | None = None) -> datetime:
    """An instant (by default the present one) on the wall clock of New York, naive."""
    instant = now or datetime.now(NEW_YORK)
    return instant.astimezone(NEW_YORK).replace(tzinfo=None)


def requests_frame(requests: Iterable[Any]) -> "pl.DataFrame":
    """Requests as they come from JSON, as a frame of text that :func:`check_requests` takes.

    Args:
        requests: Mappings with whatever values; anything else counts as a request without fields.
    """
    import polars as pl

    rows = [row if isinstance(row, Mapping) else {} for row in requests]
    columns = {name: [_text(row.get(name)) for row in rows] for name in REQUEST_COLUMNS}
    return pl.DataFrame(columns, schema=dict.fromkeys(REQUEST_COLUMNS, pl.String))


def check_requests(frame: "pl.DataFrame", now: datetime | None = None) -> CheckedRequests:
    """Which rows of a frame are valid requests, and what is wrong with the others.

    Numbers may be text (``"74"``), zones and passengers whole floats. A time without an offset is
    New York's and taken as written, also one that a clock change has left out; with an offset it
    is converted. Empty text and NaN count as missing.

    Args:
        frame: Any columns of any type; those of a request that are absent count as missing.
        now: The pick-up time of requests that state none; by default the present.
    """
    import polars as pl

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
            (_wall_times if name == "pickup_datetime" else _numbers)(given[name]).alias(name)
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


def _ranges(here: datetime) -> dict[str, "pl.Expr"]:
    """Whether each field that is there is within its range."""
    import polars as pl

    def whole(name: str, first: int, last: int) -> pl.Expr:
        return pl.col(name).is_between(first, last) & (pl.col(name) == pl.col(name).floor())

    last = here + timedelta(days=PICKUP_DAYS_AHEAD)
    return {
        "PULocationID": whole("PULocationID", FIRST_ZONE, LAST_ZONE),
        "DOLocationID": whole("DOLocationID", FIRST_ZONE, LAST_ZONE),
        "trip_distance": pl.col("trip_distance").is_between(LEAST_MILES, MOST_MILES),
        "pickup_datetime": pl.col("pickup_datetime").is_between(EARLIEST_PICKUP, last),
        "passenger_count": whole("passenger_count", FEWEST_PASSENGERS, MOST_PASSENGERS),
    }


def _typed(read: "pl.DataFrame", here: datetime) -> "pl.DataFrame":
    import polars as pl

    return read.select(
        pl.col("PULocationID", "DOLocationID").cast(pl.Int16),
        pl.col("trip_distance"),
        pl.col("pickup_datetime").fill_null(pl.lit(here, pl.Datetime("us"))),
        pl.col("passenger_count").cast(pl.Float32),
    )


def _reasons(given: "pl.DataFrame", fits: "pl.DataFrame", valid: "pl.Series") -> "pl.Series":
    """Why each row is refused; null where it is not."""
    import polars as pl

    refused = given.filter(~valid)
    kept = fits.filter(~valid)
    parts = []
    for name in REQUEST_COLUMNS:
        wrong = pl.format(f"{name} must be {{}}, not {{}}", pl.lit(RULES[name]), pl.col("shown"))
        missing = pl.lit(f"{name} is missing: it must be {RULES[name]}")
        told = pl.when("fits").then(None).when(pl.col("shown").is_null()).then(missing)
        shown = pl.DataFrame({"shown": _shown(refused[name]), "fits": kept[name]})
        parts.append(shown.select(told.otherwise(wrong).alias(name)))
    reasons = pl.concat(parts, how="horizontal").select(
        reason=pl.concat_str(pl.all(), separator="; ", ignore_nulls=True)
    )
    rows = pl.DataFrame({"row": pl.Series(range(len(valid)), dtype=pl.UInt32)})
    told_rows = rows.filter(~valid).hstack(reasons)
    return rows.join(told_rows, on="row", how="left", maintain_order="left")["reason"]


def _given(column: "pl.Series") -> "pl.Series":
    """A column as numbers, times or text, null where a request says nothing."""
    import polars as pl

    dtype = column.dtype
    if dtype.is_float():
        return column.fill_nan(None)
    if dtype.is_numeric() or dtype in (pl.Datetime, pl.Date):
        return column
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        text = column.cast(pl.String).str.strip_chars().alias("text")
    elif dtype == pl.Object:
        text = pl.Series("text", [_text(value) for value in column.to_list()], pl.String)
    else:
        kind = {pl.Boolean: "true or false", pl.Struct: "an object"}.get(
            dtype.base_type(), "a list"
        )
        kind = kind if dtype.is_nested() or dtype == pl.Boolean else f"of type {dtype}"
        there = column.is_not_null().to_frame("there")
        text = there.select(text=pl.when("there").then(pl.lit(kind)).otherwise(None))["text"]
    empty = (pl.col("text") == "") | (pl.col("text").str.to_lowercase() == "nan")
    return text.to_frame().select(text=pl.when(empty).then(None).otherwise("text"))["text"]


def _numbers(column: "pl.Series") -> "pl.Series":
    """As float64; null where it is no number."""
    import polars as pl

    if column.dtype in (pl.Datetime, pl.Date):
        return pl.Series(column.name, [None] * len(column), pl.Float64)
    return column.cast(pl.Float64, strict=False).fill_nan(None)


def _shown(column: "pl.Series") -> "pl.Series":
    """Each value as a reason shows it; null where there is none."""
    import polars as pl

    if column.dtype in (pl.Datetime, pl.Date):
        kept = _convertible(column).rename("kept")
        far = pl.when(column.is_not_null()).then(pl.lit("a time far out of range"))
        return kept.to_frame().select(shown=pl.col("kept").cast(pl.String).fill_null(far))["shown"]
    return column.cast(pl.String).str.slice(0, _SHOWN_CHARACTERS)


def _text(value: Any) -> str | None:
    """Whatever a field holds, as text that means the same number or time, or none at all."""
    if value is None:
        return None
    if isinstance(value, str):
        # Half a surrogate pair is text in JSON and none in UTF-8.
        return value[:_READ_CHARACTERS].encode("utf-8", "replace").decode("utf-8").strip()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return repr(value) if abs(value) < 10**18 else "a number of many digits"
    kind = {bool: "true or false", list: "a list", dict: "an object"}.get(type(value))
    return kind or f"of type {type(value).__name__}"


def _wall_times(column: "pl.Series") -> "pl.Series":
    """New York wall time in microseconds; null where it is no time, or one far out of range."""
    import polars as pl

    if column.dtype not in (pl.Datetime, pl.Date):
        return _parsed(column.cast(pl.String))
    kept = _convertible(column)
    if getattr(column.dtype, "time_zone", None):
        kept = kept.dt.convert_time_zone(str(NEW_YORK)).dt.replace_time_zone(None)
    return kept.cast(pl.Datetime("us"))


def _convertible(column: "pl.Series") -> "pl.Series":
    """Times that a calendar can convert; null for others."""
    import polars as pl

    if column.dtype == pl.Date:
        a_day = 1.0
    else:
        unit = column.dtype.time_unit  # type: ignore[attr-defined]
        a_day = 86400.0 * {"ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
    first, last = (
        int((bound - datetime(1970, 1, 1)).days * a_day)
        for bound in (_FIRST_CONVERTED, _LAST_CONVERTED)
    )
    inside = column.to_physical().is_between(first, last)
    return pl.select(kept=pl.when(inside).then(column).otherwise(None))["kept"]


def _parsed(texts: "pl.Series") -> "pl.Series":
    """Times written in ISO 8601, on the wall clock of New York."""
    import polars as pl

    part = pl.col("text").str.extract_groups(_ISO_TIME).struct
    written = pl.concat_str(
        part["day"], pl.lit(" "), part["minute"].fill_null("00:00"),
        part["second"].fill_null(":00"), pl.lit("."), part["part"].fill_null("0"),
    )  # fmt: skip
    naive = written.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    hours, minutes = (
        part[name].cast(pl.Int64, strict=False).fill_null(0) for name in ("hours", "minutes")
    )
    east = pl.when(part["sign"] == "-").then(-1).otherwise(1) * (hours * 60 + minutes)
    inside = naive.is_between(_FIRST_CONVERTED, _LAST_CONVERTED)
    instant = pl.when(inside).then(naive).otherwise(None) - pl.duration(minutes=east)
    here = instant.dt.replace_time_zone("UTC").dt.convert_time_zone(str(NEW_YORK))
    offset = pl.col("text").str.contains(_ANY_OFFSET)
    time = pl.when(offset).then(here.dt.replace_time_zone(None)).otherwise(naive)
    return texts.rename("text").to_frame().select(time=time)["time"]
