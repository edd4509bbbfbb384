"""The promotion decision.

The best model of a leaderboard is the first candidate. It is promoted if it meets every criterion:
it is better than the baselines and, by a paired bootstrap over the test trips, better than the
champion, both for requests as they are made: with and without a distance, each weighted by its
share; neither of these modes and no slice with a guardrail is much worse; it passes its checks; and
its latency is within the limit. Otherwise, and in a tie, the champion is kept. If the candidate
fails a criterion of its own (a check, a mode, a slice, its latency), the next model of the
leaderboard is evaluated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from ml_assets.evaluation.decision_record import Criterion
from ml_assets.evaluation.records import Leaderboard, ModelRecord, TrainingSet
from ml_assets.monitoring.online.request_mix import ModePredictions
from ml_assets.promotion.criteria import (
    ChampionEvaluation,
    PromotionLimits,
    beats_baselines,
    fair_comparison,
    meets_latency,
    mode_guardrails_hold,
    newer_than_override,
    passes_check,
    same_dataset,
    significant_improvement,
    slice_guardrails_hold,
)
from ml_assets.promotion.paired_bootstrap import paired_bootstrap
from ml_assets.promotion.slice_guardrails import compare_modes, compare_slices
from ml_assets.storage.model_version import ModelVersion
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.target import TARGET


@dataclass(frozen=True)
class CandidateEvaluation:
    """A candidate loaded from the registry: its predictions and the findings of its checks.

    Attributes:
        predicted: Predictions for the test month; None when it could not be loaded and used or they
            are not all finite, which ``findings`` then contains.
        findings: Findings by the name of the check; empty for the champion, which is not checked.
        latency_ms: Time of one request; None when it could not be loaded and used.
        unfitted: The unfitted pipeline with the intervals of the fitted one, to refit it on more
            months; None when it could not be loaded and used.
    """

    predicted: ModePredictions | None = None
    findings: Mapping[str, Finding] = field(default_factory=dict)
    latency_ms: float | None = None
    unfitted: Pipeline | None = None

    @property
    def failures(self) -> list[str]:
        """Messages of the checks that it does not pass; empty when it is servable."""
        found = self.findings.values()
        return [finding.sentence for finding in found if finding.verdict != Verdict.PASS]


@dataclass(frozen=True)
class Candidate:
    """A model of the leaderboard that may become champion.

    Attributes:
        version: Its registry version; None when its model is not in this MLflow.
    """

    row: ModelRecord
    version: ModelVersion | None
    evaluation: CandidateEvaluation


@dataclass(frozen=True)
class PromotionInputs:
    """What a candidate is compared with.

    Attributes:
        board: The leaderboard, for its baselines and its caveat.
        test_trips: Trips of the test month.
        train_pairs: ``pair_codes`` of the months that the candidate was fitted on.
    """

    board: Leaderboard
    training_set: TrainingSet
    champion: ChampionEvaluation | None
    test_trips: pd.DataFrame
    train_pairs: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Promotion:
    """The decision on a candidate: whether it is promoted, the reason, and its criteria."""

    promoted: bool
    reason: str
    criteria: list[Criterion] = field(default_factory=list)

    @property
    def should_try_next(self) -> bool:
        """Whether the next model of the leaderboard may meet the criteria that this one fails.

        It may when a check of this model failed, or when the model is better than the champion but
        too slow or worse in a mode or on a slice. After a model that is worse than the champion or
        a baseline come models with larger errors; and dataset, months and a manual promotion are
        the same for all.
        """
        failed = {criterion.name for criterion in self.criteria if not criterion.passed}
        if not failed or failed & _GLOBAL_CRITERIA:
            return False
        return not failed & _RANKING_CRITERIA or any(name.startswith("check: ") for name in failed)


_GLOBAL_CRITERIA = {"same_dataset", "newer_than_manual_override", "fair_comparison"}
_RANKING_CRITERIA = {"beats_baselines", "significant_improvement"}


def decide(
    candidate: Candidate,
    inputs: PromotionInputs,
    limits: PromotionLimits | None = None,
    *,
    replace_other_dataset: bool = False,
) -> Promotion:
    """Decide whether a candidate becomes the champion.

    Args:
        replace_other_dataset: Whether a champion of other real trips may be replaced.
    """
    limits = limits or PromotionLimits()
    champion = inputs.champion
    if champion is not None and came_from(champion.version, candidate.row):
        return Promotion(False, f"{champion} is the best model of this training already")
    criteria = _on_its_own(candidate, inputs, limits)
    dataset = inputs.training_set.dataset
    if champion is not None and champion.version.dataset != dataset:
        model = candidate.row.model
        criteria.append(same_dataset(model, dataset, champion, replace_other_dataset))
    elif champion is not None and champion.predicted is not None:
        criteria += _against(champion, candidate, inputs, limits)
    failed = [criterion for criterion in criteria if not criterion.passed]
    if failed:
        return Promotion(False, _refused(failed, candidate.row, champion), criteria)
    return Promotion(True, _promoted(criteria, candidate.row, inputs, limits), criteria)


def came_from(version: ModelVersion, row: ModelRecord) -> bool:
    """Whether a version was made by the training of this row."""
    return bool(version.run_id) and version.run_id == row.mlflow_run_id


def _on_its_own(
    candidate: Candidate, inputs: PromotionInputs, limits: PromotionLimits
) -> list[Criterion]:
    evaluation = candidate.evaluation
    criteria = [beats_baselines(candidate.row, inputs.board, limits.requests)]
    criteria += [passes_check(name, found) for name, found in evaluation.findings.items()]
    if evaluation.latency_ms is not None:
        criteria.append(meets_latency(evaluation.latency_ms, limits))
    return criteria


def _against(
    champion: ChampionEvaluation,
    candidate: Candidate,
    inputs: PromotionInputs,
    limits: PromotionLimits,
) -> list[Criterion]:
    model, board, test_trips = candidate.row.model, inputs.board, inputs.test_trips
    override = newer_than_override(inputs.training_set, champion)
    criteria = [fair_comparison(model, board, champion), *([override] if override else [])]
    before, after = champion.predicted, candidate.evaluation.predicted
    if before is None or after is None:
        return criteria
    actual = test_trips[TARGET.name].to_numpy(dtype=np.float64)
    errors = [each.squared_errors(actual, limits.requests) for each in (before, after)]
    difference = paired_bootstrap(*errors, confidence=limits.confidence)
    modes = compare_modes(actual, before, after)
    changes = compare_slices(test_trips, before, after, inputs.train_pairs, limits.guard)
    return [
        *criteria,
        significant_improvement(difference, limits, model, board.test_month),
        *mode_guardrails_hold(modes, limits.mode_tolerance),
        *slice_guardrails_hold(changes),
    ]


def _promoted(
    criteria: list[Criterion], row: ModelRecord, inputs: PromotionInputs, limits: PromotionLimits
) -> str:
    champion, month = inputs.champion, inputs.board.test_month
    if champion is None:
        rmse = row.request_rmse(limits.requests.share_stated)
        return (
            f"there was no champion; {row.model} is best on {month} (RMSE {rmse:.3f}, "
            f"{limits.requests})"
        )
    found = {criterion.name: criterion.finding for criterion in criteria}
    if "same_dataset" in found:
        return found["same_dataset"]
    if champion.predicted is None:
        why = f" ({champion.scoring_error})" if champion.scoring_error else ""
        return (
            f"{champion} can no longer be scored on {month}{why}, so the baselines decide: "
            f"{found['beats_baselines']}"
        )
    return f"better than {champion}: {found['significant_improvement']}"


def _refused(failed: list[Criterion], row: ModelRecord, champion: ChampionEvaluation | None) -> str:
    reasons = "; ".join(f"{criterion.name}: {criterion.finding}" for criterion in failed)
    if champion is None:
        return f"{row.model} is not promoted: {reasons}"
    found = {criterion.name: criterion.finding for criterion in failed}
    no_better = found.pop("significant_improvement", None)
    # A model that is not better overall usually fails on modes and slices too.
    if no_better and all(name.startswith(("mode_guardrail", "slice_guardrail")) for name in found):
        seen = ", which was fitted or tuned on that month" if champion.trained_on_test_month else ""
        return f"no better than {champion}{seen}: {no_better}"
    kept = f"{champion} is kept, since {row.model} fails {reasons}"
    return (
        f"{kept}. It can no longer be scored ({champion.scoring_error})"
        if champion.scoring_error
        else kept
    )
