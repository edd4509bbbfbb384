"""JSON records of a training: its months, the metrics of its models, the promotion decision."""

import hashlib
import math
from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from ml_assets.storage.former_names import StoredRecord
from ml_assets.storage.model_version import VersionId
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET

Role = Literal["train", "validation", "test"]


class MonthSplit(StoredRecord):
    """One month of a training set: role, rows, and the version of its file and of the code."""

    month: str
    role: Role
    rows: int
    raw_sha256: str
    source: str
    code_version: str


class TrainingSet(StoredRecord):
    """The training, validation and test months; equal contents have equal fingerprints."""

    dataset: str
    taxi: str
    synthetic: bool
    months: list[MonthSplit]
    caveat: str | None
    gaps: list[str]
    code_version: str

    def months_in(self, *roles: Role) -> list[Month]:
        """Return the months with one of these roles, in order and without duplicates."""
        return sorted({Month.parse(use.month) for use in self.months if use.role in roles})

    def rows_in(self, *roles: Role) -> int:
        """Return the number of kept trips in the months with one of these roles."""
        rows = {use.month: use.rows for use in self.months if use.role in roles}
        return sum(rows.values())

    @property
    def fingerprint(self) -> str:
        """Digest of the record in 16 hex digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def validation_is_test(self) -> bool:
        """Whether one month is both, because only two months were available."""
        return self.months_in("validation") == self.months_in("test")


class MetricsRecord(StoredRecord):
    """Errors over ``rows`` trips, e = predicted - actual, in minutes where a unit applies.

    Attributes:
        rmse: sqrt(mean(e²)), minutes.
        mae: mean(abs(e)), minutes.
        mape: mean(abs(e) / actual), a fraction (0.25 is 25 %).
        r2: 1 - sum(e²) / sum((actual - mean(actual))²); NaN for a single trip.
        share_within_5_minutes: mean(abs(e) <= 5), a fraction.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")  # for the NaN of r2

    rmse: float
    mae: float
    mape: float
    r2: float
    share_within_5_minutes: float
    rows: int


class SliceRecord(StoredRecord):
    """Metrics on one slice of the test month."""

    slice: str
    metrics: MetricsRecord


class IntervalSlice(StoredRecord):
    """Coverage of the intervals on one slice, and their mean width in minutes."""

    slice: str
    coverage: float
    mean_width: float
    rows: int


class IntervalRecord(StoredRecord):
    """Coverage of the prediction intervals on the test month, and their mean width in minutes.

    Attributes:
        fifths: The same for each fifth of the predictions, the shortest first; empty in old records
            and with few trips.
        calibrated_with_metered: Whether the trips had no distance, and the intervals are those of
            metered distances: the model was stored before both were calibrated apart.
    """

    nominal: float
    coverage: float
    mean_width: float
    rows: int
    calibrated_rows: int
    slices: list[IntervalSlice]
    fifths: list[IntervalSlice] = Field(default_factory=list)
    calibrated_with_metered: bool = False


DEFAULT_SHARE_STATED: Final = 0.5
"""Share of requests that state their distance, assumed until the request log shows it: the page
leaves the distance out, a router or a driver states it, and nothing is known yet of who asks."""


def weighted_rmse(stated: float, usual: float | None, share_stated: float) -> float:
    """Return the RMSE of requests of which a share states its distance, in the unit of the errors.

    Args:
        stated: RMSE with the metered distance.
        usual: RMSE without a distance; None when unknown, then the other one counts for all.
        share_stated: Share of requests that state their distance, 0 to 1.
    """
    if usual is None:
        return stated
    return math.sqrt(share_stated * stated**2 + (1 - share_stated) * usual**2)


class UsualRecord(StoredRecord):
    """The evaluation on the test month as if no request stated its distance.

    The distance of a published trip is metered, and so known only after it: a model's other figures
    are those of requests that state exactly what the meter will show.
    """

    test: MetricsRecord
    slices: list[SliceRecord]
    interval: IntervalRecord | None = None
    predictions_sha256: str | None = None


class DistanceError(StoredRecord):
    """RMSE in minutes on ``rows`` test trips when requests state this distance.

    Attributes:
        distance: ``metered``, ``0.8 × metered``, …, or ``left out``.
    """

    distance: str
    rmse: float
    rows: int


