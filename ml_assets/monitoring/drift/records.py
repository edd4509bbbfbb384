"""Stored record of feature drift: months against the training months of champions."""

from pydantic import BaseModel, Field

from ml_assets.monitoring import MEASURED, MonthlyRecord
from ml_assets.monitoring.retrain_rule import REMEDY, MonthlyValue
from ml_assets.storage.model_version import identity
from ml_assets.training.windows import span
from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import Finding, Verdict

DRIFT_LIMIT = 0.25
"""The conventional limit of a major shift (Siddiqi 2006). Green trips of 2023 stay below 0.12
against any earlier months, while kilometres in place of miles give 0.38 and UTC in place of New
York time 0.69."""


class BinnedShares(BaseModel):
    """Shares of the reference trips in the bins of a feature.

    Attributes:
        bins: Names: values, ranges (miles or minutes), or ``others``.
        shares: Shares of the trips, 0 to 1, in the same order.
    """

    bins: list[str]
    shares: list[float]


class DriftEntry(BaseModel):
    """Drift of one month against the training months of one champion.

    Attributes:
        raw_sha256: SHA-256 of the month's published file.
        in_reference: Whether the champion was trained on this month.
        psi: Population stability index by feature; see :mod:`.histograms`.
        outcome_psi: The same of the durations, which have no limit; empty in old records.
        shares: Shares of the trips in each bin, by feature or outcome, in the order of the record's
            ``reference_shares``; empty in old records and for earlier champions.
    """

    version: str
    month: str
    raw_sha256: str
    trips: int
    in_reference: bool
    psi: dict[str, float]
    run_id: str = ""
    outcome_psi: dict[str, float] = Field(default_factory=dict)
    shares: dict[str, list[float]] = Field(default_factory=dict)

    @property
    def champion(self) -> str:
        """Identity of the champion, unique across registries."""
        return identity(self.version, self.run_id)

    @property
    def worst(self) -> tuple[str, float]:
        """The feature with the highest index, and the index."""
        return max(self.psi.items(), key=lambda item: item[1])


class DriftRecord(MonthlyRecord):
    """Drift of the stored months against the current champion and earlier ones.

    Attributes:
        reference: The champion's training months that are stored.
        reference_sha256: SHA-256 of the published files of the reference, in the same order.
        reference_shares: Shares of the reference's trips by feature or outcome; empty in old
            records.
        entries: Months in order, those of earlier champions first.
        skipped: Stored months that could not be measured, with the reason.
    """

    reference: list[str] = Field(default_factory=list)
    reference_trips: int = 0
    reference_sha256: list[str] = Field(default_factory=list)
    reference_shares: dict[str, BinnedShares] = Field(default_factory=dict)
    limit: float = DRIFT_LIMIT
    entries: list[DriftEntry] = Field(default_factory=list)
    skipped: dict[str, str] = Field(default_factory=dict)

    @property
    def months(self) -> list[DriftEntry]:
        """The months measured against the current champion, in order."""
        return [entry for entry in self.entries if entry.champion == self.champion]

    @property
    def new_months(self) -> list[DriftEntry]:
        """The months newer than all training months of the champion."""
        newest = max(self.reference, default="")
        return [entry for entry in self.months if entry.month > newest]

    @property
    def monthly_values(self) -> list[MonthlyValue]:
        """The new months as input of the retraining rule: the index of the worst feature."""
        if self.status != MEASURED:
            return []
        return [
            MonthlyValue(
                Month.parse(entry.month), entry.worst[1], self.limit, f"drift of {entry.worst[0]}"
            )
            for entry in self.new_months
        ]


def drift_summary(record: DriftRecord) -> str:
    """Summarize the newest month in one sentence."""
    if record.status != MEASURED:
        return record.why
    if not record.months:
        return "no stored month has enough trips to measure drift"
    newest = record.months[-1]
    feature, index = newest.worst
    relation = "over" if index > record.limit else "within"
    against = span([Month.parse(text) for text in record.reference])
    own = " (a training month)" if newest.in_reference else ""
    return (
        f"{newest.month}{own}: {feature} has drifted most, by {index:.3f}, {relation} the limit "
        f"{record.limit:g}, against {against}, the training months of version {record.version}"
    )


def drift_finding(record: DriftRecord) -> Finding:
    """Compare the newest month that the champion was not trained on with the limit."""
    if record.status != MEASURED:
        return Finding(Verdict.SKIP, record.why)
    if not record.new_months:
        return Finding(Verdict.SKIP, "no month is newer than the champion's training months")
    newest = record.new_months[-1]
    over = {name: index for name, index in newest.psi.items() if not index <= record.limit}
    worst = newest.worst[1]
    if not over:
        return Finding(Verdict.PASS, drift_summary(record), worst, 0.0, record.limit)
    ranked = sorted(over.items(), key=lambda item: -item[1])
    named = ", ".join(f"{name} by {index:.3f}" for name, index in ranked)
    sentence = (
        f"{newest.month}: {named}, over the limit {record.limit:g} of the stability index; {REMEDY}"
    )
    return Finding(Verdict.WARN, sentence, worst, 0.0, record.limit)
