"""Metrics of the service's request log: predictions by day, and drift of the requests.

The stated distances are also compared with the expected one of their zone pair.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from math import log
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from ml_assets.monitoring.drift.histograms import MonthCounts, count_month, sum_counts
from ml_assets.monitoring.drift.measure import MIN_TRIPS, TABLE, Reference
from ml_assets.monitoring.online.records import (
    MAX_DAYS,
    WINDOW_DAYS,
    DayFaults,
    OnlineDay,
    OnlineDrift,
    OnlineRecord,
)
from ml_assets.pipeline.zone_map import PairMiles, fit_zone_map
from ml_assets.requests.parse import states_distance
from ml_assets.requests.validate import DISTANCE
from ml_assets.serving.request_log.files import day_files, last_written
from ml_assets.serving.request_log.reader import LogChunk, read_chunks
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.request_columns import REQUEST_COLUMNS, STATED, ZONE_CODES
from ml_assets.trips.target import TARGET

OUTLIER_RATIO = 3.0
"""A distance above this multiple of the expected one, or below its inverse, is an outlier. In 2023,
1.5 to 1.8 % of metered green trips are, most of them within one zone."""


@dataclass(frozen=True)
class DistanceCounts:
    """Counts of requests by their stated distance.

    Attributes:
        missing: Requests without a distance, or with one of 0 or an implausible one.
        outliers: Requests with a plausible distance far from the expected one of their zone pair.
    """

    requests: int = 0
    missing: int = 0
    outliers: int = 0

    def __add__(self, other: "DistanceCounts") -> "DistanceCounts":
        return DistanceCounts(
            self.requests + other.requests,
            self.missing + other.missing,
            self.outliers + other.outliers,
        )

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of missing distances and of outliers among all requests."""
        requests = max(self.requests, 1)
        return self.missing / requests, self.outliers / requests


class ExpectedMiles:
    """Expected miles between two zones as models learn them, also for pairs without trips."""

    def __init__(self, trips: pl.DataFrame) -> None:
        """Learn the expected miles from trips with the request columns."""
        pair, miles, stated = _read(trips)
        known = np.where(stated, np.log(np.where(stated, miles, 1.0)), np.nan)
        learned = fit_zone_map(PairMiles.of(pair, known))
        self._log_miles = learned.usual_log_miles

    def count(self, requests: pl.DataFrame) -> DistanceCounts:
        """Count requests with missing distances and outliers."""
        pair, miles, stated = _read(requests)
        off = np.abs(np.log(miles[stated]) - self._log_miles[pair[stated]])
        far = int(np.count_nonzero(off > log(OUTLIER_RATIO)))
        return DistanceCounts(requests.height, int(np.count_nonzero(~stated)), far)


