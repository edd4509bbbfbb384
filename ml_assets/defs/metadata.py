"""Metadata for the UI: rounded numbers that Dagster plots, tables and images."""

import base64
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import dagster as dg
import polars as pl

from ml_assets.defs.errors import ERRORS, describe_error
from ml_assets.monitoring.data_profile.columns import shown_time
from ml_assets.trips.schema import TABLES
from ml_assets.trips.target import TARGET

DIGITS = 4
"""Decimals of a number in metadata; the records have full precision."""


Result = TypeVar("Result")


def safe_metadata(
    log: logging.Logger, of: str, make: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Make metadata without failing the step: an error becomes a warning and an entry.

    Args:
        of: What the metadata describes, for the message.

    Returns:
        The metadata; if ``make`` raised, one entry ``not_shown`` with the reason.
    """
    try:
        return dict(make())
    except ERRORS as error:
        why = f"metadata of {of} could not be made ({describe_error(error)}); the data is stored"
        log.warning(why, exc_info=error)
        return {"not_shown": why}


def materialized(
    context: dg.AssetExecutionContext, make: Callable[[], Mapping[str, Any]]
) -> dg.MaterializeResult:
    """Return the result of an asset, with :func:`safe_metadata`."""
    name = context.asset_key.to_user_string()
    return dg.MaterializeResult(metadata=safe_metadata(context.log, name, make))


def optional(
    log: logging.Logger, what: str, make: Callable[[], Result], otherwise: Result
) -> Result:
    """Make something that is only displayed; a failure is logged as a warning."""
    try:
        return make()
    except ERRORS as error:
        log.warning(f"{what} could not be made ({describe_error(error)})", exc_info=error)
        return otherwise


def figure(value: float) -> dg.MetadataValue:
    """Return a rounded number that Dagster plots over time.

    NaN and infinity become text, since JSON and GraphQL cannot represent them.
    """
    number = round(float(value), DIGITS)
    finite = math.isfinite(number)
    return dg.MetadataValue.float(number) if finite else dg.MetadataValue.text(str(number))


def table(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue:
    """Make a table of rows with the same columns; numbers are rounded.

    Args:
        rows: Values by column: text, number or bool; anything else becomes text.
    """
    names = list(rows[0]) if rows else ["nothing to show"]
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name) for name in names])
    records = [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records, schema)


def image(png: bytes, alt: str) -> dg.MetadataValue:
    """Embed a PNG with its alternative text in Markdown."""
    # A bracket or a line break would end the alternative text.
    text = " ".join(alt.replace("[", "(").replace("]", ")").split())
    encoded = base64.b64encode(png).decode("ascii")
    return dg.MetadataValue.md(f"![{text}](data:image/png;base64,{encoded})")


_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&$!@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)


def markdown_table(rows: Sequence[Mapping[str, str]], sentence: str) -> dg.MetadataValue:
    """Make a Markdown table of rows with the same columns, under a sentence on how to read it.

    Args:
        rows: Texts by column, shown as they are: nothing in them is read as Markdown or HTML.
        sentence: Markdown.
    """
    names = list(rows[0]) if rows else ["nothing to show"]
    lines = [names, ["---"] * len(names)]
    lines += [[_literally(text) for text in row.values()] for row in rows]
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return dg.MetadataValue.md(f"{sentence}\n\n{body}")


def _literally(text: str) -> str:
    """Return a text in one line, with what Markdown, HTML or a link begins with escaped."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def preview(frame: pl.DataFrame, rows: int) -> dg.MetadataValue:
    """Make a table of the first rows of a frame.

    Times are in ISO 8601; those before the year 1 or after 9999 are given as their distance from
    1970.
    """
    first = frame.head(rows)
    columns = {
        name: _times(values) if isinstance(values.dtype, pl.Datetime) else values.to_list()
        for name, values in zip(first.columns, first.iter_columns(), strict=True)
    }
    return table(
        [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    )


def _times(values: pl.Series) -> list[str | None]:
    unit = values.dtype.time_unit  # type: ignore[attr-defined]
    return [None if count is None else shown_time(count, unit) for count in values.to_physical()]


def _cell(value: Any) -> str | int | float | bool | None:
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, str | int | bool) else str(value)


_LINEAGE = {
    "PULocationID": ["PULocationID"],
    "DOLocationID": ["DOLocationID"],
    "trip_distance": ["trip_distance"],
    "pickup_datetime": ["pickup_datetime"],
    "dropoff_datetime": ["dropoff_datetime"],
    "passenger_count": ["passenger_count"],
    TARGET.name: list(TARGET.computed_from),
    "reason": ["pickup_datetime", "dropoff_datetime", "PULocationID", "DOLocationID",
               "trip_distance"],
}  # fmt: skip


def column_schema(table: str) -> dg.TableSchema:
    """Return names, types, constraints and descriptions of a table's columns."""
    schema = TABLES[table]
    columns = [
        dg.TableColumn(
            name=name,
            type=str(column.dtype).partition("(")[0],
            description=column.description,
            constraints=dg.TableColumnConstraints(
                nullable=column.nullable, other=[_describe_check(check) for check in column.checks]
            ),
        )
        for name, column in schema.columns.items()
    ]
    return dg.TableSchema(columns=columns)


def _describe_check(check: Any) -> str:
    """Describe a pandera check."""
    limits = check.statistics or {}
    if check.name == "in_range":
        return f"{limits['min_value']:,} to {limits['max_value']:,}"
    if check.name == "greater_than_or_equal_to":
        return f"at least {limits['min_value']:,}"
    if check.name == "isin":
        return f"one of {len(limits['allowed_values'])} values"
    return str(check.name).replace("_", " ")


def column_lineage(table: str, published: dict[str, str]) -> dg.TableColumnLineage:
    """Return the published columns that each column is computed from.

    Args:
        published: Published name by the project's name of a column.
    """
    return dg.TableColumnLineage(
        deps_by_column={
            name: [
                dg.TableColumnDep(asset_key=dg.AssetKey("raw_trips"), column_name=published[source])
                for source in _LINEAGE.get(name, [])
            ]
            for name in TABLES[table].columns
        }
    )
