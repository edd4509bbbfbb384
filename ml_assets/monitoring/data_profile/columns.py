"""Profile of one published column, whatever its type.

A month's columns change their types: integers become floats, texts are sometimes dictionaries, and
a column without any value has no type. Equal values get equal profiles whatever their type.
"""

from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl
import pyarrow as pa

from ml_assets.monitoring.data_profile.records import (
    ColumnProfile,
    FrequentValue,
    Kind,
    LengthFigures,
    NumberFigures,
    TimeFigures,
    Value,
)
from ml_assets.trips.published_schema import shown_name

FREQUENT: Final = 10
"""How many of the most frequent values are kept."""

QUANTILES: Final = (0.01, 0.05, 0.25, 0.75, 0.95, 0.99)
"""Probabilities of the quantiles; 0, 0.5 and 1 are the minimum, the median and the maximum."""

_EPOCH = datetime(1970, 1, 1)
_UNITS = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_EXACT = 2.0**53
_EXTREME, _SCALE = 2.0**900, 2.0**-100
"""Sums of numbers above ``_EXTREME`` overflow; they are scaled before and after."""


class UnknownType(ValueError):
    """A column of a type that has no profile; the message names the type."""


def kind_of(published: pa.DataType) -> Kind:
    """Return what a column of this type holds.

    Raises:
        UnknownType: for nested and binary types, and those that are not in any published month.
    """
    types = pa.types
    value = published.value_type if types.is_dictionary(published) else published
    if types.is_null(value):
        return "null"
    if types.is_boolean(value):
        return "boolean"
    if types.is_integer(value) or types.is_floating(value) or types.is_decimal(value):
        return "number"
    if types.is_timestamp(value) or types.is_date(value):
        return "time"
    if types.is_string(value) or types.is_large_string(value):
        return "text"
    raise UnknownType(f"columns of type {shown_name(str(published))} have no profile")


def profile_column(name: str, published: str, values: pa.ChunkedArray) -> ColumnProfile:
    """Profile a column.

    Args:
        name: Its name in the file.
        published: Its type in the file.
        values: Its values; texts may be dictionaries, in which a long text takes little memory
            however many rows have it.

    Raises:
        UnknownType: when its type has no profile.
        pyarrow.ArrowException, polars.exceptions.PolarsError: when its values cannot be read.
    """
    kind = kind_of(values.type)
    blank = ColumnProfile(
        name=shown_name(name),
        published_type=shown_name(published),
        kind=kind,
        rows=len(values),
        missing=values.null_count,
    )
    if blank.missing == blank.rows:
        return blank
    if kind == "text":
        return blank.model_copy(update=_texts(values, blank.rows))
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    present = pl.Series(pl.from_arrow(values)).drop_nulls()
    if kind == "time":
        return blank.model_copy(update=_times(present, blank.rows))
    if kind == "number":
        return blank.model_copy(update=_numbers(present, blank.rows))
    return blank.model_copy(update=_frequencies(_count(present), blank.rows))


def shown_time(count: int, unit: str) -> str:
    """Return a time in ISO 8601, or its distance from 1970 if Python has no such time.

    Args:
        count: Time units since 1970, of wall time.
        unit: ``ms``, ``us`` or ``ns``.
    """
    try:
        return str(_EPOCH + timedelta(microseconds=count * 1_000_000 // _UNITS[unit]))
    except OverflowError:
        return f"{count:,} {unit} since 1970"


def _numbers(present: pl.Series, rows: int) -> dict[str, Any]:
    if present.dtype.is_decimal():
        present = present.cast(pl.Float64)
    finite = present
    if present.dtype.is_float():
        finite = present.cast(pl.Float64)
        finite = finite.filter(finite.is_finite())
    found = _frequencies(_count(finite), rows)
    found["not_finite"] = len(present) - len(finite)
    if len(finite):
        found["numbers"] = _number_figures(finite.cast(pl.Float64))
    return found


def _number_figures(values: pl.Series) -> NumberFigures:
    lowest: Any = values.min()
    highest: Any = values.max()
    extreme = max(abs(lowest), abs(highest)) > _EXTREME
    scale = _SCALE if extreme else 1.0
    scaled = values * scale if extreme else values

    def figure(value: Any) -> float:
        return float(value) / scale

    return NumberFigures(
        minimum=figure(scaled.min()),
        maximum=figure(scaled.max()),
        mean=figure(scaled.mean()),
        median=figure(scaled.median()),
        quantiles={str(q): figure(scaled.quantile(q, "linear")) for q in QUANTILES},
    )


def _times(present: pl.Series, rows: int) -> dict[str, Any]:
    if present.dtype == pl.Date:
        present = present.cast(pl.Datetime("ms"))
    unit: str = present.dtype.time_unit  # type: ignore[attr-defined]
    offset = "+00:00" if present.dtype.time_zone else ""  # type: ignore[attr-defined]
    counts = present.to_physical()
    ordered = counts.sort()

    def text(count: Any) -> str:
        return shown_time(int(count), unit) + offset

    found = _frequencies(_count(counts), rows)
    for each in found["frequent"]:
        each.value = text(each.value)
    found["times"] = TimeFigures(
        earliest=text(ordered[0]),
        latest=text(ordered[-1]),
        median=text(_nearest(ordered, 0.5)),
        quantiles={str(q): text(_nearest(ordered, q)) for q in QUANTILES},
    )
    return found


def _nearest(ordered: pl.Series, probability: float) -> int:
    """Return the nearest quantile, exactly: as a float, a time would lose its microseconds."""
    return int(ordered[round(probability * (len(ordered) - 1))])


def _texts(values: pa.ChunkedArray, rows: int) -> dict[str, Any]:
    values.validate(full=True)  # not every file has valid UTF-8
    if pa.types.is_dictionary(values.type):
        values = values.unify_dictionaries()
    counted = values.value_counts()
    texts = counted.field("values")
    if pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_decode()
    frame = pl.DataFrame(
        {"value": pl.from_arrow(texts), "count": pl.from_arrow(counted.field("counts"))}
    ).drop_nulls("value")
    lengths: Any = frame["value"].str.len_chars()
    with_text: Any = frame["count"].sum()
    characters: Any = (lengths * frame["count"]).sum()
    return _frequencies(frame, rows) | {
        "lengths": LengthFigures(
            shortest=lengths.min(),
            longest=lengths.max(),
            mean=characters / with_text,
        )
    }


def _count(present: pl.Series) -> pl.DataFrame:
    """Count the rows by value."""
    return present.rename("value").to_frame().group_by("value").agg(pl.len().alias("count"))


def _frequencies(counted: pl.DataFrame, rows: int) -> dict[str, Any]:
    """Return number and most frequent of the counted values."""
    # Among hundreds of thousands of times or amounts, sorting only those that may win is faster.
    lowest = counted["count"].top_k(FREQUENT).min()
    frame = counted.filter(pl.col("count") >= lowest) if lowest is not None else counted
    top = frame.sort("count", "value", descending=[True, False]).head(FREQUENT)
    frequent = [
        FrequentValue(value=_shown(value), count=count, share=count / rows)
        for value, count in top.iter_rows()
    ]
    return {"unique": counted.height, "frequent": frequent}


def _shown(value: Any) -> Value:
    if isinstance(value, str):
        return shown_name(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value  # type: ignore[no-any-return]
