"""Stored months for tests of monitoring, without an orchestrator and without raw files."""

import hashlib
import io
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.trip_store import Lineage, TripStore
from ml_assets.trips.cleaning import kept_trips, read_published
from ml_assets.trips.month import Month
from ml_assets_tests.planted import DROPOFF, FAULTS, PICKUP, Fault, sample_month

PLANTED: dict[str, Fault] = {
    **{name: FAULTS[name] for name in ("kilometres for miles", "zones renumbered",
                                       "all distances 0", "no passengers counted")},
    "the clock of Greenwich": lambda frame: frame.with_columns(
        pl.col(PICKUP, DROPOFF).dt.offset_by("4h")
    ),
    "the clock of Los Angeles": lambda frame: frame.with_columns(
        pl.col(PICKUP, DROPOFF).dt.offset_by("-3h")
    ),
}  # fmt: skip
"""Shifts of the request features only."""

SHIFTED = {
    "kilometres for miles": "trip_distance",
    "zones renumbered": "pickup_zone",
    "all distances 0": "trip_distance",
    "no passengers counted": "passenger_count",
    "the clock of Greenwich": "hour_of_week",
    "the clock of Los Angeles": "hour_of_week",
}
"""The feature that each of them moves most."""

TRAINING_MONTHS = ("2023-01", "2023-02", "2023-03")


def store_at(home: Path, synthetic: bool = True) -> TripStore:
    return TripStore(str(home), "green", synthetic)


def champion_of(store: TripStore, version: str = "1", **changed: object) -> ModelVersion:
    made: dict[str, Any] = {
        "version": version,
        "model": "xgboost",
        "dataset": store.dataset,
        "training_months": TRAINING_MONTHS,
        "validation_months": TRAINING_MONTHS[-1:],
        "test_month": "2023-04",
    }
    return ModelVersion(**{**made, **changed})


@cache
def kept_sample(month: str) -> pl.DataFrame:
    return _kept(sample_month(month), month)


def put(store: TripStore, month: str, fault: Fault | None = None) -> pl.DataFrame:
    """Store the kept trips of a sample month, with or without a planted fault."""
    trips = kept_sample(month) if fault is None else _kept(fault(sample_month(month)), month)
    return put_trips(store, month, trips)


def put_trips(store: TripStore, month: str, trips: pl.DataFrame) -> pl.DataFrame:
    """Store trips under a checksum of their contents."""
    content = trips.hash_rows(seed=1).to_numpy().tobytes()
    lineage = Lineage(
        month=month,
        dataset=store.dataset,
        source="test",
        raw_sha256=hashlib.sha256(content).hexdigest(),
        published_rows=trips.height,
        code_version="1",
    )
    store.write_table("trip_features", trips, lineage)
    return trips


def put_published(store: TripStore, month: str, file: Path) -> None:
    """Store the kept trips of a real published file."""
    with open(file, "rb") as opened:
        published = read_published(opened, store.taxi, Month.parse(month), str(file))
    put_trips(store, month, kept_trips(published, Month.parse(month)))


def _kept(published: pl.DataFrame, month: str) -> pl.DataFrame:
    file = io.BytesIO()
    pq.write_table(published.to_arrow(), file)
    file.seek(0)
    at = Month.parse(month)
    return kept_trips(read_published(file, "green", at, "sample"), at)
