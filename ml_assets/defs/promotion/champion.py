"""The asset ``champion_model``: the promotion decision, applied in the registry."""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from ml_assets.backtesting.records import BacktestRecord
from ml_assets.defs.automation import run_reason_of
from ml_assets.defs.backtesting.assets import last_backtest
from ml_assets.defs.common import CHAMPION_FRESH, EVALUATION, OWNERS, TRAINING_POOL
from ml_assets.defs.metadata import safe_metadata
from ml_assets.defs.promotion.metadata import decision_metadata
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.records import ChampionDecision, Leaderboard, TrainingSet
from ml_assets.promotion.decision_log import DecisionLog

if TYPE_CHECKING:
    from ml_assets.promotion.criteria import PromotionLimits
    from ml_assets.promotion.promote import PromotionOptions


class ChampionConfig(dg.Config):
    """What a candidate has to meet, and which fit of it is promoted."""

    refit_on_all_months: bool = Field(
        default=False,
        description="Promote a refit on all months, the test month included: it has seen newer "
        "data, but is not evaluated itself.",
    )
    replace_other_dataset: bool = Field(
        default=False,
        description="Allow a model to replace a champion that was trained on other real trips "
        "(the other taxi's). A champion of the synthetic sample may always be replaced.",
    )
    confidence: float = Field(
        default=0.95, gt=0, lt=1, description="Confidence level of the paired bootstrap over trips."
    )
    min_improvement: float | None = Field(
        default=None,
        ge=0,
        description="Minutes of RMSE that the lower limit of the improvement has to exceed. Unset: "
        "the month-to-month noise of a lead in the newest backtest, or 0 without a backtest.",
    )
    max_slice_regression: dict[str, float] | None = Field(
        default=None,
        description="By how much the RMSE of a slice with a guardrail may rise, as a share: maps "
        "the beginning of the slice's name (airport, pair, borough, borough/Queens) to the share. "
        "Unset: 0.03 each.",
    )
    min_slice_trips: int = Field(
        default=300, ge=1, description="Slices with fewer test trips have no guardrail."
    )
    max_latency_ms: float = Field(default=50.0, gt=0, description="Maximum time of one request.")

    def limits(self, suggested: float | None) -> "PromotionLimits":
        """Return the limits; ``suggested`` is the backtest's minimum improvement in minutes."""
        from ml_assets.promotion.criteria import PromotionLimits
        from ml_assets.promotion.slice_guardrails import SliceGuardrail

        guard = SliceGuardrail(min_trips=self.min_slice_trips)
        if self.max_slice_regression is not None:
            guard = SliceGuardrail(self.max_slice_regression, self.min_slice_trips)
        from_backtest = self.min_improvement is None and suggested is not None
        return PromotionLimits(
            confidence=self.confidence,
            min_improvement=(suggested if from_backtest else self.min_improvement) or 0.0,
            from_backtest=from_backtest,
            guard=guard,
            max_latency_ms=self.max_latency_ms,
        )


@dg.asset(
    deps=["model_leaderboard"],
    group_name=EVALUATION,
    pool=TRAINING_POOL,
    owners=OWNERS,
    kinds={"mlflow"},
    freshness_policy=CHAMPION_FRESH,
    description="The model that serves: registered in MLflow under the alias `champion`. Each "
    "materialization is a decision, promoted or refused, with what it was made on.",
)
def champion_model(
    context: dg.AssetExecutionContext,
    config: ChampionConfig,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
) -> dg.MaterializeResult:
    """Decide on the leaderboard's best model and apply the decision in the registry."""
    from ml_assets.promotion.decision import NoCandidate
    from ml_assets.promotion.evaluate import NotServable
    from ml_assets.promotion.promote import promote_best
    from ml_assets.registry.registry import ConcurrentPromotion

    records = trip_store.records()
    log = DecisionLog(records.home, records.dataset)
    training_set = records.read("training_set", TrainingSet)
    board = records.read("model_leaderboard", Leaderboard)
    if board.training_set != training_set.fingerprint:
        raise dg.Failure(
            "the leaderboard was made from another training set: materialize model_leaderboard "
            "again, then champion_model"
        )
    registry = tracking.registry()
    try:
        options = _options(context, config, last_backtest(context, trip_store))
        decision = promote_best(registry, board, training_set, trip_store.tables(), log, options)
    except (NoCandidate, NotServable, ConcurrentPromotion) as error:
        raise dg.Failure(str(error)) from error
    _log_decision(context, decision)
    if decision.registry_version is None:
        raise dg.Failure(f"no champion: {decision.reason}")
    version = decision.registry_version

    def metadata() -> dict[str, dg.MetadataValue]:
        links = tracking.version_links(registry.client, version)
        return {**decision_metadata(decision, log.all()), **links}

    return dg.MaterializeResult(metadata=safe_metadata(context.log, "champion_model", metadata))


def _options(
    context: dg.AssetExecutionContext, config: ChampionConfig, backtest: BacktestRecord | None
) -> "PromotionOptions":
    from ml_assets.promotion.promote import PromotionOptions

    return PromotionOptions(
        refit_on_all_months=config.refit_on_all_months,
        replace_other_dataset=config.replace_other_dataset,
        limits=config.limits(backtest.suggested_min_improvement if backtest else None),
        trigger=run_reason_of(context.run.tags),
        dagster_run_id=context.run.run_id,
    )


def _log_decision(context: dg.AssetExecutionContext, decision: ChampionDecision) -> None:
    if decision.scoring_error is not None:
        context.log.warning(
            f"the previous champion can no longer be scored: {decision.scoring_error}"
        )
    for criterion in decision.criteria:
        mark = "passed" if criterion.passed else "failed"
        context.log.info(f"{criterion.name}: {mark}: {criterion.finding}")
    context.log.info(f"{'promoted' if decision.promoted else 'kept'}: {decision.reason}")
