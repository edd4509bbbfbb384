"""What a training leaves behind, as small JSON records: inputs, figures and decisions."""

import hashlib
from typing import Any, Literal

from pydantic import ConfigDict, Field

from ml_assets.storage.former_names import StoredRecord
from ml_assets.storage.model_version import VersionId
from ml_assets.trips.month import Month

Role = Literal["train", "validation", "test"]


class MonthSplit(StoredRecord):
    """One month of a training set: its role, its size and what exactly it is."""

    month: str
    role: Role
    rows: int
    raw_sha256: str
    source: str
    code_version: str


class TrainingSet(StoredRecord):
    """The months to train, validate and test on; the same content has the same fingerprint."""

    dataset: str
    taxi: str
    synthetic: bool
    months: list[MonthSplit]
    caveat: str | None
    gaps: list[str]
    code_version: str

    def months_in(self, *roles: Role) -> list[Month]:
        """The months with one of these roles, in order, each once."""
        return sorted({Month.parse(use.month) for use in self.months if use.role in roles})

    def rows_in(self, *roles: Role) -> int:
        """Kept trips in the months with one of these roles."""
        rows = {use.month: use.rows for use in self.months if use.role in roles}
        return sum(rows.values())

    @property
    def fingerprint(self) -> str:
        """16 hex digits over everything that decides what a model is fitted and evaluated on."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def validation_is_test(self) -> bool:
        """Whether only two months were there, so that one had to serve for both."""
        return self.months_in("validation") == self.months_in("test")


class MetricsRecord(StoredRecord):
    """Figures of predictions against durations; units as in ``evaluation.metrics.Metrics``."""

    model_config = ConfigDict(ser_json_inf_nan="constants")  # R² of a single trip is NaN

    rmse: float
    mae: float
    mape: float
    r2: float
    share_within_5_minutes: float
    rows: int


class SliceRecord(StoredRecord):
    """Figures on one slice of the test month."""

    slice: str
    metrics: MetricsRecord


class IntervalSlice(StoredRecord):
    """Share of a slice's trips that intervals hold, and their mean width in minutes."""

    slice: str
    coverage: float
    mean_width: float
    rows: int


class IntervalRecord(StoredRecord):
    """Prediction intervals on the test month: share to hold, share held, mean width (minutes)."""

    nominal: float
    coverage: float
    mean_width: float
    rows: int
    calibrated_rows: int
    slices: list[IntervalSlice]


class ModelRecord(StoredRecord):
    """A fitted and evaluated model: what it stands on, how good it is and where it lies.

    What has a default came later than the first records, or is not said of baselines.

    Attributes:
        train: Figures on (some of) the very rows that it was fitted on; to compare with ``test``.
        validation: Figures on the validation month, of the fit that had not seen it.
        test: Figures on the test month.
        validation_months: Months that its parameters and rounds were chosen and its intervals
            calibrated on.
        interval: How its prediction intervals do on the test month.
        predictions_sha256: Of its predictions for the test month in the process that fitted it.
        fit_cpu_seconds: Processor time of the fit that ``fit_seconds`` took, over all threads; None
            in older records and of baselines.
        seconds: Wall time of tuning, fitting and evaluating.
        cpu_seconds: Processor time of the same, over all threads.
    """

    model: str
    kind: Literal["model", "baseline"]
    training_set: str
    training_months: list[str]
    validation_months: list[str] = Field(default_factory=list)
    parameters: dict[str, Any] = Field(default_factory=dict)
    trials: int = 0
    seed: int = 42
    refit_on_validation: bool = True
    train: MetricsRecord | None = None
    validation: MetricsRecord
    test: MetricsRecord
    slices: list[SliceRecord]
    interval: IntervalRecord | None = None
    fit_seconds: float = 0.0
    fit_cpu_seconds: float | None = None
    tuning_seconds: float = 0.0
    predict_seconds: float
    size_bytes: int
    predictions_sha256: str | None = None
    mlflow_run_id: str | None = None
    model_uri: str | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def has_seen(self, month: Month) -> bool:
        """Whether a month, or a later one, had a say in its parameters or its fit."""
        seen = [Month.parse(text) for text in (*self.training_months, *self.validation_months)]
        return not self.validation_months or max(seen) >= month


