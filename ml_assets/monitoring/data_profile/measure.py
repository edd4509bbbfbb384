"""Measure the data profile of a month from its published file, one column in memory at a time."""

import contextlib
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from ml_assets.config.code_version import DATA, code_digest
from ml_assets.monitoring.data_profile.columns import UnknownType, kind_of, profile_column
from ml_assets.monitoring.data_profile.records import ColumnProfile, DataProfile, Histogram
from ml_assets.monitoring.drift.histograms import hours_of_week
from ml_assets.storage import filesystem
from ml_assets.storage.atomic import write_text
from ml_assets.storage.trip_store import PublishedFileRecord, TripStore
from ml_assets.trips.cleaning import REASONS, normalise, reason_of
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import DamagedPages, MonthLimits, MonthTooLarge, check_pages
from ml_assets.trips.published_schema import (
    DAMAGE,
    error_reason,
    faults_named,
    match_columns,
    open_parquet,
    require_size,
    shown_name,
)
from ml_assets.trips.target import DURATION

ASSET: Final = "data_profile"

MILES_EDGES: Final = [step / 2 for step in range(61)]
"""Half miles up to 30. Of 68,211 green trips of January 2023, 63 were longer, up to 201,421 miles
in other months, with a median of 1.8."""

MINUTES_EDGES: Final = [float(minute) for minute in range(91)]
"""Minutes up to 90; trips are kept from 1 to 60. Of the same trips, 330 took longer."""

MAX_COLUMNS: Final = 100
"""A published month has 18 to 21 columns. What a file has beyond these is named, not read."""

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_CODE = tuple(f"monitoring/data_profile/{name}.py" for name in ("records", "columns", "measure"))


def profile_code_version() -> str:
    """Return 8 hex digits that change when the profile of a month may change."""
    return code_digest(*DATA, *_CODE)


@dataclass(frozen=True)
class DataProfiles:
    """Data profiles of the stored months, each measured once for a published file.

    ``{home}/data_profile/{dataset}/YYYY-MM.json`` holds a profile, with the checksum of the file
    and the version of the code that measured it.
    """

    store: TripStore
    limits: MonthLimits

    def path(self, month: Month) -> str:
        """Return the path or URL of a month's profile."""
        return f"{self.store.home}/{ASSET}/{self.store.dataset}/{month}.json"

    def find(self, month: Month) -> DataProfile | None:
        """Return the stored profile; None when there is none, or other code wrote it."""
        path = self.path(month)
        if not filesystem.exists(path):
            return None
        try:
            return DataProfile.model_validate_json(filesystem.read_bytes(path))
        except ValidationError:
            return None  # measured and written again

    def all(self) -> list[DataProfile]:
        """Return the stored profiles in order of their months, without measuring any."""
        folder = f"{self.store.home}/{ASSET}/{self.store.dataset}"
        names = (name.removesuffix(".json") for name in filesystem.names(folder))
        months = sorted(Month.parse(name) for name in names if _MONTH.fullmatch(name))
        return [found for month in months if (found := self.find(month)) is not None]

    def of(self, month: Month) -> tuple[DataProfile, bool] | None:
        """Return a month's profile, and whether the trips were read for it.

        They are read unless the same code has measured the same file before.

        Returns:
            None when no published file is stored.

        Raises:
            CorruptMonth: when the raw file has no record.
            TripSchemaError: when the published file cannot be read.
            StorageError: when the disk is full or not writable.
        """
        record = self.store.require_raw(month)
        if record is None:
            return None
        stored, code = self.find(month), profile_code_version()
        if stored is not None and (stored.raw_sha256, stored.code) == (record.sha256, code):
            return stored, False
        profile = self._measure(month, record, code)
        write_text(self.path(month), profile.model_dump_json())
        return profile, True

    def _measure(self, month: Month, record: PublishedFileRecord, code: str) -> DataProfile:
        with self._local_file(month) as file:
            measured = measure_file(file, self.store.taxi, month, self.limits)
        return DataProfile(
            month=str(month),
            dataset=self.store.dataset,
            synthetic=record.synthetic,
            raw_sha256=record.sha256,
            code=code,
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            **measured,
        )

    @contextlib.contextmanager
    def _local_file(self, month: Month) -> Iterator[Path]:
        """Yield the raw file, or a copy of a remote one."""
        local = filesystem.local_path(self.store.raw_path(month))
        if local is not None:
            yield local
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / f"{month}.parquet"
            with self.store.open_raw(month) as source, open(copy, "wb") as target:
                shutil.copyfileobj(source, target)
            yield copy


