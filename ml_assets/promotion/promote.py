"""Carry out a promotion: register the challenger, examine it, decide, record, move the alias.

The decision is recorded before the alias moves, and marked as carried out after: a process that
dies in between leaves the old champion serving and a decision that says it was not carried out.
"""

import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ml_assets.config.code_version import model_code_version
from ml_assets.evaluation.metrics import measure
from ml_assets.evaluation.records import (
    ChampionBefore,
    ChampionDecision,
    Leaderboard,
    MetricsRecord,
    ModelRecord,
    TrainingSet,
)
from ml_assets.promotion.criteria import PromotionLimits
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.evaluate import Asked, CandidateEvaluation, tell
from ml_assets.promotion.policy import Promotion
from ml_assets.registry.manual_hold import Serve
from ml_assets.registry.registry import Registry, promote_alias
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.rules import TARGET


@dataclass(frozen=True)
class PromotionOptions:
    """What an operator may choose.

    Attributes:
        serve: The judged model itself, or the same parameters fitted again on all months.
        replace_other_dataset: Whether a champion of other real trips may be replaced.
        limits: What a challenger has to show.
        started_because: Why the training started.
        dagster_run_id: The run that decides.
    """

    serve: Serve = "judged"
    replace_other_dataset: bool = False
    limits: PromotionLimits = field(default_factory=PromotionLimits)
    started_because: str = ""
    dagster_run_id: str = ""


def promote_best(
    registry: Registry,
    board: Leaderboard,
    training_set: TrainingSet,
    store: TripStore,
    log: DecisionLog,
    options: PromotionOptions,
) -> ChampionDecision:
    """Decide on the leaderboard's models, the best first; one that is promoted is the champion.

    Args:
        registry: Where champions are registered.
        board: The leaderboard.
        training_set: The training set that it was made from.
        store: Where its months lie.
        log: Keeps the decision: before the alias moves, and again once it has.
        options: An operator's choices.

    Returns:
        The decision, carried out and recorded.

    Raises:
        NoCandidate: when the leaderboard holds no model.
        NotServable: when the fit on all months is not given back as it was.
        ConcurrentPromotion: when another process moved the alias meanwhile.
    """
    begun, processed = time.perf_counter(), time.process_time()
    contest = CandidateEvaluation.prepare(registry, board, training_set, store)
    log.settle(contest.champion.version if contest.champion else None)
    asked, others = contest.evaluate_in_order(
        options.limits, replace_other_dataset=options.replace_other_dataset
    )
    if asked.promotion.promoted and options.serve == "refitted_on_all_months":
        served, version = asked.contest.refit()
        asked = replace(asked, served=served, version=version)
    spent = (time.perf_counter() - begun, time.process_time() - processed)
    decision = _decision(contest, asked, others, options, spent)
    if not decision.promoted:
        log.write(decision)
        tell(contest, decision)
        return decision
    log.write(decision.model_copy(update={"carried_out": False}))
    tell(contest, decision)
    promote_alias(
        registry.client,
        registry.name,
        asked.version or "",
        expected_current=contest.champion.version if contest.champion else None,
        lock_folder=registry.lock_folder,
    )
    log.write(decision)
    return decision


def _decision(
    contest: CandidateEvaluation,
    asked: Asked,
    others: list[Asked],
    options: PromotionOptions,
    spent: tuple[float, float],
) -> ChampionDecision:
    promotion, board, training_set = asked.promotion, contest.board, contest.training_set
    before = contest.champion
    parts: list[ModelRecord | Leaderboard] = [*board.models, board]
    return ChampionDecision(
        promoted=promotion.promoted,
        reason=_reason(promotion, [other.promotion for other in others]),
        previous_version=before.version if before else None,
        champion_before=_before(contest),
        training_set=board.training_set,
        unscored=before.unscored if before else None,
        decision_id=uuid.uuid4().hex[:8],
        decided_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        started_because=options.started_because,
        dagster_run_id=options.dagster_run_id,
        judged_month=board.judged_month,
        challenger=promotion.winner.model,
        challenger_version=asked.version,
        criteria=promotion.criteria,
        other_challengers=[other.as_other for other in others],
        months=training_set.months,
        code_version=model_code_version(),
        seconds=sum(part.seconds for part in parts) + spent[0],
        cpu_seconds=sum(part.cpu_seconds for part in parts) + spent[1],
        **_serving(contest, asked),
    )


def _before(contest: CandidateEvaluation) -> ChampionBefore | None:
    champion = contest.champion
    if champion is None or champion.predicted is None:
        return None
    figures = measure(contest.judged[TARGET], champion.predicted)
    return ChampionBefore(
        model=champion.model,
        version=champion.version,
        run_id=champion.run_id,
        test=MetricsRecord.model_validate(figures.as_dict()),
        saw_judged_month=champion.saw_judged_month,
    )


def _reason(promotion: Promotion, others: list[Promotion]) -> str:
    """The reason, with those that were refused beside this one."""
    if not others:
        return promotion.reason
    when = "before it" if promotion.promoted else "after it"
    asked = "; ".join(f"{other.winner.model} ({other.reason})" for other in others)
    return f"{promotion.reason}. Asked {when} and refused: {asked}"


def _serving(contest: CandidateEvaluation, asked: Asked) -> dict[str, Any]:
    """What the record says of the model that serves after the decision."""
    board, training_set, before = contest.board, contest.training_set, contest.champion
    promotion, served = asked.promotion, asked.served
    if promotion.promoted and served is not None:
        return {
            "champion": promotion.winner.model,
            "registry_version": asked.version,
            "synthetic": training_set.synthetic,
            "dataset": training_set.dataset,
            "serve": served.serve,
            "served": served.in_words,
            "test_rmse": promotion.winner.test.rmse,
            "caveat": board.caveat,
        }
    if before is None:
        return {
            "champion": None,
            "registry_version": None,
            "synthetic": training_set.synthetic,
            "dataset": training_set.dataset,
            "served": "nothing serves",
            "test_rmse": None,
        }
    return {
        "champion": before.model,
        "registry_version": before.version,
        "synthetic": before.synthetic,
        "dataset": before.dataset,
        "serve": before.serve,
        "served": before.served,
        "test_rmse": before.test_rmse,
        "caveat": board.caveat or before.caveat,
    }
