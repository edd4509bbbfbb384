"""Feature drift of each month against the champion's training months."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from ml_assets.monitoring import TooFewTrips, measure_months
from ml_assets.monitoring.drift.histograms import (
    FEATURES,
    OUTCOMES,
    Counts,
    Feature,
    MonthCounts,
    bin_counts,
    count_month,
    population_stability_index,
    sum_counts,
)
from ml_assets.monitoring.drift.records import BinnedShares, DriftEntry, DriftRecord
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.trip_store import CorruptMonth, MonthNotFound, TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

TABLE = "trip_features"

MIN_TRIPS = 100
"""Fewer trips are too few to estimate a distribution."""

MAX_MONTHS = 24
"""How many of the newest stored months are measured."""

SHARE_DECIMALS = 6

MAX_ENTRIES = 600
"""How many entries are kept, the newest over all champions."""


def measure_drift(
    store: TripStore,
    champion: ModelVersion,
    earlier: DriftRecord | None = None,
    rejected: Mapping[Month, str] | None = None,
) -> DriftRecord:
    """Measure the drift of the newest stored months against the champion's training months.

    Months are read one at a time, and only those not measured before. A republished month is
    measured again; if it is a reference month, so are all others.

    Args:
        earlier: The previous record, whose entries are kept.
        rejected: Months that a data rule rejects, with the reason; they are skipped, as their
            drift would be that of faulty data.

    Returns:
        The record; its status is ``no_reference`` when no training month is stored.
    """
    reference = Reference(store, champion)
    record = DriftRecord(
        dataset=store.dataset,
        synthetic=store.synthetic,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=champion.version,
        run_id=champion.run_id,
        model=champion.model,
    )
    kept = list(earlier.entries) if earlier else []
    shares: dict[str, BinnedShares] = {}
    if not reference.months:
        update = {"status": "no_reference", "why": reference.why_empty, "entries": kept}
        return record.model_copy(update=update)
    if earlier is not None and reference.matches(earlier):
        shares = earlier.reference_shares
    else:
        kept = [entry for entry in kept if entry.champion != champion.identity]
    entries, skipped = measure_months(
        store.months(TABLE)[-MAX_MONTHS:],
        lambda month: _entry(store, month, champion, reference, kept),
        rejected,
    )
    others = [
        entry.model_copy(update={"shares": {}})
        for entry in kept
        if entry.champion != champion.identity
    ]
    return record.model_copy(
        update={
            "reference": [str(month) for month in reference.months],
            "reference_trips": reference.trips,
            "reference_sha256": reference.checksums,
            "reference_shares": shares or reference.shares,
            "entries": [*others, *entries][-MAX_ENTRIES:],
            "skipped": reference.skipped | skipped,
        }
    )


class Reference:
    """The stored training months of the champion; counted on first use.

    Attributes:
        months: The stored months that have trips.
        checksums: SHA-256 of their published files.
        skipped: Damaged months, with the error.
        why_empty: Why there are no months, in one sentence, if there are none.
    """

    def __init__(self, store: TripStore, champion: ModelVersion) -> None:
        self._store = store
        self.why_empty = (
            f"none of the training months of the champion ({champion}) is stored: ingest them again"
        )
        self.skipped: dict[str, str] = {}
        self.months: list[Month] = []
        self.checksums: list[str] = []
        self.trips = 0
        stored = {str(month): month for month in store.months(TABLE)}
        for month in (stored[text] for text in champion.training_months if text in stored):
            try:
                lineage, rows = store.lineage(TABLE, month)
            except MonthNotFound:
                continue
            except CorruptMonth as error:
                self.skipped[str(month)] = str(error)
                continue
            if rows:
                self.months.append(month)
                self.checksums.append(lineage.raw_sha256)
                self.trips += rows

    def matches(self, record: DriftRecord) -> bool:
        """Whether a record was measured against the same reference."""
        months = [str(month) for month in self.months]
        return (record.reference, record.reference_sha256, record.reference_trips) == (
            months,
            self.checksums,
            self.trips,
        )

    @cached_property
    def counts(self) -> MonthCounts:
        """Trips per value of every feature and outcome."""
        return sum_counts(_count(self._store, month) for month in self.months)

    @cached_property
    def bins(self) -> list["Bins"]:
        """The bins of every feature and outcome."""
        return [
            Bins(feature, feature.bin_index(self.counts[feature.name]))
            for feature in (*FEATURES, *OUTCOMES)
        ]

    def stability_indexes(self, counts: MonthCounts) -> dict[str, float]:
        """Compute the population stability index of every feature or outcome that was counted."""
        return {
            name: population_stability_index(bins.of(self.counts), bins.of(counts))
            for bins in self.bins
            if (name := bins.feature.name) in counts
        }

    @property
    def shares(self) -> dict[str, BinnedShares]:
        """Share of the trips in each bin, by feature or outcome."""
        return {
            bins.feature.name: BinnedShares(
                bins=bins.feature.bin_labels(bins.index), shares=bins.shares(self.counts)
            )
            for bins in self.bins
        }


@dataclass(frozen=True)
class Bins:
    """The bins of a feature, by its trips in the reference months."""

    feature: Feature
    index: Counts

    def of(self, counts: MonthCounts) -> Counts:
        """Return the trips in each bin."""
        return bin_counts(counts[self.feature.name], self.index)

    def shares(self, counts: MonthCounts) -> list[float]:
        """Return the share of the trips in each bin; zeros without trips."""
        trips = self.of(counts)
        return [round(share, SHARE_DECIMALS) for share in (trips / max(trips.sum(), 1)).tolist()]


def _entry(
    store: TripStore,
    month: Month,
    champion: ModelVersion,
    reference: Reference,
    kept: Sequence[DriftEntry],
) -> DriftEntry:
    lineage, rows = store.lineage(TABLE, month)
    key = (champion.identity, str(month), lineage.raw_sha256, rows)
    for entry in kept:
        if (entry.champion, entry.month, entry.raw_sha256, entry.trips) == key and entry.shares:
            return entry
    if rows < MIN_TRIPS:
        raise TooFewTrips(f"{rows} trips, drift needs at least {MIN_TRIPS}")
    counts = _count(store, month)
    indexes = reference.stability_indexes(counts)
    return DriftEntry(
        version=champion.version,
        run_id=champion.run_id,
        month=str(month),
        raw_sha256=lineage.raw_sha256,
        trips=rows,
        in_reference=month in reference.months,
        psi={feature.name: indexes[feature.name] for feature in FEATURES},
        outcome_psi={outcome.name: indexes[outcome.name] for outcome in OUTCOMES},
        shares={bins.feature.name: bins.shares(counts) for bins in reference.bins},
    )


def _count(store: TripStore, month: Month) -> MonthCounts:
    trips = store.read_table(TABLE, month, [*REQUEST_COLUMNS, TARGET.name])
    return count_month(trips, (*FEATURES, *OUTCOMES))