class Leaderboard(StoredRecord):
    """Every model and baseline on the same test month, best first.

    ``seconds`` and ``cpu_seconds`` are those of evaluating the baselines and ranking.
    """

    training_set: str
    test_month: str
    synthetic: bool
    caveat: str | None
    rows: list[ModelRecord]
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def models(self) -> list[ModelRecord]:
        """The rows that can be served, best first."""
        return [row for row in self.rows if row.kind == "model"]

    @property
    def baselines(self) -> list[ModelRecord]:
        """The other rows, best first."""
        return [row for row in self.rows if row.kind == "baseline"]

    @property
    def best(self) -> ModelRecord | None:
        """The best model; None when there are only baselines."""
        return self.models[0] if self.models else None

    @property
    def summary(self) -> str:
        """Which model is best, and by how much, in sentences for people."""
        if not self.models:
            return f"No model was evaluated on {self.test_month}, only baselines."
        best, *others = self.models
        said = [
            f"{best.model} is the best of {len(self.models)} models on {self.test_month}: its "
            f"error on {best.test.rows:,} trips is {best.test.rmse:.2f} minutes (RMSE), and "
            f"{best.test.share_within_5_minutes:.0%} of them are off by 5 minutes or less."
        ]
        ahead = [
            _lead(best.test.rmse, row.test.rmse, f"{row.model}, the next,") for row in others[:1]
        ]
        if self.baselines:
            bar = min(self.baselines, key=lambda row: row.test.rmse)
            ahead.append(_lead(best.test.rmse, bar.test.rmse, f"{bar.model}, the best baseline"))
        if ahead:
            said.append(f"That is {' and '.join(ahead)}.")
        if self.caveat:
            said.append(f"{_sentence(self.caveat)}.")
        if self.synthetic:
            said.append("The trips are the synthetic sample.")
        said.append("champion_model says which model serves.")
        return " ".join(said)


class Criterion(StoredRecord):
    """One thing that a challenger had to show, with its figure.

    Attributes:
        name: ``significant_improvement``, ``slice_guardrail: airport/either end``, …
        passed: Whether it showed it.
        finding: What was found, in a sentence with figures.
        value: The figure, where there is one.
        limit: What it was held to, where there is one.
    """

    name: str
    passed: bool
    finding: str
    value: float | None = None
    limit: float | None = None


class OtherCandidate(StoredRecord):
    """Another candidate of the leaderboard that was evaluated and not promoted.

    Attributes:
        model: Family name.
        version: Its version in the registry.
        reason: Why it was rejected, in a sentence.
        criteria: Criteria of the promotion, each with its figures.
    """

    model: str
    version: str | None
    reason: str
    criteria: list[Criterion] = Field(default_factory=list)


class PreviousChampion(VersionId):
    """The champion that a decision was made against, as it did on the test month.

    Attributes:
        test: Its figures on that month.
        trained_on_test_month: Whether it was fitted or tuned on that month, which flatters them.
    """

    test: MetricsRecord
    trained_on_test_month: bool


DecisionKind = Literal["training", "rollback", "override"]


