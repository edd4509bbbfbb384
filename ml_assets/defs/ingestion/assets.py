"""Ingestion: the published file as it is, then kept and rejected trips, month by month.

All three assets take any number of months in one run and hold one of them in memory at a time. A
month that the source has not published yet is materialized as just that, with no rows and no
file: a failed or skipped partition would keep a whole backfill, and with it training, from ending.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import polars as pl

from ml_assets.config.code_version import data_code_version
from ml_assets.defs.common import INGESTION, INGESTION_POOL, MONTHS_FRESH, OWNERS, REFERENCE
from ml_assets.defs.ingestion.metadata import month_picture, raw_metadata, table_metadata
from ml_assets.defs.metadata import column_schema, optional, safe_metadata, table
from ml_assets.defs.resources.io_manager import MonthlyTable, TableMonth
from ml_assets.defs.resources.month_failures import MonthFailures
from ml_assets.defs.resources.trips import TripSourceResource, TripStoreResource
from ml_assets.ingestion.ingest_month import ingest_month
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
from ml_assets.trips.published_schema import TripSchemaError
from ml_assets.trips.zones import taxi_zones

_STEP_RETRIES = 2
_FIRST_WAIT_SECONDS = 1.0
_PATIENT_SECONDS = 20.0
"""A source that was tried for longer has been patient by itself: the step does not try again."""


def ingestion_assets(partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """``raw_trips``, ``trip_features`` and ``rejected_trips`` over these monthly partitions."""
    shared: dict[str, Any] = {
        "partitions_def": partitions,
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "group_name": INGESTION,
        "owners": OWNERS,
        "pool": INGESTION_POOL,
    }

    @dg.asset(
        kinds={"parquet"},
        description="Trips as published: the file byte for byte, with its checksum and source.",
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
            "a ride is requested, plus the target `duration_minutes`."
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
    """Bring every month of the run; months that fail are named together, after the others.

    Yields:
        When the run is about to fail, the months that were brought nevertheless: Dagster records
        the months of a step only when it succeeds.

    Raises:
        dg.RetryRequested: when the source fell over at once, a few times.
        dg.Failure: when at least one month could not be brought. What was stored before stays.
    """
    begun = time.monotonic()
    months = [Month.parse(key) for key in context.partition_keys]
    try:
        source = trip_source.open()
        published = source.published(months)
    except (SourceUnavailable, InvalidSource) as error:
        raise _failure(context, str(error), down=True, begun=begun) from error
    absent = [month for month in months if month not in published]
    not_read: dict[Month, str] = optional(
        context.log, "the search for unread months", lambda: source.near_misses(absent), {}
    )
    failures = MonthFailures(months, "brought", context.log)
    for number, month in enumerate(months, start=1):
        with failures.of(month):
            failures.metadata[month], outcome = _bring(
                context, source, store, month, published.get(month), not_read.get(month)
            )
            context.log.info(f"raw_trips {month} ({number}/{len(months)}): {outcome}")
            if month in not_read:
                context.log.warning(f"raw_trips {month}: {not_read[month]}")
        if failures.stopped:
            break
    if failures.errors:
        kept = [month for month, metadata in failures.metadata.items() if "sha256" in metadata]
        # The cause is what may pass, if anything may: the jobs' hook tells it by that.
        cause = failures.cause()
        down = any(isinstance(error, SourceUnavailable) for error in failures.errors.values())
        failure = _failure(context, failures.message(kept), down=down, begun=begun)
        for month, metadata in failures.metadata.items() if isinstance(failure, dg.Failure) else ():
            yield dg.AssetMaterialization(
                context.asset_key, partition=str(month), metadata=metadata
            )
        raise failure from cause
    for month, metadata in failures.metadata.items():
        context.add_asset_metadata(metadata, partition_key=str(month))


def _bring(
    context: dg.AssetExecutionContext,
    source: TripSource,
    store: TripStore,
    month: Month,
    published: PublishedMonth | None,
    near_miss: str | None,
) -> tuple[dict[str, Any], str]:
    """Bring a month; its metadata, and what became of it in a word."""
    begun = time.perf_counter()
    done = ingest_month(source, store, month, published, transfer_of(month))
    seconds = time.perf_counter() - begun
    return raw_metadata(store, done, seconds, context.log, near_miss), done.outcome


def _failure(
    context: dg.AssetExecutionContext, told: str, *, down: bool, begun: float
) -> dg.Failure | dg.RetryRequested:
    """How the step ends: tried again in a moment when the source is down, or failed."""
    retry = context.retry_number
    if not down or retry >= _STEP_RETRIES or time.monotonic() - begun > _PATIENT_SECONDS:
        return dg.Failure(told, allow_retries=False)
    context.log.warning(f"{told}; trying again in a moment")
    wait = _FIRST_WAIT_SECONDS * 4.0**retry
    return dg.RetryRequested(max_retries=_STEP_RETRIES, seconds_to_wait=wait)


def _table(
    context: dg.AssetExecutionContext,
    trip_store: TripStoreResource,
    half: Callable[[pl.DataFrame, Month], pl.DataFrame],
) -> MonthlyTable:
    """One half of every month of the run, made when the IO manager asks for it."""
    name, store = context.asset_key.path[-1], trip_store.tables()
    months = [Month.parse(key) for key in context.partition_keys]
    brought = context.instance.get_materialized_partitions(dg.AssetKey("raw_trips"))
    log = context.log
    newest = max((month for month in months if store.raw_record(month)), default=None)

    def make(month: Month) -> TableMonth:
        record = store.require_raw(month)
        if record is None:
            _require_unpublished(store, name, month, brought)
            return TableMonth(None, lambda: {"status": "not published yet", "dagster/row_count": 0})
        frame = half(_read_raw(store, month, trip_store.limits()), month)

        def describe() -> dict[str, Any]:
            metadata: dict[str, Any] = {"dagster/row_count": frame.height}
            metadata |= safe_metadata(
                log,
                f"{name} {month}",
                lambda: table_metadata(name, frame, record, store.taxi),
            )
            if month == newest:  # to draw every month of a long history would take its time
                metadata |= safe_metadata(
                    log,
                    f"the picture of {name} {month}",
                    lambda: month_picture(name, frame, record),
                )
            return metadata

        return TableMonth((frame, _lineage(record, store)), describe)

    return MonthlyTable(months, make, context.add_asset_metadata)


def _require_unpublished(store: TripStore, name: str, month: Month, brought: set[str]) -> None:
    """A month without a raw file is in order only if ``raw_trips`` has looked for it in vain.

    Raises:
        dg.Failure: when nobody looked, or when the file was there once; what is stored stays.
    """
    if month in store.months(name):
        raise dg.Failure(
            f"the raw file that {name} of {month} was made from is gone: materialize raw_trips of "
            f"{month} first. The stored month is kept"
        )
    if str(month) not in brought:
        raise dg.Failure(
            f"raw_trips of {month} was never brought: materialize it first, then {name}"
        )


def _read_raw(store: TripStore, month: Month, limits: MonthLimits) -> pl.DataFrame:
    path = store.raw_path(month)
    try:
        with store.open_raw(month) as file:
            return read_published(file, store.taxi, month, path, limits)
    except TripSchemaError as error:
        raise dg.Failure(f"{error}: materialize raw_trips of {month} for that") from error


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
    """Show the zones that ship with the package."""
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
