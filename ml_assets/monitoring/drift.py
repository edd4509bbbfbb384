"""Drift: how far the requests of each month have moved from what the champion was fitted on."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property

import polars as pl
from pydantic import BaseModel

from ml_assets.monitoring.breaches import Window
from ml_assets.monitoring.champion import MEASURED, ServedChampion, Status
from ml_assets.monitoring.distributions import (
    FEATURES,
    MonthCounts,
    added,
    binned,
    count_month,
)
from ml_assets.monitoring.stability_index import population_stability_index
from ml_assets.storage.trip_store import DamagedMonth, MissingMonth, TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.rules import REQUEST_COLUMNS
from ml_assets.trips.windows import span

TABLE = "trip_features"

DRIFT_LIMIT = 0.25
"""The conventional bar of a major shift (Siddiqi 2006). Green trips of 2023 stay below 0.12 against
whatever months came before, while kilometres for miles make 0.38 and UTC for New York 0.69."""

LEAST_TRIPS = 100
"""A month with fewer trips tells nothing of a distribution."""

MOST_MONTHS = 24
"""So many of the newest stored months are measured."""

MOST_ENTRIES = 600
"""So many entries, the newest, are kept of all champions."""


class DriftEntry(BaseModel):
    """One month against what one champion was fitted on.

    Attributes:
        version: Of the champion.
        month: ``YYYY-MM``.
        raw_sha256: Of the month's published file.
        trips: Kept trips in it.
        in_reference: Whether the champion was fitted on this very month.
        psi: Population stability index by feature; see :mod:`.stability_index`.
    """

    version: str
    month: str
    raw_sha256: str
    trips: int
    in_reference: bool
    psi: dict[str, float]

    @property
    def worst(self) -> tuple[str, float]:
        """The feature that has moved most, and its index."""
        return max(self.psi.items(), key=lambda item: item[1])


class DriftRecord(BaseModel):
    """What is known of drift.

    Attributes:
        dataset: What the months are of.
        synthetic: Whether that is the synthetic sample.
        status: Whether months could be measured.
        why: Why they could not be, in a sentence.
        measured_at: When, in ISO 8601 with offset.
        version: Of the champion that months were measured against; None when there was none.
        model: Its family.
        reference: The months that it was fitted on, as far as they are stored.
        reference_trips: Their trips.
        reference_sha256: Of their published files, in the same order.
        limit: Index above which a feature has drifted.
        entries: Months in order, those of earlier champions first.
        skipped: Stored months that could not be measured, and why.
    """

    dataset: str
    synthetic: bool
    status: Status = MEASURED
    why: str = ""
    measured_at: str = ""
    version: str | None = None
    model: str | None = None
    reference: list[str] = []
    reference_trips: int = 0
    reference_sha256: list[str] = []
    limit: float = DRIFT_LIMIT
    entries: list[DriftEntry] = []
    skipped: dict[str, str] = {}

    @property
    def months(self) -> list[DriftEntry]:
        """The months against the champion of now, in order."""
        return [entry for entry in self.entries if entry.version == self.version]

    @property
    def new_months(self) -> list[DriftEntry]:
        """Of these, the ones that came after all that the champion was fitted on."""
        newest = max(self.reference, default="")
        return [entry for entry in self.months if entry.month > newest]

    @property
    def windows(self) -> list[Window]:
        """The new months as the rule on retraining sees them: by their worst feature."""
        if self.status != MEASURED:
            return []
        return [
            Window(
                Month.parse(entry.month), entry.worst[1], self.limit, f"drift of {entry.worst[0]}"
            )
            for entry in self.new_months
        ]


def measure_drift(
    store: TripStore,
    champion: ServedChampion,
    earlier: DriftRecord | None = None,
    limit: float = DRIFT_LIMIT,
) -> DriftRecord:
    """Measure the newest stored months against what the champion was fitted on.

    Months are read one at a time, and only those that were not measured before. A month that was
    published anew is measured again, and so are all when it is one of the reference.

    Args:
        store: Where the months lie.
        champion: Of the store's dataset.
        earlier: The record before, whose entries are kept.
        limit: Index above which a feature has drifted.

    Returns:
        The record; it says so when no month of the reference is stored.
    """
    stored = {str(month): month for month in store.months(TABLE)}
    reference = _Reference(store, [stored[text] for text in champion.fitted_on if text in stored])
    record = DriftRecord(
        dataset=store.dataset,
        synthetic=store.synthetic,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=champion.version,
        model=champion.model,
        limit=limit,
    )
    kept = list(earlier.entries) if earlier else []
    if not reference.months:
        why = f"none of the months that {champion} was fitted on is stored: bring them again"
        return record.model_copy(update={"status": "no_reference", "why": why, "entries": kept})
    if earlier is None or not reference.is_of(earlier):
        kept = [entry for entry in kept if entry.version != champion.version]
    skipped = dict(reference.skipped)
    entries = []
    for month in list(stored.values())[-MOST_MONTHS:]:
        try:
            entries.append(_entry(store, month, champion, reference, kept))
        except (DamagedMonth, MissingMonth, TooFewTrips) as error:
            skipped[str(month)] = str(error)
    others = [entry for entry in kept if entry.version != champion.version]
    return record.model_copy(
        update={
            "reference": [str(month) for month in reference.months],
            "reference_trips": reference.trips,
            "reference_sha256": reference.contents,
            "entries": [*others, *entries][-MOST_ENTRIES:],
            "skipped": skipped,
        }
    )


class TooFewTrips(ValueError):
    """A month that tells nothing; says how many trips it has and how many it takes."""


class _Reference:
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
            except DamagedMonth as error:
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
    champion: ServedChampion,
    reference: _Reference,
    kept: Sequence[DriftEntry],
) -> DriftEntry:
    lineage, rows = store.lineage(TABLE, month)
    wanted = (champion.version, str(month), lineage.raw_sha256, rows)
    for entry in kept:
        if (entry.version, entry.month, entry.raw_sha256, entry.trips) == wanted:
            return entry
    if rows < LEAST_TRIPS:
        raise TooFewTrips(f"{rows} trips: at least {LEAST_TRIPS} tell of a distribution")
    return DriftEntry(
        version=champion.version,
        month=str(month),
        raw_sha256=lineage.raw_sha256,
        trips=rows,
        in_reference=month in reference.months,
        psi=reference.index_of(count_month(_requests(store, month))),
    )


def _requests(store: TripStore, month: Month) -> pl.DataFrame:
    return store.read_table(TABLE, month, list(REQUEST_COLUMNS))


def drift_sentence(record: DriftRecord) -> str:
    """The newest month in a sentence for people."""
    if record.status != MEASURED:
        return record.why
    if not record.months:
        return f"no stored month has {LEAST_TRIPS} trips or more"
    newest = record.months[-1]
    feature, index = newest.worst
    relation = "over" if index > record.limit else "within"
    against = span([Month.parse(text) for text in record.reference])
    own = " (which it was fitted on, too)" if newest.in_reference else ""
    return (
        f"{newest.month}{own}: {feature} has moved most, by {index:.3f}, {relation} the limit "
        f"{record.limit:g}, against {against}, which version {record.version} was fitted on"
    )