class ChampionDecision(StoredRecord):
    """Which model serves, and why. What has a default came later than the first records.

    Attributes:
        promoted: Whether another version took the alias.
        reason: Why, or why not, in a sentence.
        champion: Family that serves now; None when nothing does.
        registry_version: Its version.
        previous_version: The version that served before.
        previous_champion: How that one did on the test month; None when it could not be scored.
        training_set: Fingerprint of the training set that the decision was made on; empty for a
            person's decision.
        synthetic: Whether what serves was trained on the synthetic sample.
        dataset: What it was trained on.
        refit: Whether what serves was refitted on all months, the test month included.
        description: Which fit serves, in words, with its months.
        test_rmse: Of the evaluated fit on the test month, minutes; None when there was none.
        caveat: What ``test_rmse`` must be shown with, or None.
        scoring_error: Why the champion before could no longer be scored, or None.
        decision_id: Tells decisions apart; the files of a decision bear it.
        sequence: Position among the decisions on this dataset, from 1: a clock may be set back. 0
            for decisions of versions that did not count, which come before.
        kind: After a training, a rollback, or a person's override.
        decided_at: When, in ISO 8601 with offset.
        trigger: Why the training started, or why a person decided so.
        dagster_run_id: The run that decided.
        test_month: The month that models were evaluated on.
        challenger: Family of the evaluated candidate; None without one.
        challenger_version: Its version in the registry.
        criteria: Criteria of the promotion, each with its figures.
        other_candidates: Candidates evaluated before it that are not servable; when none was
            promoted, those evaluated after it.
        months: Training, validation and test months, with checksums.
        code_version: Of the code that decided.
        seconds: Wall time of training the models that were compared, evaluating and deciding.
        cpu_seconds: The same in processor time.
        applied: False from before the alias moves until it has; it stays so when the process
            died in between or the registry did not answer.
    """

    promoted: bool
    reason: str
    champion: str | None
    registry_version: str | None
    previous_version: str | None
    previous_champion: PreviousChampion | None = None
    training_set: str
    synthetic: bool
    dataset: str = ""
    refit: bool = False
    description: str
    test_rmse: float | None
    caveat: str | None = None
    scoring_error: str | None = None
    decision_id: str = ""
    sequence: int = 0
    kind: DecisionKind = "training"
    decided_at: str = ""
    trigger: str = ""
    dagster_run_id: str = ""
    test_month: str = ""
    challenger: str | None = None
    challenger_version: str | None = None
    criteria: list[Criterion] = Field(default_factory=list)
    other_candidates: list[OtherCandidate] = Field(default_factory=list)
    months: list[MonthSplit] = Field(default_factory=list)
    code_version: str = ""
    seconds: float | None = None
    cpu_seconds: float | None = None
    applied: bool = True

    @property
    def summary(self) -> str:
        """Who serves, how well, and why, in sentences for people."""
        if self.champion is None:
            return f"Nothing serves: {self.reason}."
        changed = self.promoted and self.applied
        serves = "serves now" if changed else "still serves"
        if self.promoted and not self.applied:
            serves = "is to serve, but the registry has not been changed yet"
        said = [f"{self.champion}, version {self.registry_version}, {serves}.", *self._how_well()]
        said.append(f"Why: {self.reason.rstrip('.')}.")
        if self.caveat:
            said.append(f"{_sentence(self.caveat)}.")
        if self.synthetic:
            said.append("The trips are the synthetic sample.")
        return " ".join(said)

    def _how_well(self) -> list[str]:
        """The error of what serves on the test month, and by how much it is better."""
        before = self.previous_champion
        rmse = self.test_rmse
        if not self.promoted:  # what was kept has its own error from an earlier month
            rmse = before.test.rmse if before is not None else None
        if rmse is None or not self.test_month:
            return []
        apart = []
        if self.promoted and before is not None:
            named = f"the champion before ({before.model}, version {before.version})"
            apart.append(_lead(rmse, before.test.rmse, named))
        bar = next((each for each in self.criteria if each.name == "beats_baselines"), None)
        if bar is not None and bar.limit is not None:
            apart.append(_lead(rmse, bar.limit, "the best baseline"))
        said = f"On {self.test_month} its error is {rmse:.2f} minutes (RMSE)"
        return [f"{said}, {' and '.join(apart)}." if apart else f"{said}."]

    @property
    def outcome(self) -> str:
        """The decision in a word or two."""
        if not self.applied:
            return "pending"
        by_hand = {"rollback": "rolled back", "override": "promoted by hand"}
        return by_hand.get(self.kind, "promoted" if self.promoted else "kept")


def _lead(rmse: float, other: float, named: str) -> str:
    """By how much an error is below another's: ``0.21 minutes (5 %) less than …``."""
    share = f" ({abs(other - rmse) / other:.1%})" if other > 0 else ""
    return (
        f"{abs(other - rmse):.2f} minutes{share} {'less' if rmse <= other else 'more'} than {named}"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")
