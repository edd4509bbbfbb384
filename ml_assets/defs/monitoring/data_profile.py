"""The asset ``data_profile``: figures of each published month, measured once for a file.

It is a part of ``ingest_trips``, so that a new month has its profile at once. The automation
condition covers months that were ingested otherwise, or before the asset existed.
"""

from collections.abc import Iterator
from typing import Any, Final

import dagster as dg

from ml_assets.defs.common import INGESTION_POOL, MONITORING, OWNERS
from ml_assets.defs.errors import MonthFailures
from ml_assets.defs.metadata import figure, markdown_table, safe_metadata, table
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.monitoring.data_profile.measure import (
    ASSET,
    DataProfiles,
    profile_code_version,
)
from ml_assets.monitoring.data_profile.records import ColumnProfile, DataProfile
from ml_assets.trips.month import Month

DATA_PROFILE: Final = dg.AssetKey(ASSET)
_MAX_COLUMNS = 40

HOW_TO_READ = (
    "Each row is a published column: *missing*, and the share in brackets after the most frequent "
    "value, are of all rows, and the figures are of the rows with a value, so that a column whose "
    "values are *all* missing has none."
)


def on_months_without_profile() -> dg.AutomationCondition:
    """Build the condition that profiles months whose published file is newer than their profile.

    A run that makes both, as ``ingest_trips`` does, is not followed by another.
    """
    handled = dg.AutomationCondition.newly_requested() | dg.AutomationCondition.newly_updated()
    unprofiled = dg.AutomationCondition.missing() & ~dg.AutomationCondition.any_deps_missing()
    changed = dg.AutomationCondition.any_deps_updated() | unprofiled.newly_true()
    return (
        changed.since(handled)
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    ).with_label("months_without_profile")


def data_profile_assets(partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return ``data_profile`` with these monthly partitions."""

    @dg.asset(
        name=ASSET,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=["raw_trips"],  # not the tables: their failed checks would leave a bad month unseen
        group_name=MONITORING,
        owners=OWNERS,
        kinds={"polars"},
        pool=INGESTION_POOL,
        code_version=profile_code_version(),
        automation_condition=on_months_without_profile(),
        description="Figures of every published column, histograms of distance and duration, trips "
        "by day and hour, and kept and rejected rows: what each month is compared by.",
    )
    def data_profile(
        context: dg.AssetExecutionContext, trip_store: TripStoreResource
    ) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult]:
        profiles = DataProfiles(trip_store.tables(), trip_store.limits())
        months = [Month.parse(key) for key in context.partition_keys]
        failures = MonthFailures(months, "profiled", context.log)
        for month in months:
            with failures.of(month):
                failures.metadata[month] = _profile(context, profiles, month)
            if failures.stopped:
                break
        if failures.errors:
            # Dagster records the months of a step only when it succeeds.
            for month, metadata in failures.metadata.items():
                yield dg.AssetMaterialization(
                    context.asset_key, partition=str(month), metadata=metadata
                )
            kept = [month for month in failures.metadata if profiles.find(month) is not None]
            raise dg.Failure(failures.message(kept)) from failures.cause()
        for month, metadata in failures.metadata.items():
            context.add_asset_metadata(metadata, partition_key=str(month))
        yield dg.MaterializeResult()

    return [data_profile]


def _profile(
    context: dg.AssetExecutionContext, profiles: DataProfiles, month: Month
) -> dict[str, Any]:
    """Profile a month; return its metadata."""
    found = profiles.of(month)
    if found is None:
        return {
            "status": f"no raw file of {month}: not published or not ingested",
            "dagster/row_count": 0,
        }
    profile, measured = found
    status = "measured" if measured else "kept: measured before on the same published file"
    context.log.info(f"{ASSET} {month}: {profile.rows:,} rows, {status}")
    return {
        "status": status,
        "dagster/row_count": profile.rows,
        **safe_metadata(context.log, f"{ASSET} {month}", lambda: _metadata(profile)),
    }


def _metadata(profile: DataProfile) -> dict[str, Any]:
    """Return a profile's figures as numbers, and the table of its columns."""
    columns = profile.columns[:_MAX_COLUMNS]
    metadata: dict[str, Any] = {
        "trips": "synthetic sample" if profile.synthetic else profile.dataset,
        "columns": len(profile.columns),
        "columns_without_values": sum(column.all_missing for column in profile.columns),
        "outside_month": profile.outside_month,
        "distance_overflow": profile.distance.overflow,
        "duration_overflow": profile.duration.overflow,
    }
    distance = profile.column("trip_distance")
    if distance is not None and distance.numbers is not None:
        metadata["median_miles"] = figure(distance.numbers.median)
    metadata |= {"kept": profile.kept, "rejected": sum(profile.rejected.values())}
    metadata |= {f"rejected/{reason}": rows for reason, rows in profile.rejected.items()}
    metadata |= {f"missing/{column.name}": figure(column.missing_share) for column in columns}
    if profile.unread_columns:
        rows = [{"column": name, "why": why} for name, why in profile.unread_columns.items()]
        metadata["unread_columns"] = table(rows[:_MAX_COLUMNS])
    metadata["profile"] = markdown_table([_row(column) for column in columns], HOW_TO_READ)
    return metadata


def _row(column: ColumnProfile) -> dict[str, str]:
    """Return a column's row of the table."""
    low = high = middle = mean = ""
    if column.numbers is not None:
        numbers = column.numbers
        low, middle, mean, high = (
            f"{value:,.6g}"
            for value in (numbers.minimum, numbers.median, numbers.mean, numbers.maximum)
        )
    elif column.times is not None:
        low, middle, high = column.times.earliest, column.times.median, column.times.latest
    frequent = column.frequent[0] if column.frequent else None
    return {
        "column": column.name,
        "type": column.published_type,
        "missing": "all" if column.all_missing else _percent(column.missing_share),
        "unique": f"{column.unique:,}",
        "most frequent": ""
        if frequent is None
        else f"{frequent.value} ({_percent(frequent.share)})",
        "minimum": low,
        "median": middle,
        "mean": mean,
        "maximum": high,
    }


def _percent(share: float) -> str:
    return "< 0.1%" if 0 < share < 0.001 else f"{share:.1%}"