class FittedRows(StoredRecord):
    """The rows that a model was fitted on.

    Attributes:
        fitted: Number of rows of the fit.
        available: Number of kept trips in its months.
        max_rows: Bound of the fit, beyond which it gets a sample stratified by month and pick-up
            zone; None without one.
        sample_rows: Rows of the sample that the encoders learned from, if the estimator was fitted
            on all rows in parts; None if both had the same rows.
    """

    fitted: int
    available: int
    max_rows: int | None = None
    sample_rows: int | None = None

    @property
    def description(self) -> str:
        """The rows and how they were chosen, in words."""
        if self.sample_rows is not None:
            return f"all {self.available:,} trips, encoded by tables of {self.sample_rows:,}"
        if self.fitted >= self.available:
            return f"all {self.available:,} trips"
        return (
            f"{self.fitted:,} of {self.available:,} trips, a sample stratified by month and "
            "pick-up zone"
        )


class ModelRecord(StoredRecord):
    """A fitted and evaluated model: months, parameters, metrics, cost and MLflow run.

    Fields with a default are absent from the oldest records or do not apply to baselines.

    Attributes:
        validation_months: Months on which its parameters and rounds were chosen and its intervals
            calibrated.
        rows: How many of the trips of its months it was fitted on; None in the oldest records.
        train: Metrics on a sample of the rows that it was fitted on, to compare with ``test``.
        validation: Metrics on the validation month, of the fit without that month.
        test: Metrics on the test month, with the metered distance of each trip.
        usual: The same without the distance; None in the oldest records.
        distance_errors: What a wrong distance costs, on a sample of the test month; empty in the
            oldest records and for baselines.
        predictions_sha256: Digest of its test predictions in the process that fitted it.
        fit_seconds: Wall time of the final fit.
        fit_cpu_seconds: Processor time of the final fit over all threads; None when not recorded.
        predict_seconds: Wall time of predicting the test month, on average of both modes.
        seconds, cpu_seconds: Wall and processor time of tuning, fitting and evaluating.
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
    rows: FittedRows | None = None
    train: MetricsRecord | None = None
    validation: MetricsRecord
    test: MetricsRecord
    slices: list[SliceRecord]
    interval: IntervalRecord | None = None
    usual: UsualRecord | None = None
    distance_errors: list[DistanceError] = Field(default_factory=list)
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

    @property
    def max_rows(self) -> int | None:
        """Bound of the rows that it was fitted on; None without one."""
        return self.rows.max_rows if self.rows is not None else None

    @property
    def usual_rmse(self) -> float | None:
        """RMSE on the test month without distances, minutes; None in the oldest records."""
        return self.usual.test.rmse if self.usual is not None else None

    @property
    def usual_interval(self) -> IntervalRecord | None:
        """Coverage on the test month without distances; None without intervals, or if unknown."""
        return self.usual.interval if self.usual is not None else None

    def has_seen(self, month: Month) -> bool:
        """Whether this or a later month was used for the fit or to choose the parameters."""
        seen = [Month.parse(text) for text in (*self.training_months, *self.validation_months)]
        return not self.validation_months or max(seen) >= month

    def request_rmse(self, share_stated: float = DEFAULT_SHARE_STATED) -> float:
        """Return the test RMSE of requests of which this share states its distance, minutes."""
        usual = None if self.usual is None else self.usual.test.rmse
        return weighted_rmse(self.test.rmse, usual, share_stated)


def comparable_share(
    rows: Iterable[ModelRecord], share_stated: float = DEFAULT_SHARE_STATED
) -> float:
    """Return the share of stated distances that rows can be compared with.

    It is 1, for the error with the metered distance only, if a row has no other.
    """
    return share_stated if all(row.usual for row in rows) else 1.0


class Leaderboard(StoredRecord):
    """The models and baselines evaluated on one test month, best first.

    ``seconds`` and ``cpu_seconds`` are the cost of evaluating the baselines and ranking.
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
        """The rows of models, best first."""
        return [row for row in self.rows if row.kind == "model"]

    @property
    def baselines(self) -> list[ModelRecord]:
        """The rows of baselines, best first."""
        return [row for row in self.rows if row.kind == "baseline"]

    @property
    def best(self) -> ModelRecord | None:
        """The best model; None without a model."""
        return self.models[0] if self.models else None

    @property
    def summary(self) -> str:
        """Describe the best model, its error in both modes and its lead in a few sentences."""
        if not self.models:
            return f"No model was evaluated on {self.test_month}, only baselines."
        best, *others = self.models
        error = (
            f"{best.model} is the best of {len(self.models)} models on {self.test_month}: its "
            f"error on {best.test.rows:,} trips is {best.test.rmse:.2f} {TARGET.unit} (RMSE)"
        )
        close = (
            f"{best.test.share_within_5_minutes:.0%} of them are off by "
            f"{TARGET.close:g} {TARGET.unit} or less"
        )
        share = comparable_share(self.rows)
        rmse = best.request_rmse(share)
        compared = [(row, f"{row.model}, the next,") for row in others[:1]]
        compared += [(row, f"{row.model}, the best baseline") for row in self.baselines[:1]]
        lead = " and ".join(_lead(rmse, row.request_rmse(share), named) for row, named in compared)
        if best.usual_rmse is None:
            sentences = [f"{error}, and {close}.", *([f"That is {lead}."] if lead else [])]
        else:
            sentences = [
                f"{error} with the metered distance and {best.usual_rmse:.2f} without a distance.",
                f"With the metered distance, {close}.",
            ]
            mixed = f"If {share:.0%} of requests state their distance, its error is {rmse:.2f}"
            sentences += [f"{mixed} {TARGET.unit}, {lead}."] if lead else []
        sentences += _coverage(best)
        if self.caveat:
            sentences.append(f"{_sentence(self.caveat)}.")
        if self.synthetic:
            sentences.append("The trips are the synthetic sample.")
        sentences.append("champion_model shows whether it was promoted.")
        return " ".join(sentences)


