"""Columns of a table as Dagster shows them, taken from the table's contract."""

from typing import Any

import dagster as dg

from ml_assets.trips.schema import TABLES

_LINEAGE = {
    "PULocationID": ["PULocationID"],
    "DOLocationID": ["DOLocationID"],
    "trip_distance": ["trip_distance"],
    "pickup_datetime": ["pickup_datetime"],
    "dropoff_datetime": ["dropoff_datetime"],
    "passenger_count": ["passenger_count"],
    "duration_minutes": ["pickup_datetime", "dropoff_datetime"],
    "reason": ["pickup_datetime", "dropoff_datetime", "PULocationID", "DOLocationID",
               "trip_distance"],
}  # fmt: skip


def column_schema(table: str) -> dg.TableSchema:
    """Names, types, constraints and meanings of a table's columns."""
    schema = TABLES[table]
    columns = [
        dg.TableColumn(
            name=name,
            type=str(column.dtype).partition("(")[0],
            description=column.description,
            constraints=dg.TableColumnConstraints(
                nullable=column.nullable, other=[_in_words(check) for check in column.checks]
            ),
        )
        for name, column in schema.columns.items()
    ]
    return dg.TableSchema(columns=columns)


def _in_words(check: Any) -> str:
    """A pandera check as people say it."""
    limits = check.statistics or {}
    if check.name == "in_range":
        return f"{limits['min_value']:,} to {limits['max_value']:,}"
    if check.name == "greater_than_or_equal_to":
        return f"at least {limits['min_value']:,}"
    if check.name == "isin":
        return f"one of {len(limits['allowed_values'])} values"
    return str(check.name).replace("_", " ")


def column_lineage(table: str, published: dict[str, str]) -> dg.TableColumnLineage:
    """Which published columns each column comes from.

    Args:
        table: A key of ``TABLES``.
        published: The project's name of a column to its published name.
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
