"""JSON record of a promotion decision: what was compared, and by which criteria."""

from typing import Literal

from pydantic import Field

from ml_assets.evaluation.records import (
    MetricsRecord,
    MonthSplit,
    as_sentence,
    describe_lead,
    weighted_rmse,
)
from ml_assets.storage.former_names import StoredRecord
from ml_assets.storage.model_version import VersionId
from ml_assets.trips.target import TARGET


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
        share_configured: Whether that share was set in ``champion_model``'s config.
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
    share_configured: bool = False
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
            sentences.append(f"{as_sentence(self.caveat)}.")
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
            leads.append(describe_lead(rmse, weighted_rmse(*before.errors, share), named))
        bar = next((each for each in self.criteria if each.name == "beats_baselines"), None)
        if bar is not None and bar.limit is not None:
            leads.append(describe_lead(rmse, bar.limit, "the best baseline"))
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