class Criterion(StoredRecord):
    """A criterion of the promotion, applied to one candidate.

    Attributes:
        name: ``significant_improvement``, ``slice_guardrail: airport/either end``, …
        limit: The limit of the value, if there is one.
    """

    name: str
    passed: bool
    finding: str
    value: float | None = None
    limit: float | None = None


class OtherCandidate(StoredRecord):
    """Another model of the leaderboard that was evaluated and not promoted.

    Attributes:
        version: Registry version; None when it could not be registered.
        reason: Why it was not promoted, in one sentence.
    """

    model: str
    version: str | None
    reason: str
    criteria: list[Criterion] = Field(default_factory=list)


class PreviousChampion(VersionId):
    """The champion that the candidates were compared with.

    Attributes:
        test: Metrics with the metered distance.
        usual: Metrics without a distance; None in older records.
        trained_on_test_month: Whether it was fitted or tuned on that month, which makes these
            metrics optimistic.
    """

    test: MetricsRecord
    usual: MetricsRecord | None = None
    trained_on_test_month: bool

    @property
    def errors(self) -> tuple[float, float | None]:
        """RMSE with the metered distance, and without a distance, minutes."""
        return self.test.rmse, None if self.usual is None else self.usual.rmse


DecisionKind = Literal["training", "rollback", "override"]


