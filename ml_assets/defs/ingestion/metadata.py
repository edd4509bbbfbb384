"""Metadata of the ingestion assets, by month."""

import logging
from typing import Any

import dagster as dg
import polars as pl

from ml_assets.defs.metadata import (
    column_lineage,
    column_schema,
    figure,
    preview,
    safe_metadata,
    table,
)
from ml_assets.ingestion.ingest_month import IngestResult
from ml_assets.storage.trip_store import PublishedFileRecord, TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.published_schema import match_columns, open_parquet, published_columns
from ml_assets.trips.target import TARGET

PREVIEW_ROWS = 5


def raw_metadata(
    store: TripStore,
    result: IngestResult,
    seconds: float,
    log: logging.Logger,
    near_miss: str | None = None,
) -> dict[str, Any]:
    """Return the metadata of a month of ``raw_trips``: status, source and first rows.

    Args:
        store: The trip store.
        result: The result of the ingestion.
        seconds: How long the ingestion took.
        log: Receives the error of a preview that cannot be made.
        near_miss: A similar file in the source, and why it is not read.
    """
    record = result.record
    if record is None:
        return {
            "status": "not published yet",
            "dagster/row_count": 0,
            **({"not_read": near_miss} if near_miss else {}),
        }
    status = result.outcome if result.outcome != "not published" else "no longer listed; kept"
    return {
        "status": status,
        "dagster/row_count": record.rows,
        "source": f"{record.source}{' (synthetic sample)' if record.synthetic else ''}",
        "location": record.location,
        "version": record.version,
        "sha256": record.sha256,
        "size_bytes": record.size_bytes,
        "seconds": figure(seconds),
        **({"parts": table([part.model_dump() for part in record.parts])} if record.parts else {}),
        **safe_metadata(
            log,
            f"raw_trips {result.month}",
            lambda: {"preview": preview(_first_rows(store, result.month), PREVIEW_ROWS)},
        ),
    }


def table_metadata(
    name: str, frame: pl.DataFrame, record: PublishedFileRecord, taxi: str
) -> dict[str, Any]:
    """Return the metadata of a month of ``trip_features`` or ``rejected_trips``."""
    names = {column.project: column.published for column in published_columns(taxi)}
    metadata: dict[str, Any] = {
        "status": "synthetic sample" if record.synthetic else "published",
        "share_of_published": figure(frame.height / record.rows if record.rows else 0.0),
        "preview": preview(frame, PREVIEW_ROWS),
        "dagster/column_schema": column_schema(name),
        "dagster/column_lineage": column_lineage(name, names),
    }
    if name == "rejected_trips":
        metadata |= {f"rejected/{reason}": rows for reason, rows in _reasons(frame).items()}
    elif frame.height:
        metadata[f"mean_{TARGET.name}"] = figure(frame[TARGET.name].mean())  # type: ignore[arg-type]
    return metadata


def month_picture(
    name: str, frame: pl.DataFrame, record: PublishedFileRecord
) -> dict[str, dg.MetadataValue]:
    """Draw a month's chart: kept trips by day and hour, or rejected rows by reason."""
    from ml_assets.reporting import charts

    month, synthetic = Month.parse(record.month), record.synthetic
    if name == "rejected_trips":
        picture = charts.rejected_by_reason(
            _reasons(frame), record.rows, [month], synthetic=synthetic
        )
        title = f"rejected rows of {month} by reason"
    else:
        pickups = frame["pickup_datetime"].to_numpy()
        picture = charts.trips_of_month(pickups, month, synthetic=synthetic)
        title = f"trips of {month} by day and by hour"
    return {"picture": dg.MetadataValue.md(charts.as_markdown_image(picture, title))}


def _reasons(frame: pl.DataFrame) -> dict[str, int]:
    counts = frame["reason"].value_counts(sort=True).iter_rows()
    return {str(reason): int(rows) for reason, rows in counts}


def _first_rows(store: TripStore, month: Month) -> pl.DataFrame:
    """Return the first published rows, with the columns that the project reads."""
    with store.open_raw(month) as file:
        parquet = open_parquet(file, store.raw_path(month))
        names = match_columns(parquet.schema_arrow, store.taxi, store.raw_path(month))
        columns = list(names.values())
        batches = parquet.iter_batches(batch_size=PREVIEW_ROWS, columns=columns)
        rows = pl.from_arrow(next(batches, parquet.schema_arrow.empty_table().select(columns)))
    assert isinstance(rows, pl.DataFrame)
    return rows.select(columns)
