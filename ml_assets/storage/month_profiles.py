"""Profiles of stored months: computed once, cached, and recomputed when the tables change.

``{home}/month_profiles/{dataset}/YYYY-MM.json`` holds a profile and its inputs: digests of the
tables' Parquet footers, the raw file's checksum and the code version. Comparing a month with
earlier ones then takes one small file per month, and one month of trips in memory.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import fsspec
import polars as pl
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from ml_assets.config.code_version import DATA, code_digest
from ml_assets.secrets import error_text
from ml_assets.storage import filesystem
from ml_assets.storage.atomic import write_text
from ml_assets.storage.trip_store import CorruptMonth, Lineage, MonthNotFound, TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.published_schema import DAMAGE
from ml_assets.trips.quality.profile import MonthProfile, kept_figures

FEATURES = "trip_features"
REJECTED = "rejected_trips"
_PROFILE = ("trips/quality/profile.py",)
_FOOTER_TAIL = 8
"""A Parquet file ends with its footer, the footer's length in four bytes, and ``PAR1``."""


class _StoredProfile(BaseModel):
    made_from: str
    profile: MonthProfile


@dataclass(frozen=True)
class MonthProfiles:
    """Profiles of the months in a store."""

    store: TripStore

    def months(self) -> list[Month]:
        """Return the months with stored ``trip_features``, in order."""
        return self.store.months(FEATURES)

    def of(self, month: Month) -> MonthProfile:
        """Return the profile of one stored month.

        Raises:
            MonthNotFound: when ``trip_features`` has no such month.
            CorruptMonth: when its files cannot be read.
        """
        made_from = self._made_from(month)
        path = f"{self.store.home}/month_profiles/{self.store.dataset}/{month}.json"
        kept = _read(path)
        if kept is not None and kept.made_from == made_from:
            return kept.profile
        profile = self._measure(month)
        write_text(path, _StoredProfile(made_from=made_from, profile=profile).model_dump_json())
        return profile

    def of_stored(self, months: Iterable[Month]) -> list[MonthProfile]:
        """Return the profiles of those of the months that are stored, in order."""
        return [self.of(month) for month in sorted(set(self.months()).intersection(months))]

    def readable_and_corrupt(self) -> tuple[list[MonthProfile], dict[Month, str]]:
        """Return the profiles of all readable months, in order, and the errors of the others."""
        readable: list[MonthProfile] = []
        corrupt: dict[Month, str] = {}
        for month in self.months():
            try:
                readable.append(self.of(month))
            except CorruptMonth as error:
                corrupt[month] = str(error)
        return readable, corrupt

    def _made_from(self, month: Month) -> str:
        raw = self.store.raw_record(month)
        parts = [
            code_digest(*DATA, *_PROFILE),
            raw.sha256 if raw else "",
            _footer_digest(self.store.table_path(FEATURES, month)),
            _footer_digest(self.store.table_path(REJECTED, month)),
        ]
        return " ".join(parts)

    def _measure(self, month: Month) -> MonthProfile:
        store = self.store
        try:
            lineage, kept = store.lineage(FEATURES, month)
            columns, fault, trips = _trips(store, month)
            published, published_columns = _published(store, month, lineage)
            rejected = _rejected(store, month, lineage)
        except (*DAMAGE, KeyError, ValidationError, pl.exceptions.PolarsError) as error:
            raise CorruptMonth(
                f"the files of {month} cannot be read ({error_text(error)}): "
                f"materialize raw_trips, {FEATURES} and {REJECTED} of {month} again"
            ) from error
        return MonthProfile(
            month=str(month),
            raw_sha256=lineage.raw_sha256,
            published=published,
            published_columns=published_columns,
            columns=columns,
            contract_fault=fault,
            kept=kept,
            rejected=rejected,
            figures=None if trips is None else kept_figures(trips, month),
        )


def _trips(store: TripStore, month: Month) -> tuple[list[str], str | None, pl.DataFrame | None]:
    """Return a stored month's columns, its schema violation (None for none), and its trips."""
    from ml_assets.trips.schema import TableError

    with fsspec.open(store.table_path(FEATURES, month), "rb") as file:
        columns = list(pq.ParquetFile(file).schema_arrow.names)
    try:
        return columns, None, store.read_table(FEATURES, month)
    except TableError as error:
        return columns, str(error), None


def _published(store: TripStore, month: Month, lineage: Lineage) -> tuple[int, dict[str, str]]:
    """Return the rows and columns of the published file, from its footer if it is the same file."""
    raw = store.raw_record(month)
    if raw is None or raw.sha256 != lineage.raw_sha256:
        return lineage.published_rows, {}
    with store.open_raw(month) as file:
        parquet = pq.ParquetFile(file)
        schema = parquet.schema_arrow
        columns = {field.name.lower(): str(field.type) for field in schema}
        return parquet.metadata.num_rows, columns


def _rejected(store: TripStore, month: Month, lineage: Lineage) -> dict[str, int] | None:
    """Return rejected trips by reason; None when they are missing or of another published file."""
    try:
        other, _ = store.lineage(REJECTED, month)
    except MonthNotFound:
        return None
    if other.raw_sha256 != lineage.raw_sha256:
        return None
    reasons = store.read_table(REJECTED, month, ["reason"])["reason"]
    return dict(reasons.value_counts(sort=True).iter_rows())


def _footer_digest(path: str) -> str:
    """Return the SHA-256 of a Parquet footer, which holds each column's size and statistics."""
    file_system, place = fsspec.core.url_to_fs(path)
    if not file_system.exists(place):
        return "absent"
    size = file_system.size(place)
    tail = file_system.cat_file(place, start=max(size - _FOOTER_TAIL, 0))
    length = int.from_bytes(tail[:4], "little") + _FOOTER_TAIL
    return hashlib.sha256(file_system.cat_file(place, start=max(size - length, 0))).hexdigest()


def _read(path: str) -> _StoredProfile | None:
    """Return a cached profile; None when there is none, or other code wrote it."""
    if not filesystem.exists(path):
        return None
    try:
        return _StoredProfile.model_validate_json(filesystem.read_bytes(path))
    except ValidationError:
        return None  # recomputed and written again