class ChampionDecision(StoredRecord):
    """A decision on the champion. Fields with a default are absent from the oldest records.

    Attributes:
        champion: Family of the champion after the decision; None without a champion.
        previous_version: Registry version of the champion before the decision.
        previous_champion: That champion's metrics on the test month; None when it was not scored.
        training_set: Fingerprint of the training set; empty for a manual decision.
        refit: Whether the champion was refitted on all months, the test month included.
        description: The champion's fit and its months, in words.
        test_rmse: RMSE of the evaluated fit on its test month with the metered distance, minutes;
            None when unknown.
        test_rmse_usual: The same without a distance.
        share_stated: Share of requests that state their distance, by which the errors were
            weighted; None in a manual decision and in older records, which have no such weights.
        share_source: Where that share is from.
        caveat: Limitation of ``test_rmse``; None without one.
        scoring_error: Why the previous champion could not be scored; None when it was.
        sequence: Position among the decisions on this dataset, from 1, independent of the clock; 0
            in older records, which come first.
        kind: What the decision follows: a training, or a manual rollback or override.
        decided_at: Time of the decision, ISO 8601 with offset.
        trigger: Why the training was started, or the reason given for a manual decision.
        challenger: Family of the candidate; None without one.
        other_candidates: Other models evaluated: better ones that failed a criterion of their own,
            or, when no model was promoted, worse ones.
        months: Training, validation and test months, with checksums.
        seconds: Wall time of training, evaluating and deciding.
        cpu_seconds: Processor time of training, evaluating and deciding.
        applied: Whether the alias was moved; False when the run died before or the registry did not
            answer.
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
    test_rmse_usual: float | None = None
    share_stated: float | None = None
    share_source: str = ""
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
        """Describe the champion, its error and the reason in a few sentences."""
        if self.champion is None:
            return f"There is no champion: {self.reason}."
        state = "was promoted" if self.promoted else "remains the champion"
        if self.promoted and not self.applied:
            state = "will be promoted; the registry has not been updated yet"
        sentences = [f"{self.champion}, version {self.registry_version}, {state}.", *self._error()]
        sentences.append(f"Reason: {self.reason.rstrip('.')}.")
        if self.caveat:
            sentences.append(f"{_sentence(self.caveat)}.")
        if self.synthetic:
            sentences.append("The trips are the synthetic sample.")
        return " ".join(sentences)

    def _error(self) -> list[str]:
        """Describe the champion's test error and its difference to others."""
        before = self.previous_champion
        stated, usual = self.test_rmse, self.test_rmse_usual
        if not self.promoted:  # its own test_rmse is that of an earlier month
            stated, usual = (None, None) if before is None else before.errors
        if stated is None or not self.test_month:
            return []
        share = 1.0 if self.share_stated is None else self.share_stated
        rmse = weighted_rmse(stated, usual, share)
        leads = []
        if self.promoted and before is not None:
            named = f"the previous champion ({before.model}, version {before.version})"
            leads.append(_lead(rmse, weighted_rmse(*before.errors, share), named))
        bar = next((each for each in self.criteria if each.name == "beats_baselines"), None)
        if bar is not None and bar.limit is not None:
            leads.append(_lead(rmse, bar.limit, "the best baseline"))
        lead = f", {' and '.join(leads)}" if leads else ""
        error = f"On {self.test_month} its error is {stated:.2f} {TARGET.unit} (RMSE)"
        if usual is None or self.share_stated is None:
            return [f"{error}{lead}."]
        return [
            f"{error} with the metered distance and {usual:.2f} without a distance.",
            f"{self.request_mix}: weighted so, it is {rmse:.2f} {TARGET.unit}{lead}.",
        ]

    @property
    def request_mix(self) -> str:
        """The share by which errors were weighted, and where it is from; empty without weights."""
        if self.share_stated is None:
            return ""
        return f"{self.share_stated:.0%} of requests state their distance ({self.share_source})"

    @property
    def outcome(self) -> str:
        """The outcome in a word or two."""
        if not self.applied:
            return "pending"
        manual = {"rollback": "rolled back", "override": "promoted manually"}
        return manual.get(self.kind, "promoted" if self.promoted else "kept")


def _coverage(best: ModelRecord) -> list[str]:
    """Describe the coverage of the intervals in both modes; nothing without intervals."""
    stated, usual = best.interval, best.usual_interval
    if stated is None:
        return []
    sentence = f"Its {stated.nominal:.0%} intervals cover {stated.coverage:.1%} of the trips"
    if usual is None:
        return [f"{sentence} with the metered distance."]
    return [f"{sentence} with the metered distance and {usual.coverage:.1%} without a distance."]


def _lead(rmse: float, other: float, named: str) -> str:
    """Format the difference of two errors: ``0.21 minutes (5 %) less than …``."""
    share = f" ({abs(other - rmse) / other:.1%})" if other > 0 else ""
    change = "less" if rmse <= other else "more"
    return f"{abs(other - rmse):.2f} {TARGET.unit}{share} {change} than {named}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")
