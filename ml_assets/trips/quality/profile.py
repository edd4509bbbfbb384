"""Profile of a stored month: the figures that data-quality rules use, small enough for many months.

A profile is computed from one month of ``trip_features`` and ``rejected_trips`` and cached, so that
a new month is compared with earlier ones without reading their trips again.
"""

import functools
import zlib

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict

from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import ZONE_CODES
from ml_assets.trips.target import TARGET

SAME_TRIP = ("pickup_datetime", TARGET.name, "PULocationID", "DOLocationID", "trip_distance")
"""Two rows with equal values in these columns are one ride, published twice."""

_COMPARED_WITH_TARGET = ("PULocationID", "DOLocationID", "trip_distance", "passenger_count")
_COMPARED_ROWS = 100_000

PairCounts = npt.NDArray[np.uint32]


class KeptFigures(BaseModel):
    """Figures of the kept trips of a month, as counts.

    Attributes:
        outside_month: trips with a pick-up in another month.
        days_without_trips: days of the month, from 1, on which none was picked up.
        duplicates: rows beyond the first that agree in ``SAME_TRIP``.
        zero_distances: trips of 0 miles.
        endless_distances: trips whose distance is infinite or not a number.
        missing_passengers: trips without passenger count.
        median_miles: median of the distances above 0; None when there are none.
        shortest, tenth, median, ninetieth, longest: 0, 10, 50, 90 and 100 % quantiles of minutes.
        target_correlation: rank correlation of numeric request columns with the target, where it
            is defined.
        hour_of_week_trips: trips per hour of the week, 168 counts from Monday 0:00.
        pair_trips: trips per pair of zones, dense and compressed.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    outside_month: int
    days_without_trips: list[int]
    duplicates: int
    zero_distances: int
    endless_distances: int
    missing_passengers: int
    median_miles: float | None
    shortest: float
    tenth: float
    median: float
    ninetieth: float
    longest: float
    target_correlation: dict[str, float]
    hour_of_week_trips: list[int]
    pair_trips: bytes

    @functools.cached_property
    def pairs(self) -> PairCounts:
        """Trips per zone pair, shape (266 * 266,), index: pick-up zone * 266 + drop-off zone."""
        return np.frombuffer(zlib.decompress(self.pair_trips), dtype=np.uint32)


class MonthProfile(BaseModel):
    """Profile of one stored month.

    Attributes:
        raw_sha256: checksum of the published file of the trips.
        published: rows of that file.
        published_columns: its columns in lower case, with their Arrow types; empty when the file
            is no longer stored.
        columns: columns of the stored ``trip_features``.
        contract_fault: violation of that table's schema; None when there is none.
        kept: rows of ``trip_features``.
        rejected: rows of ``rejected_trips`` by reason; None when it was not made from this file.
        figures: figures of the kept trips; None when there are none or the schema is violated.
    """

    month: str
    raw_sha256: str
    published: int
    published_columns: dict[str, str]
    columns: list[str]
    contract_fault: str | None
    kept: int
    rejected: dict[str, int] | None
    figures: KeptFigures | None

    @property
    def kept_share(self) -> float:
        """Kept trips as a share of the published rows; 0 when none was published."""
        return self.kept / self.published if self.published else 0.0

    def share(self, count: int) -> float:
        """Return a count of kept trips as a share of all kept trips."""
        return count / self.kept if self.kept else 0.0

    def rejected_share(self, reason: str) -> float:
        """Return the trips rejected for a reason as a share of the published rows."""
        return (self.rejected or {}).get(reason, 0) / self.published if self.published else 0.0


def kept_figures(trips: pl.DataFrame, month: Month) -> KeptFigures | None:
    """Compute the figures of a month's kept trips, whose schema is valid; None without rows."""
    if trips.is_empty():
        return None
    pickup, minutes = pl.col("pickup_datetime"), pl.col(TARGET.name)
    inside = pickup.is_between(pl.lit(month.start), pl.lit(month.end), closed="left")
    miles = pl.col("trip_distance")
    row = trips.select(
        outside_month=(~inside).sum(),
        days=pickup.filter(inside).dt.day().unique().implode(),
        zero_distances=(miles == 0).sum(),
        endless_distances=(~miles.is_finite()).sum(),
        missing_passengers=pl.col("passenger_count").is_null().sum(),
        median_miles=miles.filter(miles.is_finite() & (miles > 0)).median(),
        shortest=minutes.min(),
        tenth=minutes.quantile(0.1),
        median=minutes.median(),
        ninetieth=minutes.quantile(0.9),
        longest=minutes.max(),
    ).row(0, named=True)
    seen = set(row.pop("days"))
    return KeptFigures(
        **row,
        days_without_trips=[day for day in range(1, month.days + 1) if day not in seen],
        # A 64-bit hash is three times as fast, and misses a duplicate once in millions of months.
        duplicates=trips.height - trips.select(pl.struct(SAME_TRIP).hash().n_unique()).item(),
        target_correlation=_correlations(trips),
        hour_of_week_trips=_hour_of_week_trips(trips),
        pair_trips=_pair_trips(trips),
    )


def unseen_share(pairs: PairCounts, seen: npt.NDArray[np.bool_]) -> float:
    """Return the share of trips in ``pairs`` whose zone pair is not marked in ``seen``."""
    total = int(pairs.sum())
    return float(pairs[~seen].sum()) / total if total else 0.0


def _correlations(trips: pl.DataFrame) -> dict[str, float]:
    """Return rank correlations of numeric request columns with the target, on every n-th row."""
    chosen = trips.gather_every(max(trips.height // _COMPARED_ROWS, 1))
    ranks = (pl.corr(name, TARGET.name, method="spearman") for name in _COMPARED_WITH_TARGET)
    row = chosen.select(ranks).row(0)
    found = zip(_COMPARED_WITH_TARGET, row, strict=True)
    return {name: value for name, value in found if value is not None and np.isfinite(value)}


def _hour_of_week_trips(trips: pl.DataFrame) -> list[int]:
    pickup = trips["pickup_datetime"].dt
    codes = (pickup.weekday().cast(pl.Int64) - 1) * 24 + pickup.hour()
    return [int(trips) for trips in np.bincount(codes.to_numpy(), minlength=7 * 24)]


def _pair_trips(trips: pl.DataFrame) -> bytes:
    pickup = trips["PULocationID"].to_numpy().astype(np.int64)
    codes = pickup * ZONE_CODES + trips["DOLocationID"].to_numpy()
    counts = np.bincount(codes, minlength=ZONE_CODES * ZONE_CODES).astype(np.uint32)
    return zlib.compress(counts.tobytes(), level=1)
