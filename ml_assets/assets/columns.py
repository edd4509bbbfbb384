"""Columns of a table as Dagster shows them, taken from the table's contract."""

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
            type=str(column.dtype),
            description=column.description,
            constraints=dg.TableColumnConstraints(
                nullable=column.nullable, other=[str(check) for check in column.checks]
            ),
        )
        for name, column in schema.columns.items()
    ]
    return dg.TableSchema(columns=columns)


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
