"""What is known of drift: the months against what champions were fitted on."""

from pydantic import BaseModel

from ml_assets.monitoring.retrain_rule import Window
from ml_assets.monitoring.status import MEASURED, Status
from ml_assets.storage.model_version import identity
from ml_assets.training.windows import span
from ml_assets.trips.month import Month

DRIFT_LIMIT = 0.25
"""The conventional bar of a major shift (Siddiqi 2006). Green trips of 2023 stay below 0.12 against
whatever months came before, while kilometres for miles make 0.38 and UTC for New York 0.69."""


class DriftEntry(BaseModel):
    """One month against what one champion was fitted on.

    Attributes:
        version: Of the champion.
        run_id: Its MLflow run.
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
    run_id: str = ""

    @property
    def champion(self) -> str:
        """Which champion it is of, across registries."""
        return identity(self.version, self.run_id)

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
        run_id: Its MLflow run.
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
    run_id: str = ""
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
        champion = identity(self.version or "", self.run_id)
        return [entry for entry in self.entries if entry.champion == champion]

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


def drift_sentence(record: DriftRecord) -> str:
    """The newest month in a sentence for people."""
    if record.status != MEASURED:
        return record.why
    if not record.months:
        return "no stored month has enough trips to be measured"
    newest = record.months[-1]
    feature, index = newest.worst
    relation = "over" if index > record.limit else "within"
    against = span([Month.parse(text) for text in record.reference])
    own = " (which it was fitted on, too)" if newest.in_reference else ""
    return (
        f"{newest.month}{own}: {feature} has moved most, by {index:.3f}, {relation} the limit "
        f"{record.limit:g}, against {against}, which version {record.version} was fitted on"
    )
