"""The IO manager of monthly tables: Parquet under a contract, a month at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import dagster as dg
import polars as pl

from ml_assets.resources.trips import TripStoreResource
from ml_assets.storage.trip_store import Lineage, TripStore
from ml_assets.trips.month import Month


@dataclass(frozen=True)
class MonthlyTable:
    """What an asset hands over to be stored: months made one after the other, never all at once."""

    months: Iterator[tuple[pl.DataFrame, Lineage]]


class StoredMonths(Mapping[Month, pl.DataFrame]):
    """What an asset gets to read: the months that are there, each read when it is asked for."""

    def __init__(self, store: TripStore, table: str, months: list[Month]) -> None:
        self._store = store
        self._table = table
        self._months = months

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

    def handle_output(self, context: dg.OutputContext, obj: MonthlyTable) -> None:
        """Write every month that the asset yields; one month is in memory at a time."""
        store = self.store.tables()
        table = context.asset_key.path[-1]
        for frame, lineage in obj.months:
            size = store.write_table(table, frame, lineage)
            context.log.info(f"{table} {lineage.month}: {frame.height:,} rows, {size:,} bytes")

    def load_input(self, context: dg.InputContext) -> StoredMonths:
        """The requested partitions that are stored, unread."""
        store = self.store.tables()
        table = context.asset_key.path[-1]
        wanted = {Month.parse(key) for key in context.asset_partition_keys}
        return StoredMonths(store, table, [m for m in store.months(table) if m in wanted])
