"""Promote the best model: evaluate the candidates, decide, record, move the alias last.

The decision is recorded before the alias moves, and marked as applied after: a process that dies
in between leaves the old champion and a pending decision.
"""

import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ml_assets.config.code_version import model_code_version
from ml_assets.config.cores import processor_seconds
from ml_assets.evaluation.decision_record import ChampionDecision, PreviousChampion
from ml_assets.evaluation.metrics import measure
from ml_assets.evaluation.records import Leaderboard, ModelRecord, TrainingSet
from ml_assets.promotion.criteria import PromotionLimits
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.evaluate import CandidateResult, Evaluator, record_decision
from ml_assets.registry.registry import Registry
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.target import TARGET


@dataclass(frozen=True)
class PromotionOptions:
    """Options of a promotion.

    Attributes:
        refit_on_all_months: Whether a promoted model is first refitted on all months.
        replace_other_dataset: Whether a champion of other real trips may be replaced.
    """

    refit_on_all_months: bool = False
    replace_other_dataset: bool = False
    limits: PromotionLimits = field(default_factory=PromotionLimits)
    trigger: str = ""
    dagster_run_id: str = ""


def promote_best(
    registry: Registry,
    board: Leaderboard,
    training_set: TrainingSet,
    store: TripStore,
    log: DecisionLog,
    options: PromotionOptions,
) -> ChampionDecision:
    """Decide on the leaderboard's models, best first, and promote one that meets all criteria.

    Returns the decision, applied and recorded.

    Raises:
        NoCandidate: The leaderboard has no model.
        NotServable: The registered refit does not predict what the fit predicted.
        ConcurrentPromotion: Another process moved the alias in the meantime.
    """
    begun, processed = time.perf_counter(), processor_seconds()
    evaluator = Evaluator.prepare(registry, board, training_set, store)
    serving = evaluator.champion.version.version if evaluator.champion else None
    log.mark_applied(serving)
    limits = replace(options.limits, requests=options.limits.requests.on(board))
    options = replace(options, limits=limits)
    result, others = evaluator.evaluate_in_order(
        limits, replace_other_dataset=options.replace_other_dataset
    )
    if result.promotion.promoted and options.refit_on_all_months:
        result = replace(result, candidate=evaluator.refit(result.candidate))
    spent = (time.perf_counter() - begun, processor_seconds() - processed)
    decision = _decision(evaluator, result, others, options, spent)
    if not decision.promoted:
        log.write(decision)
        record_decision(evaluator, decision)
        return decision
    log.write(decision.model_copy(update={"applied": False}))
    record_decision(evaluator, decision)
    registry.promote(result.version or "", expected_current=serving)
    log.write(decision)
    return decision


def _decision(
    evaluator: Evaluator,
    result: CandidateResult,
    others: list[CandidateResult],
    options: PromotionOptions,
    spent: tuple[float, float],
) -> ChampionDecision:
    board, champion = evaluator.board, evaluator.champion
    parts: list[ModelRecord | Leaderboard] = [*board.models, board]
    previous = _previous_champion(evaluator)
    return ChampionDecision(
        promoted=result.promotion.promoted,
        reason=_reason(result, others),
        previous_version=champion.version.version if champion else None,
        previous_champion=previous,
        training_set=board.training_set,
        share_stated=options.limits.requests.share_stated,
        share_source=options.limits.requests.source,
        share_configured=options.limits.requests.configured,
        scoring_error=champion.scoring_error if champion else None,
        decision_id=uuid.uuid4().hex[:8],
        decided_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        trigger=options.trigger,
        dagster_run_id=options.dagster_run_id,
        test_month=board.test_month,
        challenger=result.model,
        challenger_version=result.version,
        criteria=result.promotion.criteria,
        other_candidates=[other.to_record() for other in others],
        months=evaluator.test_set.training_set.months,
        code_version=model_code_version(),
        seconds=sum(part.seconds for part in parts) + spent[0],
        cpu_seconds=sum(part.cpu_seconds for part in parts) + spent[1],
        **_serving_fields(evaluator, result, previous),
    )


def _previous_champion(evaluator: Evaluator) -> PreviousChampion | None:
    champion, actual = evaluator.champion, evaluator.test_set.trips[TARGET.name]
    if champion is None or champion.predicted is None:
        return None
    return PreviousChampion(
        model=champion.version.model,
        version=champion.version.version,
        run_id=champion.version.run_id,
        test=measure(actual, champion.predicted.stated),
        usual=measure(actual, champion.predicted.usual),
        trained_on_test_month=champion.trained_on_test_month,
    )


def _reason(result: CandidateResult, others: list[CandidateResult]) -> str:
    """Return the reason, with those of the other candidates."""
    reason = result.promotion.reason
    if not others:
        return reason
    when = "before it" if result.promotion.promoted else "after it"
    reasons = "; ".join(f"{other.model} ({other.promotion.reason})" for other in others)
    return f"{reason}. Rejected {when}: {reasons}"


def _serving_fields(
    evaluator: Evaluator, result: CandidateResult, previous: PreviousChampion | None
) -> dict[str, Any]:
    """Return the record's fields about the champion after the decision."""
    board, champion, row = evaluator.board, evaluator.champion, result.candidate.row
    if result.promotion.promoted and result.candidate.version is not None:
        return {
            **version_fields(result.candidate.version),
            "test_rmse": row.test.rmse,
            "test_rmse_usual": None if row.usual is None else row.usual.test.rmse,
            "caveat": board.caveat,
        }
    if champion is None:
        training_set = evaluator.test_set.training_set
        return {
            "champion": None,
            "registry_version": None,
            "synthetic": training_set.synthetic,
            "dataset": training_set.dataset,
            "description": "no champion",
            "test_rmse": None,
        }
    test_rmse, test_rmse_usual = (None, None) if previous is None else previous.errors
    own_caveat = champion.version.caveat if champion.trained_on_test_month else None
    return {
        **version_fields(champion.version),
        "test_rmse": test_rmse,
        "test_rmse_usual": test_rmse_usual,
        "caveat": board.caveat or own_caveat,
    }


def version_fields(version: ModelVersion) -> dict[str, Any]:
    """Return the fields of a decision about the version that serves after it."""
    return {
        "champion": version.model,
        "registry_version": version.version,
        "synthetic": version.synthetic,
        "dataset": version.dataset,
        "refit": version.refit,
        "description": version.description,
    }