def _read(
    trips: pl.DataFrame,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the zone pair, the miles, and whether these are plausible."""
    pickup, dropoff = (trips[name].cast(pl.Int64).to_numpy() for name in REQUEST_COLUMNS[:2])
    miles = trips["trip_distance"].cast(pl.Float64).to_numpy()
    return pickup * ZONE_CODES + dropoff, miles, states_distance(miles)


HOUR_OF_WEEK, DAYS_A_WEEK = "hour_of_week", 7
DISTANCES = "trip_distance"


def measure_online(
    folder: Path,
    store: TripStore,
    champion: ModelVersion | None,
    why_none: str = "",
    earlier: OnlineRecord | None = None,
    today: date | None = None,
) -> OnlineRecord:
    """Compute the metrics of the request log, one chunk at a time.

    Days before the window that an earlier record covers are not read again.

    Args:
        why_none: Why there is no champion, in one sentence.
        earlier: The previous record, whose days are kept.
        today: Current date in UTC, by default that of the system clock.
    """
    written = last_written(folder)  # before reading: entries added meanwhile count as new
    last = today or datetime.now(UTC).date()
    window_from = last - timedelta(days=WINDOW_DAYS - 1)
    kept = earlier or OnlineRecord(dataset=store.dataset, synthetic=store.synthetic)
    known = {entry.day for entry in kept.days} | kept.faults.keys() | {*kept.empty}
    logged = {str(day): day for day, _ in day_files(folder)}
    newest = sorted(known | logged.keys())[-MAX_DAYS:]
    unread = [logged[day] for day in newest if day not in known and logged[day] < window_from]
    first = min(unread, default=window_from)
    days = [entry for entry in kept.days if entry.day < str(first)]
    faults = {day: found for day, found in kept.faults.items() if day < str(first)}
    reference, why = (None, why_none) if champion is None else _load_reference(store, champion)
    window = _RollingWindow(window_from, reference)
    for day, chunks in groupby(read_chunks(folder, first), key=lambda chunk: chunk.day):
        entries, day_faults = _measure_day(day, window.counted(chunks))
        days += entries
        faults |= {str(day): day_faults} if day_faults else {}
    drift, why = (None, why) if reference is None else window.drift(reference)
    measured = {entry.day for entry in days} | faults.keys()
    return OnlineRecord(
        dataset=store.dataset,
        synthetic=store.synthetic,
        status="measured" if days or faults else "nothing_served",
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        log_written=written,
        first=str(window_from),
        days=[entry for entry in days if entry.day in newest],
        faults={day: found for day, found in faults.items() if day in newest},
        empty=[day for day in newest if day < str(window_from) and day not in measured],
        window_answers=window.answers,
        window_stated=window.stated,
        drift=drift,
        why_no_drift=why,
    )


@dataclass(frozen=True)
class _Reference:
    """The champion's training months.

    Attributes:
        version: The champion's registry version.
        months: Histograms of the months.
        expected_miles: Expected miles learned from the newest of the months.
        distances: Distances of that month's own trips.
    """

    version: str
    months: Reference
    expected_miles: ExpectedMiles
    distances: DistanceCounts


def _load_reference(store: TripStore, champion: ModelVersion) -> tuple[_Reference | None, str]:
    """Load the champion's training months; without any, return None and the reason."""
    months = Reference(store, champion)
    if not months.months:
        return None, months.why_empty
    newest = store.read_table(TABLE, months.months[-1], list(REQUEST_COLUMNS))
    expected = ExpectedMiles(newest)
    return _Reference(champion.version, months, expected, expected.count(newest)), ""


class _RollingWindow:
    """Histograms of the requests in the window, counted while the log is read."""

    def __init__(self, first: date, reference: _Reference | None) -> None:
        self._first, self._reference = first, reference
        self.answers = self.stated = 0
        self._with_miles = 0
        self._counts: MonthCounts = {}
        self._weekdays: set[int] = set()
        self._distances = DistanceCounts()

    def counted(self, chunks: Iterable[LogChunk]) -> Iterator[LogChunk]:
        """Yield the chunks and count those in the window."""
        for chunk in chunks:
            if chunk.day >= self._first and chunk.predictions.height:
                self.answers += chunk.predictions.height
                self.stated += int((chunk.predictions[DISTANCE] == STATED).sum())
                if self._reference is not None:
                    requests = chunk.predictions.select(REQUEST_COLUMNS)
                    self._count(requests, self._reference.expected_miles)
            yield chunk

    def _count(self, requests: pl.DataFrame, expected: ExpectedMiles) -> None:
        counts = count_month(requests)
        self._counts = sum_counts([self._counts, counts]) if self._counts else counts
        self._weekdays |= {*requests["pickup_datetime"].dt.weekday().unique()}
        self._distances += expected.count(requests)
        self._with_miles += requests[DISTANCES].count()

    def drift(self, reference: _Reference) -> tuple[OnlineDrift | None, str]:
        """Measure the drift of every feature; return None and the reason with too few requests."""
        if self.answers < MIN_TRIPS:
            return None, (
                f"{self.answers} requests since {self._first}, drift needs at least {MIN_TRIPS}"
            )
        psi, left_out = reference.months.stability_indexes(self._counts), {}
        if len(self._weekdays) < DAYS_A_WEEK:
            del psi[HOUR_OF_WEEK]
            left_out[HOUR_OF_WEEK] = f"requests are for {len(self._weekdays)} of 7 weekdays so far"
        if self._with_miles < MIN_TRIPS:
            del psi[DISTANCES]
            left_out[DISTANCES] = f"{self._with_miles} of {self.answers} requests have a distance"
        no_distance, far_off = self._distances.shares
        trips_no_distance, trips_far_off = reference.distances.shares
        drift = OnlineDrift(
            version=reference.version,
            reference=[str(month) for month in reference.months.months],
            psi=psi,
            left_out=left_out,
            no_distance=no_distance,
            far_off=far_off,
            trips_no_distance=trips_no_distance,
            trips_far_off=trips_far_off,
        )
        return drift, ""


def _measure_day(day: date, chunks: Iterable[LogChunk]) -> tuple[list[OnlineDay], DayFaults]:
    """Return the predictions of a day by version, and the faults of its log."""
    parts, faults = [], DayFaults()
    for chunk in chunks:
        faults.dropped += chunk.dropped
        faults.unreadable += chunk.unreadable
        if chunk.predictions.height:
            parts.append(_by_version(chunk.predictions))
    if not parts:
        return [], faults
    calls = pl.col("milliseconds").explode()
    by_version = (
        pl.concat(parts)
        .group_by("model_version")
        .agg(
            pl.col("answers", "stated", "minutes").sum(),
            requests=calls.count(),
            p50=calls.quantile(0.5),
            p99=calls.quantile(0.99),
        )
    )
    entries = [
        OnlineDay(
            day=str(day),
            version=row["model_version"],
            requests=row["requests"],
            answers=row["answers"],
            stated=row["stated"],
            mean_minutes=row["minutes"] / row["answers"],
            p50_milliseconds=row["p50"],
            p99_milliseconds=row["p99"],
        )
        for row in by_version.sort("model_version").to_dicts()
    ]
    return entries, faults


def _by_version(answers: pl.DataFrame) -> pl.DataFrame:
    """Sum a chunk by version and collect the latency of each call.

    Every prediction of a list has the latency of the whole call; the first one stands for it.
    """
    return answers.group_by("model_version").agg(
        answers=pl.len(),
        stated=(pl.col(DISTANCE) == STATED).sum(),
        minutes=pl.col(TARGET.prediction_fields[0]).sum(),
        milliseconds=pl.col("latency_milliseconds").filter(pl.col("position") == 0),
    )
