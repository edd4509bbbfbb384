"""Metadata as people read it: rounded figures that Dagster plots, and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

DIGITS = 4
"""Of a figure in metadata: a tenth of a second of a trip; full precision is in the records."""


def figure(value: float) -> dg.MetadataValue:
    """A number that Dagster plots over time, without fifteen digits."""
    return dg.MetadataValue.float(round(float(value), DIGITS))


def table(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue:
    """Rows with the same columns as a table that the asset's page draws; numbers are rounded.

    Args:
        rows: column to value: text, number or truth value; anything else becomes text.
    """
    names = list(rows[0]) if rows else ["nothing to show"]
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name) for name in names])
    records = [dg.TableRecord({name: _shown(value) for name, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records, schema)


def _shown(value: Any) -> str | int | float | bool | None:
    if isinstance(value, float):
        return round(value, DIGITS)
    return value if value is None or isinstance(value, str | int | bool) else str(value)
