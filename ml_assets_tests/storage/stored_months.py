"""Write months to a store as the ingestion assets do, without Dagster."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from ml_assets.storage.trip_store import Lineage, PublishedFileRecord, TripStore, checksum
from ml_assets.trips.cleaning import kept_trips, read_published, rejected_trips
from ml_assets.trips.month import Month
from ml_assets_tests.published_months import published_month

MONTH = Month(2023, 1)
CONTENTS = (180, 300)
"""Numbers of rows of a month's two contents."""


def store_at(home: Path | str, synthetic: bool = False) -> TripStore:
    return TripStore(str(home), "green", synthetic)


def put_month(
    store: TripStore, month: Month = MONTH, rows: int = 180, source: str = "somewhere"
) -> PublishedFileRecord:
    """Store the raw file, kept and rejected trips of a month with this number of rows."""
    record = store_raw(store, month, rows, source)
    put_tables(store, month, record)
    return record


def store_raw(
    store: TripStore, month: Month = MONTH, rows: int = 180, source: str = "somewhere"
) -> PublishedFileRecord:
    with store.staging_dir() as folder:
        file = folder / "incoming.parquet"
        pq.write_table(published_month(month, rows), file)
        record = PublishedFileRecord(
            month=str(month),
            taxi=store.taxi,
            source=source,
            location=f"{source}/{file.name}",
            version=f"{rows} rows",
            sha256=checksum(file),
            size_bytes=file.stat().st_size,
            rows=rows,
            synthetic=store.synthetic,
        )
        store.store_raw(month, file, record)
    return record


def put_tables(
    store: TripStore, month: Month, record: PublishedFileRecord, code_version: str = "1"
) -> None:
    with store.open_raw(month) as file:
        published = read_published(file, store.taxi, month, "file")
    put_features(store, kept_trips(published, month), record, code_version)
    store.write_table(
        "rejected_trips", rejected_trips(published, month), lineage_of(store, record, code_version)
    )


def put_features(
    store: TripStore, trips: pl.DataFrame, record: PublishedFileRecord, code_version: str = "1"
) -> None:
    store.write_table("trip_features", trips, lineage_of(store, record, code_version))


def lineage_of(store: TripStore, record: PublishedFileRecord, code_version: str = "1") -> Lineage:
    return Lineage(
        month=record.month,
        dataset=store.dataset,
        source=record.source,
        raw_sha256=record.sha256,
        published_rows=record.rows,
        code_version=code_version,
    )
