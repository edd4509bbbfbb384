"""Ingestion assets: the published file unchanged, then kept and rejected trips, by month.

All three assets process any number of months in one run, with one month in memory at a time. A
month that the source has not published yet is materialized with that status, without rows or file:
a failed or skipped partition would block a whole backfill, and training with it.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import polars as pl

from ml_assets.config.code_version import data_code_version
from ml_assets.defs.common import INGESTION, INGESTION_POOL, MONTHS_FRESH, OWNERS, REFERENCE
from ml_assets.defs.errors import MonthFailures
from ml_assets.defs.metadata import (
    column_lineage,
    column_schema,
    figure,
    image,
    optional,
    preview,
    safe_metadata,
    table,
)
from ml_assets.defs.resources.io_manager import MonthlyTable, TableMonth
from ml_assets.defs.resources.trips import TripSourceResource, TripStoreResource
from ml_assets.ingestion.ingest_month import IngestResult, ingest_month
from ml_assets.ingestion.source import (
    InvalidSource,
    PublishedMonth,
    SourceUnavailable,
    TripSource,
)
from ml_assets.progress import transfer_of
from ml_assets.storage.trip_store import Lineage, PublishedFileRecord, TripStore
from ml_assets.trips.cleaning import kept_trips, read_published, rejected_trips
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits
from ml_assets.trips.published_schema import (
    TripSchemaError,
    match_columns,
    open_parquet,
    published_columns,
)
from ml_assets.trips.target import TARGET
from ml_assets.trips.zones import taxi_zones

_STEP_RETRIES = 2
_FIRST_WAIT_SECONDS = 1.0
_MAX_SECONDS_BEFORE_RETRY = 20.0
"""A source that took longer has retried itself: the step does not retry."""


def ingestion_assets(partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Build ``raw_trips``, ``trip_features`` and ``rejected_trips`` for these partitions."""
    shared: dict[str, Any] = {
        "partitions_def": partitions,
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "group_name": INGESTION,
        "owners": OWNERS,
        "pool": INGESTION_POOL,
    }

    @dg.asset(
        kinds={"parquet"},
        description="Trips as published: the unchanged file, with its checksum and source.",
        **shared,
    )
    def raw_trips(
        context: dg.AssetExecutionContext,
        trip_source: TripSourceResource,
        trip_store: TripStoreResource,
    ) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult]:
        yield from ingest_months(context, trip_source, trip_store.tables())
        yield dg.MaterializeResult()

    @dg.asset(
        kinds={"polars", "parquet"},
        deps=[raw_trips],
        io_manager_key="monthly_table",
        code_version=data_code_version(),
        metadata={"dagster/column_schema": column_schema("trip_features")},
        freshness_policy=MONTHS_FRESH,
        description=(
            "Kept trips, cleaned by the course's rule (1 ≤ minutes ≤ 60): only what is known when "
            "a ride is requested, plus the target "
            f"`{TARGET.name}`."
        ),
        **shared,
    )
    def trip_features(
        context: dg.AssetExecutionContext, trip_store: TripStoreResource
    ) -> MonthlyTable:
        return _table(context, trip_store, kept_trips)

    @dg.asset(
        name="rejected_trips",
        kinds={"polars", "parquet"},
        deps=[raw_trips],
        io_manager_key="monthly_table",
        code_version=data_code_version(),
        metadata={"dagster/column_schema": column_schema("rejected_trips")},
        description=(
            "Every published trip that is not kept, with one reason from a closed list. "
            "Kept + rejected = published, always."
        ),
        **shared,
    )
    def rejected_trips_asset(
        context: dg.AssetExecutionContext, trip_store: TripStoreResource
    ) -> MonthlyTable:
        return _table(context, trip_store, rejected_trips)

    return [raw_trips, trip_features, rejected_trips_asset]


def ingest_months(
    context: dg.AssetExecutionContext, trip_source: TripSourceResource, store: TripStore
) -> Iterator[dg.AssetMaterialization]:
    """Ingest every month of the run; failed months do not stop the others.

    Yields:
        Before the step fails, the months that were ingested nevertheless: Dagster records the
        months of a step only when it succeeds.

    Raises:
        dg.RetryRequested: when the source failed at once, for a limited number of times.
        dg.Failure: when at least one month could not be ingested. Existing data are kept.
    """
    started = time.monotonic()
    months = [Month.parse(key) for key in context.partition_keys]
    try:
        source = trip_source.open()
        published = source.published(months)
    except (SourceUnavailable, InvalidSource) as error:
        raise _failure(context, str(error), down=True, started=started) from error
    absent = [month for month in months if month not in published]
    not_read: dict[Month, str] = optional(
        context.log, "the search for unread months", lambda: source.near_misses(absent), {}
    )
    failures = MonthFailures(months, "ingested", context.log)
    for number, month in enumerate(months, start=1):
        with failures.of(month):
            failures.metadata[month], outcome = _ingest(
                context, source, store, month, published.get(month), not_read.get(month)
            )
            context.log.info(f"raw_trips {month} ({number}/{len(months)}): {outcome}")
            if month in not_read:
                context.log.warning(f"raw_trips {month}: {not_read[month]}")
        if failures.stopped:
            break
    if failures.errors:
        kept = [month for month, metadata in failures.metadata.items() if "sha256" in metadata]
        # A transient error is the cause if there is one: the jobs' hook tags the run by it.
        cause = failures.cause()
        down = any(isinstance(error, SourceUnavailable) for error in failures.errors.values())
        failure = _failure(context, failures.message(kept), down=down, started=started)
        for month, metadata in failures.metadata.items() if isinstance(failure, dg.Failure) else ():
            yield dg.AssetMaterialization(
                context.asset_key, partition=str(month), metadata=metadata
            )
        raise failure from cause
    for month, metadata in failures.metadata.items():
        context.add_asset_metadata(metadata, partition_key=str(month))


