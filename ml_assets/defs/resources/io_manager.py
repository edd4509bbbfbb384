"""IO manager of monthly tables: Parquet with a schema contract, one month at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from ml_assets.defs.errors import MonthFailures
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.storage.trip_store import Lineage, TripStore
from ml_assets.trips.month import Month


@dataclass(frozen=True)
class TableMonth:
    """One month of a table, made by an asset.

    Attributes:
        rows: The rows and their lineage; None when there is nothing to store.
        describe: Returns the month's metadata once it is stored; must not raise.
    """

    rows: tuple[pl.DataFrame, Lineage] | None
    describe: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class MonthlyTable:
    """Output of an asset: months that are computed and stored one at a time.

    Attributes:
        months: The months, in order.
        make: Computes a month; an exception fails that month only.
        add_metadata: The asset context's ``add_asset_metadata``.
    """

    months: Sequence[Month]
    make: Callable[[Month], TableMonth]
    add_metadata: Callable[..., None]


class StoredMonths(Mapping[Month, pl.DataFrame]):
    """Input of an asset: the stored months, each read on access."""

    def __init__(self, store: TripStore, table: str, months: list[Month]) -> None:
        self._store, self._table, self._months = store, table, months

    def __getitem__(self, month: Month) -> pl.DataFrame:
        return self._store.read_table(self._table, month)

    def __iter__(self) -> Iterator[Month]:
        return iter(self._months)

    def __len__(self) -> int:
        return len(self._months)


class MonthlyTableIOManager(dg.ConfigurableIOManager):
    """Stores each month of a :class:`MonthlyTable` atomically and reads them back lazily.

    The table's contract (``ml_assets.trips.schema``) is enforced on write and on read. A partition
    is idempotent: the same input gives the same rows, in place of the old ones.
    """

    store: dg.ResourceDependency[TripStoreResource]

    def handle_output(  # type: ignore[override]  # Dagster takes a generator, too
        self, context: dg.OutputContext, obj: MonthlyTable
    ) -> Iterator[dg.DagsterEvent]:
        """Store every month of the output; one month is in memory at a time.

        Yields:
            Materializations of the stored months when a month failed: Dagster records the months
            of a step only when the step succeeds.

        Raises:
            dg.Failure: A month failed. The message names each; the others are stored.
        """
        table = context.asset_key.path[-1]
        failures = MonthFailures(obj.months, "stored", context.log)
        for month in obj.months:
            with failures.of(month):
                failures.metadata[month] = self._store(context, table, obj.make(month))
            if failures.stopped:
                break
        if failures.errors:
            for month, metadata in failures.metadata.items():
                made = dg.AssetMaterialization(
                    context.asset_key, partition=str(month), metadata=metadata
                )
                yield dg.DagsterEvent.asset_materialization(context.step_context, made)
            stored = {*self.store.tables().months(table)}
            kept = [month for month in failures.metadata if month in stored]
            raise dg.Failure(failures.message(kept)) from failures.cause()
        for month, metadata in failures.metadata.items():
            obj.add_metadata(metadata, partition_key=str(month))

    def _store(self, context: dg.OutputContext, table: str, made: TableMonth) -> Mapping[str, Any]:
        """Store a month unless it has no rows; return its metadata."""
        if made.rows is not None:
            frame, lineage = made.rows
            size = self.store.tables().write_table(table, frame, lineage)
            context.log.info(f"{table} {lineage.month}: {frame.height:,} rows, {size:,} bytes")
        return made.describe()

    def load_input(self, context: dg.InputContext) -> StoredMonths:
        """Return the requested partitions that are stored, without reading them."""
        store, table = self.store.tables(), context.asset_key.path[-1]
        wanted = {Month.parse(key) for key in context.asset_partition_keys}
        return StoredMonths(store, table, [m for m in store.months(table) if m in wanted])
