"""Drift: how far the requests of each month have moved from what the champion was fitted on."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property

import polars as pl

from ml_assets.monitoring.drift.histograms import (
    FEATURES,
    MonthCounts,
    added,
    binned,
    count_month,
)
from ml_assets.monitoring.drift.psi import population_stability_index
from ml_assets.monitoring.drift.records import DRIFT_LIMIT, DriftEntry, DriftRecord
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.trip_store import CorruptMonth, MonthNotFound, TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.rules import REQUEST_COLUMNS

TABLE = "trip_features"

MIN_TRIPS = 100
"""A month with fewer trips tells nothing of a distribution."""

MAX_MONTHS = 24
"""So many of the newest stored months are measured."""

MAX_ENTRIES = 600
"""So many entries, the newest, are kept of all champions."""


def measure_drift(
    store: TripStore,
    champion: ModelVersion,
    earlier: DriftRecord | None = None,
    limit: float = DRIFT_LIMIT,
    refused: Mapping[Month, str] | None = None,
) -> DriftRecord:
    """Measure the newest stored months against what the champion was fitted on.

    Months are read one at a time, and only those that were not measured before. A month that was
    published anew is measured again, and so are all when it is one of the reference.

    Args:
        store: Where the months lie.
        champion: Of the store's dataset.
        earlier: The record before, whose entries are kept.
        limit: Index above which a feature has drifted.
        refused: Months that nothing is to be learned from, and why: they tell of their data, not of
            requests.

    Returns:
        The record; it says so when no month of the reference is stored.
    """
    stored = {str(month): month for month in store.months(TABLE)}
    reference = Reference(store, [stored[text] for text in champion.fitted_on if text in stored])
    record = DriftRecord(
        dataset=store.dataset,
        synthetic=store.synthetic,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=champion.version,
        run_id=champion.run_id,
        model=champion.model,
        limit=limit,
    )
    kept = list(earlier.entries) if earlier else []
    if not reference.months:
        why = (
            f"none of the months that the champion ({champion}) was fitted on is stored: bring "
            "them again"
        )
        return record.model_copy(update={"status": "no_reference", "why": why, "entries": kept})
    if earlier is None or not reference.is_of(earlier):
        kept = [entry for entry in kept if entry.champion != champion.identity]
    skipped = dict(reference.skipped)
    entries = []
    for month in list(stored.values())[-MAX_MONTHS:]:
        if refused and month in refused:
            skipped[str(month)] = f"a data rule refuses it: {refused[month]}"
            continue
        try:
            entries.append(_entry(store, month, champion, reference, kept))
        except (CorruptMonth, MonthNotFound, TooFewTrips) as error:
            skipped[str(month)] = str(error)
    others = [entry for entry in kept if entry.champion != champion.identity]
    return record.model_copy(
        update={
            "reference": [str(month) for month in reference.months],
            "reference_trips": reference.trips,
            "reference_sha256": reference.contents,
            "entries": [*others, *entries][-MAX_ENTRIES:],
            "skipped": skipped,
        }
    )


class TooFewTrips(ValueError):
    """A month that tells nothing; says how many trips it has and how many it takes."""


class Reference:
    """What the champion was fitted on: counted when the first month needs it."""

    def __init__(self, store: TripStore, months: Sequence[Month]) -> None:
        self._store = store
        self.skipped: dict[str, str] = {}
        self.months: list[Month] = []
        self.contents: list[str] = []
        self.trips = 0
        for month in months:
            try:
                lineage, rows = store.lineage(TABLE, month)
            except CorruptMonth as error:
                self.skipped[str(month)] = str(error)
                continue
            if rows:
                self.months.append(month)
                self.contents.append(lineage.raw_sha256)
                self.trips += rows

    def is_of(self, record: DriftRecord) -> bool:
        """Whether a record was made with this very reference."""
        months = [str(month) for month in self.months]
        return (record.reference, record.reference_sha256, record.reference_trips) == (
            months,
            self.contents,
            self.trips,
        )

    @cached_property
    def counts(self) -> MonthCounts:
        """Its trips per value of every feature."""
        return added(count_month(_requests(self._store, month)) for month in self.months)

    def index_of(self, counts: MonthCounts) -> dict[str, float]:
        """The stability index of every feature of a month."""
        found = {}
        for feature in FEATURES:
            bin_of = feature.bin_of(self.counts[feature.name])
            pair = (binned(each[feature.name], bin_of) for each in (self.counts, counts))
            found[feature.name] = population_stability_index(*pair)
        return found


def _entry(
    store: TripStore,
    month: Month,
    champion: ModelVersion,
    reference: Reference,
    kept: Sequence[DriftEntry],
) -> DriftEntry:
    lineage, rows = store.lineage(TABLE, month)
    wanted = (champion.identity, str(month), lineage.raw_sha256, rows)
    for entry in kept:
        if (entry.champion, entry.month, entry.raw_sha256, entry.trips) == wanted:
            return entry
    if rows < MIN_TRIPS:
        raise TooFewTrips(f"{rows} trips: at least {MIN_TRIPS} tell of a distribution")
    return DriftEntry(
        version=champion.version,
        run_id=champion.run_id,
        month=str(month),
        raw_sha256=lineage.raw_sha256,
        trips=rows,
        in_reference=month in reference.months,
        psi=reference.index_of(count_month(_requests(store, month))),
    )


def _requests(store: TripStore, month: Month) -> pl.DataFrame:
    return store.read_table(TABLE, month, list(REQUEST_COLUMNS))
