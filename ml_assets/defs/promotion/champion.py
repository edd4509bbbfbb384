"""The asset ``champion_model`` and its check: the promotion decision, applied in the registry."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from ml_assets.backtesting.records import BacktestRecord
from ml_assets.defs.backtesting.assets import last_backtest
from ml_assets.defs.check_results import single_result
from ml_assets.defs.common import CHAMPION_FRESH, CHAMPION_MODEL, EVALUATION, OWNERS, TRAINING_POOL
from ml_assets.defs.metadata import figure, materialized, table
from ml_assets.defs.monitoring.assets import logged_request_mix
from ml_assets.defs.operations.concurrent_steps import cores
from ml_assets.defs.operations.run_tags import run_reason_of
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.decision_record import ChampionDecision, Criterion
from ml_assets.evaluation.records import Leaderboard, TrainingSet
from ml_assets.monitoring.online.request_mix import RequestMix
from ml_assets.promotion import NoCandidate, NotServable
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.registry import ConcurrentPromotion
from ml_assets.training.training_set import load_trips

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
    share_stated: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of requests that state their distance, by which the errors with and "
        "without a distance are weighted. Unset: that of the request log's last four weeks, if "
        "they have 1,000 requests, or 0.5.",
    )
    max_mode_regression: float = Field(
        default=0.03,
        ge=0,
        description="By how much the RMSE may rise with the metered distance, and without a "
        "distance, as a share.",
    )
    max_slice_regression: dict[str, float] | None = Field(
        default=None,
        description="By how much the RMSE of a slice with a guardrail may rise, with or without a "
        "distance, as a share: maps "
        "the beginning of the slice's name (airport, pair, borough, borough/Queens) to the share. "
        "Unset: 0.03 each.",
    )
    min_slice_trips: int = Field(
        default=300, ge=1, description="Slices with fewer test trips have no guardrail."
    )
    max_latency_ms: float = Field(default=50.0, gt=0, description="Maximum time of one request.")


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
    from ml_assets.promotion.promote import promote_best

    records, log = trip_store.records(), trip_store.decisions()
    training_set = records.read("training_set", TrainingSet)
    board = records.read("model_leaderboard", Leaderboard)
    if board.training_set != training_set.fingerprint:
        raise dg.Failure(
            "the leaderboard was made from another training set: materialize model_leaderboard "
            "again, then champion_model"
        )
    store, registry = trip_store.tables(), tracking.registry(tracking.client())
    backtest = last_backtest(context, trip_store)
    mix = logged_request_mix(context, trip_store, config.share_stated)
    try:
        options = _options(context, config, backtest, mix)
        decision = promote_best(registry, board, training_set, store, log, options)
    except (NoCandidate, NotServable, ConcurrentPromotion) as error:
        raise dg.Failure(str(error)) from error
    _log_decision(context, decision)
    if decision.registry_version is None:
        raise dg.Failure(f"no champion: {decision.reason}")
    client = registry.client
    return materialized(context, lambda: decision_metadata(decision, log, tracking, client))


def _options(
    context: dg.AssetExecutionContext,
    config: ChampionConfig,
    backtest: BacktestRecord | None,
    requests: RequestMix,
) -> "PromotionOptions":
    from ml_assets.promotion import criteria, promote, slice_guardrails

    weighted = backtest.weighted(requests.share_stated) if backtest else None
    suggested = weighted.suggested_min_improvement if weighted else None
    guard = slice_guardrails.SliceGuardrail(min_trips=config.min_slice_trips)
    if config.max_slice_regression is not None:
        guard = replace(guard, tolerance=config.max_slice_regression)
    from_backtest = config.min_improvement is None and suggested is not None
    limits = criteria.PromotionLimits(
        confidence=config.confidence,
        min_improvement=(suggested if from_backtest else config.min_improvement) or 0.0,
        from_backtest=from_backtest,
        requests=requests,
        mode_tolerance=config.max_mode_regression,
        guard=guard,
        max_latency_ms=config.max_latency_ms,
    )
    return promote.PromotionOptions(
        refit_on_all_months=config.refit_on_all_months,
        replace_other_dataset=config.replace_other_dataset,
        limits=limits,
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


_PARITY = dg.AssetCheckKey(CHAMPION_MODEL, "serving_parity")


@dg.asset_check(
    name=_PARITY.name,
    asset=_PARITY.asset_key,
    description="The champion predicts the same minutes, bounds and version, to the last bit, in "
    "this process, in batch files, over HTTP and for the page of the prediction service, which is "
    "started for it on a free port; and its features equal those of training.",
    op_tags=cores("one"),
)
def serving_parity(trip_store: TripStoreResource, tracking: MlflowTracking) -> dg.AssetCheckResult:
    """Compare the predictions for a thousand trips of the test month."""
    from ml_assets.promotion.serving_parity import compare_champion

    training_set = trip_store.records().read("training_set", TrainingSet)
    test_trips = load_trips(trip_store.tables(), training_set, "test")
    result = compare_champion(tracking.registry(tracking.reader()), test_trips)
    compared = {name: dg.MetadataValue.int(count) for name, count in result.compared.items()}
    return single_result(_PARITY, result.finding(), compared)


_SHOWN_DECISIONS = 20


def decision_metadata(
    decision: ChampionDecision, log: DecisionLog, tracking: MlflowTracking, client: "MlflowClient"
) -> dict[str, dg.MetadataValue]:
    """Return a summary, facts, criteria, the history (newest first), and links to the version.

    Dagster shows the entries in this order, in a column of 500 px where the window has 1500.
    """
    texts = {
        "summary": decision.summary,
        "champion": decision.champion or "no champion",
        "registry_version": decision.registry_version or "none",
        "decision": decision.outcome,
        "trigger": decision.trigger,
        "reason": decision.reason,
    }
    further_texts = {
        "fit": decision.description,
        "challenger": _named(decision.challenger, decision.challenger_version),
        "requests": decision.request_mix,
        "test_month": decision.test_month,
        "trips": "synthetic sample" if decision.synthetic else decision.dataset or "unknown trips",
        "caveat": decision.caveat,
        "scoring_error": decision.scoring_error,
        "decision_id": decision.decision_id,
    }
    figures = {
        "test_rmse": decision.test_rmse,
        "test_rmse_usual": decision.test_rmse_usual,
        "seconds": decision.seconds,
        "cpu_seconds": decision.cpu_seconds,
    }
    shown = _texts(texts)
    shown |= {name: figure(value) for name, value in figures.items() if value is not None}
    if decision.criteria:
        shown["criteria"] = table([_criterion(criterion) for criterion in decision.criteria])
    if decision.other_candidates:
        shown["other_candidates"] = table(
            [
                {"candidate": _named(other.model, other.version), "refused": other.reason}
                for other in decision.other_candidates
            ]
        )
    history = log.all()[-_SHOWN_DECISIONS:]
    shown["decisions"] = table([_line(entry) for entry in reversed(history)])
    links = tracking.version_links(client, decision.registry_version or "")
    return shown | _texts(further_texts) | links


def _texts(texts: Mapping[str, str | None]) -> dict[str, dg.MetadataValue]:
    return {name: dg.MetadataValue.text(text) for name, text in texts.items() if text}


def _criterion(criterion: Criterion) -> dict[str, object]:
    """Return a criterion, its name with spaces, at which the page may break it."""
    return {
        "passed": "yes" if criterion.passed else "no",
        "criterion": criterion.name.replace("_", " "),
        "finding": criterion.finding,
    }


def _named(model: str | None, version: str | None) -> str | None:
    return model if version is None or model is None else f"{model}, version {version}"


def _line(decision: ChampionDecision) -> dict[str, object]:
    """Return a decision in a line that fits on the page; `ml-assets decisions ID` has all of it."""
    return {
        "when": decision.decided_at[:16].replace("T", " "),
        "outcome": decision.outcome,
        "serves": _named(decision.champion, decision.registry_version) or "nothing",
        "decision": decision.decision_id,
    }