def measure_file(
    file: Path, taxi: str, month: Month, limits: MonthLimits | None = None
) -> dict[str, Any]:
    """Measure a published file.

    A column that cannot be profiled is named with the reason, unless the project needs it.

    Returns:
        The fields of :class:`DataProfile` that the file determines.

    Raises:
        TripSchemaError: when the file or a column that the project needs cannot be read.
    """
    limits, title = limits or MonthLimits.of(taxi), f"{file.name} ({taxi}, {month})"
    with open_parquet(file, title) as parquet:
        schema = parquet.schema_arrow
        names = match_columns(schema, taxi, title)
        require_size(parquet, names.values(), title, limits)
        unread = _unreadable(parquet, file, limits, needed=names.values())
        texts = [field.name for field in schema if _is_text(field.type)]
    needed: dict[str, pl.Series] = {}
    columns: list[ColumnProfile] = []
    # Texts are read as dictionaries: a month may repeat a very long one.
    with pq.ParquetFile(
        file,
        read_dictionary=texts,
        page_checksum_verification=True,
        coerce_int96_timestamp_unit="us",
    ) as parquet:
        actual = {name: published for published, name in names.items()}
        for field in schema:
            name = field.name
            if name in actual:
                with faults_named(title):
                    values = parquet.read(columns=[name])[name]
                    needed[actual[name]] = pl.Series(pl.from_arrow(values))
                columns.append(profile_column(name, str(field.type), values))
            elif name not in unread:
                try:
                    values = parquet.read(columns=[name])[name]
                    columns.append(profile_column(name, str(field.type), values))
                except _UNREADABLE as error:
                    unread[name] = error_reason(error)
        rows = parquet.metadata.num_rows
    trips = normalise(pl.DataFrame(needed), taxi)
    return {
        "rows": rows,
        "columns": columns,
        "unread_columns": _bounded(unread),
        "distance": histogram(trips["trip_distance"], MILES_EDGES, "miles"),
        "duration": histogram(
            trips.select(DURATION.compute(pl.col)).to_series(), MINUTES_EDGES, "minutes"
        ),
        **_times(trips, month),
        **_kept_and_rejected(trips, month),
    }


_UNREADABLE = (
    UnknownType,
    MonthTooLarge,
    DamagedPages,
    ValueError,
    OverflowError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    *DAMAGE,
)
"""Errors of a column that the project does not need."""


def histogram(values: pl.Series, edges: Sequence[float], unit: str) -> Histogram:
    """Count values in fixed bins, those outside of all of them apart."""
    numbers = values.cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
    at = np.searchsorted(np.asarray(edges), numbers, side="right")
    counts = np.bincount(at, minlength=len(edges) + 1).tolist()
    return Histogram(
        unit=unit,
        edges=list(edges),
        counts=counts[1:-1],
        below=counts[0],
        overflow=counts[-1],
        missing=len(values) - len(numbers),
    )


def _times(trips: pl.DataFrame, month: Month) -> dict[str, Any]:
    """Count the rows by day and by hour of the week of their pick-up."""
    pickup = trips.select("pickup_datetime").drop_nulls()
    inside = pickup.filter(
        pl.col("pickup_datetime").is_between(pl.lit(month.start), pl.lit(month.end), closed="left")
    )
    days = inside["pickup_datetime"].dt.day().to_numpy()
    return {
        "day_trips": np.bincount(days, minlength=month.days + 1)[1:].tolist(),
        "hour_of_week_trips": hours_of_week(inside).tolist(),
        "outside_month": pickup.height - inside.height,
        "without_pickup": trips.height - pickup.height,
    }


def _kept_and_rejected(trips: pl.DataFrame, month: Month) -> dict[str, Any]:
    """Count the rows as the tables split them: by the same rule, so that both always agree.

    Were they read from the tables, a month whose checks fail, which is the one to look at, would
    have no profile: a failed check stops what is made from its table.
    """
    reasons = trips.select(reason_of(month)).to_series()
    counts = np.bincount(reasons.drop_nulls().to_numpy(), minlength=len(REASONS)).tolist()
    return {"kept": reasons.null_count(), "rejected": dict(zip(REASONS, counts, strict=True))}


def _is_text(published: pa.DataType) -> bool:
    try:
        return kind_of(published) == "text"
    except UnknownType:
        return False


def _unreadable(
    parquet: pq.ParquetFile, file: Path, limits: MonthLimits, needed: Any
) -> dict[str, str]:
    """Return why columns other than the needed ones are not to be read, before any is decoded."""
    names = Counter(parquet.schema_arrow.names)
    needed = {*needed}
    found: dict[str, str] = {}
    paths = [parquet.metadata.schema.column(at).path for at in range(parquet.metadata.num_columns)]
    for place, field in enumerate(parquet.schema_arrow):
        name = field.name
        if name in needed:
            continue
        if names[name] > 1:
            found[name] = f"the file has {names[name]} columns of this name"
        elif place >= MAX_COLUMNS:
            found[name] = f"it is not among the first {MAX_COLUMNS} columns"
        else:
            try:
                kind_of(field.type)
            except UnknownType as error:
                found[name] = str(error)
                continue
            if any(path.startswith(f"{name}.") for path in paths):
                # pyarrow would read that one together with this one.
                found[name] = "a column with a longer name begins with this name and a dot"
    rest = [name for name in names if name not in found and name not in needed]
    return found | _oversized(file, rest, limits)


def _oversized(file: Path, names: Sequence[str], limits: MonthLimits) -> dict[str, str]:
    """Return which columns are too large or damaged by their page headers."""
    try:
        check_pages(file, names, limits)
        return {}
    except (MonthTooLarge, DamagedPages):
        found = {}
    for name in names:
        try:
            check_pages(file, [name], limits)
        except (MonthTooLarge, DamagedPages) as error:
            found[name] = str(error)
    return found


def _bounded(unread: Mapping[str, str]) -> dict[str, str]:
    """Return the reasons by names that are safe to show, the first of them if there are many."""
    shown = {shown_name(name): why for name, why in list(unread.items())[:MAX_COLUMNS]}
    if more := len(unread) - MAX_COLUMNS:
        shown |= {f"and {more:,} more": "not shown"} if more > 0 else {}
    return shown
