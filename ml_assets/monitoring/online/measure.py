"""The service's request log, measured: what was answered by day, and how requests have drifted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path

import polars as pl

from ml_assets.monitoring.drift.histograms import MonthCounts, added, count_month
from ml_assets.monitoring.drift.measure import MIN_TRIPS, TABLE, Reference
from ml_assets.monitoring.online.distance_outliers import DistanceCounts, ExpectedMiles
from ml_assets.monitoring.online.records import (
    MAX_DAYS,
    WINDOW_DAYS,
    DayFaults,
    OnlineDay,
    OnlineDrift,
    OnlineRecord,
)
from ml_assets.serving.request_log.files import day_files, last_written
from ml_assets.serving.request_log.reader import LogChunk, read_pieces
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.rules import REQUEST_COLUMNS

HOUR_OF_WEEK, DAYS_A_WEEK = "hour_of_week", 7


def measure_online(
    folder: Path,
    store: TripStore,
    champion: ModelVersion | None,
    why_none: str = "",
    earlier: OnlineRecord | None = None,
    today: date | None = None,
) -> OnlineRecord:
    """Measure the log, a piece at a time.

    Days before the window that an earlier record tells of are not read again.

    Args:
        folder: Of the request log.
        store: Where the months lie that the champion was fitted on.
        champion: That of the store's dataset; None when there is none.
        why_none: Why there is none, in a sentence.
        earlier: The record before, whose days are kept.
        today: In UTC; by default the present day.
    """
    written = last_written(folder)  # before the reading: what comes during it is news
    last = today or datetime.now(UTC).date()
    window_from = last - timedelta(days=WINDOW_DAYS - 1)
    kept = earlier or OnlineRecord(dataset=store.dataset, synthetic=store.synthetic)
    known = {entry.day for entry in kept.days} | kept.faults.keys() | {*kept.empty}
    logged = {str(day): day for day, _ in day_files(folder)}
    newest = sorted(known | logged.keys())[-MAX_DAYS:]
    unread = [logged[day] for day in newest if day not in known and logged[day] < window_from]
    first = min(unread, default=window_from)
    days = [entry for entry in kept.days if entry.day < str(first)]
    faults = {day: lacks for day, lacks in kept.faults.items() if day < str(first)}
    trips, why = (None, why_none) if champion is None else _trips_of(store, champion)
    window = _Window(window_from, trips)
    for day, pieces in groupby(read_pieces(folder, first), key=lambda piece: piece.day):
        found, lacks = _day(day, window.watching(pieces))
        days += found
        faults |= {str(day): lacks} if lacks else {}
    drift, why = (None, why) if trips is None else window.drift(trips)
    told = {entry.day for entry in days} | faults.keys()
    return OnlineRecord(
        dataset=store.dataset,
        synthetic=store.synthetic,
        status="measured" if days or faults else "nothing_served",
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        log_written=written,
        first=str(window_from),
        days=[entry for entry in days if entry.day in newest],
        faults={day: lacks for day, lacks in faults.items() if day in newest},
        empty=[day for day in newest if day < str(window_from) and day not in told],
        window_answers=window.answers,
        drift=drift,
        why_no_drift=why,
    )


@dataclass(frozen=True)
class _Trips:
    """What the champion was fitted on.

    Attributes:
        version: Of the champion.
        reference: Its months, counted.
        usual: Miles by the newest of them.
        distances: Of that month's own trips.
    """

    version: str
    reference: Reference
    usual: ExpectedMiles
    distances: DistanceCounts


def _trips_of(store: TripStore, champion: ModelVersion) -> tuple[_Trips | None, str]:
    """What requests are held against; else why there is nothing."""
    stored = {str(month): month for month in store.months(TABLE)}
    reference = Reference(store, [stored[text] for text in champion.fitted_on if text in stored])
    if not reference.months:
        return None, (
            f"none of the months that the champion ({champion}) was fitted on is stored: bring "
            "them again"
        )
    newest = store.read_table(TABLE, reference.months[-1], list(REQUEST_COLUMNS))
    usual = ExpectedMiles(newest)
    return _Trips(champion.version, reference, usual, usual.count(newest)), ""


class _Window:
    """The newest requests, counted as they pass by."""

    def __init__(self, first: date, trips: _Trips | None) -> None:
        self._first, self._trips = first, trips
        self.answers = 0
        self._counts: MonthCounts = {}
        self._weekdays: set[int] = set()
        self._distances = DistanceCounts()

    def watching(self, pieces: Iterable[LogChunk]) -> Iterator[LogChunk]:
        """The same pieces, each counted if it is of the window."""
        for piece in pieces:
            if piece.day >= self._first and piece.answers.height:
                self.answers += piece.answers.height
                if self._trips is not None:
                    self._count(piece.answers.select(REQUEST_COLUMNS), self._trips.usual)
            yield piece

    def _count(self, requests: pl.DataFrame, usual: ExpectedMiles) -> None:
        counts = count_month(requests)
        self._counts = added([self._counts, counts]) if self._counts else counts
        self._weekdays |= {*requests["pickup_datetime"].dt.weekday().unique()}
        self._distances += usual.count(requests)

    def drift(self, trips: _Trips) -> tuple[OnlineDrift | None, str]:
        """The index of every feature that can be judged; else why none can."""
        if self.answers < MIN_TRIPS:
            return None, (
                f"{self.answers} requests since {self._first}: at least {MIN_TRIPS} tell of a "
                "distribution"
            )
        psi, left_out = trips.reference.index_of(self._counts), {}
        if len(self._weekdays) < DAYS_A_WEEK:
            del psi[HOUR_OF_WEEK]
            left_out[HOUR_OF_WEEK] = f"requests are for {len(self._weekdays)} of 7 weekdays so far"
        no_distance, far_off = self._distances.shares
        trips_no_distance, trips_far_off = trips.distances.shares
        found = OnlineDrift(
            version=trips.version,
            reference=[str(month) for month in trips.reference.months],
            psi=psi,
            left_out=left_out,
            no_distance=no_distance,
            far_off=far_off,
            trips_no_distance=trips_no_distance,
            trips_far_off=trips_far_off,
        )
        return found, ""


def _day(day: date, pieces: Iterable[LogChunk]) -> tuple[list[OnlineDay], DayFaults]:
    """A day's answers by version, and what its log lacks."""
    parts, faults = [], DayFaults()
    for piece in pieces:
        faults.lost += piece.lost
        faults.unreadable += piece.unreadable
        if piece.answers.height:
            parts.append(_by_version(piece.answers))
    if not parts:
        return [], faults
    calls = pl.col("milliseconds").explode()
    together = (
        pl.concat(parts)
        .group_by("model_version")
        .agg(
            pl.col("answers", "minutes").sum(),
            requests=calls.count(),
            p50=calls.quantile(0.5),
            p99=calls.quantile(0.99),
        )
    )
    found = [
        OnlineDay(
            day=str(day),
            version=row["model_version"],
            requests=row["requests"],
            answers=row["answers"],
            mean_minutes=row["minutes"] / row["answers"],
            p50_milliseconds=row["p50"],
            p99_milliseconds=row["p99"],
        )
        for row in together.sort("model_version").to_dicts()
    ]
    return found, faults


def _by_version(answers: pl.DataFrame) -> pl.DataFrame:
    """Sums of a piece, and the latency of each call: a list has one, told with each answer."""
    return answers.group_by("model_version").agg(
        answers=pl.len(),
        minutes=pl.col("predicted_minutes").sum(),
        milliseconds=pl.col("latency_milliseconds").filter(pl.col("position") == 0),
    )