def _ingest(
    context: dg.AssetExecutionContext,
    source: TripSource,
    store: TripStore,
    month: Month,
    published: PublishedMonth | None,
    near_miss: str | None,
) -> tuple[dict[str, Any], str]:
    """Ingest a month; returns its metadata and the outcome."""
    started = time.perf_counter()
    result = ingest_month(source, store, month, published, transfer_of(month))
    seconds = time.perf_counter() - started
    return _raw_metadata(store, result, seconds, context.log, near_miss), result.outcome


def _failure(
    context: dg.AssetExecutionContext, message: str, *, down: bool, started: float
) -> dg.Failure | dg.RetryRequested:
    """Return a retry when the source is down and has failed quickly, else a failure."""
    retry = context.retry_number
    slow = time.monotonic() - started > _MAX_SECONDS_BEFORE_RETRY
    if not down or retry >= _STEP_RETRIES or slow:
        return dg.Failure(message, allow_retries=False)
    context.log.warning(f"{message}; retrying")
    wait = _FIRST_WAIT_SECONDS * 4.0**retry
    return dg.RetryRequested(max_retries=_STEP_RETRIES, seconds_to_wait=wait)


def _table(
    context: dg.AssetExecutionContext,
    trip_store: TripStoreResource,
    select: Callable[[pl.DataFrame, Month], pl.DataFrame],
) -> MonthlyTable:
    """Return the kept or rejected trips of every month, computed when the IO manager needs them."""
    name, store = context.asset_key.path[-1], trip_store.tables()
    months = [Month.parse(key) for key in context.partition_keys]
    ingested = context.instance.get_materialized_partitions(dg.AssetKey("raw_trips"))
    log = context.log
    newest = max((month for month in months if store.raw_record(month)), default=None)

    def make(month: Month) -> TableMonth:
        record = store.require_raw(month)
        if record is None:
            _require_unpublished(store, name, month, ingested)
            return TableMonth(None, lambda: {"status": "not published yet", "dagster/row_count": 0})
        frame = select(_read_raw(store, month, trip_store.limits()), month)

        def describe() -> dict[str, Any]:
            metadata: dict[str, Any] = {"dagster/row_count": frame.height}
            metadata |= safe_metadata(
                log,
                f"{name} {month}",
                lambda: _table_metadata(name, frame, record, store.taxi),
            )
            if month == newest:  # drawing every month of a long history would be slow
                metadata |= safe_metadata(
                    log,
                    f"the picture of {name} {month}",
                    lambda: _month_picture(name, frame, record),
                )
            return metadata

        return TableMonth((frame, _lineage(record, store)), describe)

    return MonthlyTable(months, make, context.add_asset_metadata)


def _require_unpublished(store: TripStore, name: str, month: Month, ingested: set[str]) -> None:
    """Check that ``raw_trips`` found a month without a raw file unpublished.

    Raises:
        dg.Failure: when ``raw_trips`` never ran for it, or its file is gone; stored data are kept.
    """
    if month in store.months(name):
        raise dg.Failure(
            f"the raw file that {name} of {month} was made from is gone: materialize raw_trips of "
            f"{month} first. The stored month is kept"
        )
    if str(month) not in ingested:
        raise dg.Failure(
            f"raw_trips of {month} was never materialized: materialize it first, then {name}"
        )


def _read_raw(store: TripStore, month: Month, limits: MonthLimits) -> pl.DataFrame:
    path = store.raw_path(month)
    try:
        with store.open_raw(month) as file:
            return read_published(file, store.taxi, month, path, limits)
    except TripSchemaError as error:
        raise dg.Failure(f"{error}: then materialize raw_trips of {month}") from error


def _lineage(record: PublishedFileRecord, store: TripStore) -> Lineage:
    return Lineage(
        month=record.month,
        dataset=store.dataset,
        source=record.source,
        raw_sha256=record.sha256,
        published_rows=record.rows,
        code_version=data_code_version(),
    )


PREVIEW_ROWS = 5


@dg.asset(
    name="taxi_zones",
    group_name=REFERENCE,
    owners=OWNERS,
    kinds={"csv"},
    description="The 263 taxi zones with name and borough, as the TLC publishes them.",
)
def taxi_zones_asset() -> dg.MaterializeResult:
    """Materialize the zones that ship with the package."""
    zones = taxi_zones()
    boroughs = Counter(zones["borough"].to_pylist())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": zones.num_rows,
            "zones_by_borough": table(
                [{"borough": name, "zones": number} for name, number in boroughs.most_common()]
            ),
            "preview": table(zones.slice(0, PREVIEW_ROWS).to_pylist()),
        }
    )


def _raw_metadata(
    store: TripStore,
    result: IngestResult,
    seconds: float,
    log: logging.Logger,
    near_miss: str | None = None,
) -> dict[str, Any]:
    """Return the metadata of a month of ``raw_trips``: status, source and first rows.

    Args:
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


def _table_metadata(
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


def _month_picture(
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
    return {"picture": image(picture, title)}


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
