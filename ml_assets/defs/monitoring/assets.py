"""Watching what serves: whether requests have drifted from it, and how it errs on newer months.

Both assets measure what is there and say so when there is nothing to measure: no champion, one of
other trips, or one that no longer predicts is a status of the asset and fails no run.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg

from ml_assets.backtesting.records import CHAMPION, BacktestRecord
from ml_assets.defs.backtesting.assets import last_backtest
from ml_assets.defs.common import CHAMPION_MODEL, MONITORING, OWNERS
from ml_assets.defs.metadata import safe_metadata
from ml_assets.defs.monitoring.metadata import drift_metadata, performance_metadata
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.monitoring.drift.records import DriftRecord, drift_sentence
from ml_assets.monitoring.performance.from_decisions import scores_from_decisions
from ml_assets.monitoring.performance.records import (
    PerformanceRecord,
    Score,
    noise_tolerance,
    performance_sentence,
)
from ml_assets.monitoring.status import Status
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.record_store import Record, UnreadableRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

Watched = TypeVar("Watched", DriftRecord, PerformanceRecord)


def on_months_or_champion_changed() -> dg.AutomationCondition:
    """Once for all that changed since the last time, and when nothing of it is under way.

    Many partitions of ``trip_features`` may be missing, so that is no obstacle; without a champion
    there is nothing to watch. Asks for the first measurement, too, if a champion was made before
    anybody looked.
    """
    champion_made = dg.AutomationCondition.asset_matches(
        CHAMPION_MODEL, ~dg.AutomationCondition.missing()
    )
    handled = dg.AutomationCondition.newly_requested() | dg.AutomationCondition.newly_updated()
    never_tried = (dg.AutomationCondition.missing() & champion_made).newly_true().since(handled)
    updated = dg.AutomationCondition.any_deps_updated()
    # Not since_last_handled(): what was measured and then changed between two looks would be lost.
    changed = updated.since(handled & ~updated)
    return (
        (changed | never_tried)
        & champion_made
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    ).with_label("months_or_champion_changed")


_SHARED: dict[str, Any] = {
    "deps": ["trip_features", CHAMPION_MODEL],
    "group_name": MONITORING,
    "owners": OWNERS,
    "automation_condition": on_months_or_champion_changed(),
    # The condition asks once: a registry that is away for a moment must not cost the measurement.
    "retry_policy": dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL),
}


@dg.asset(
    kinds={"polars"},
    description="How far the requests of each month have moved from the months that the serving "
    "champion was fitted on: a population stability index for each feature.",
    **_SHARED,
)
def feature_drift(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource, tracking: MlflowTracking
) -> dg.MaterializeResult:
    """Measure months that were not measured against this champion before."""
    from ml_assets.monitoring.drift.measure import measure_drift
    from ml_assets.training.training_set import rejected_months

    store, records = trip_store.tables(), trip_store.records()
    earlier = _earlier(context, trip_store, DriftRecord)
    blank = DriftRecord(dataset=store.dataset, synthetic=store.synthetic)
    champion, status, why = monitored_champion(
        tracking.reader(), tracking.registered_model, store.dataset
    )
    if champion is None:
        record = _unmeasured(earlier or blank, status, why)
    else:
        refused = rejected_months(store, store.months("trip_features"))
        record = measure_drift(store, champion, earlier, refused=refused)
    records.write("feature_drift", record)
    context.log.info(drift_sentence(record))
    return dg.MaterializeResult(
        metadata=safe_metadata(context.log, "feature_drift", lambda: drift_metadata(record))
    )


@dg.asset(
    kinds={"mlflow"},
    description="The serving champion's error on each month with labels, against its error on the "
    "month that judged it; with the scores of champions before.",
    **_SHARED,
)
def prediction_performance(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource, tracking: MlflowTracking
) -> dg.MaterializeResult:
    """Score the champion on months that it was not scored on before."""
    from ml_assets.monitoring.performance.measure import ScoringFailed, measure_performance
    from ml_assets.training.training_set import rejected_months

    store, records = trip_store.tables(), trip_store.records()
    earlier = _earlier(context, trip_store, PerformanceRecord) or PerformanceRecord(
        dataset=store.dataset, synthetic=store.synthetic
    )
    known = earlier.add_missing(_decided(context, DecisionLog(records.home, records.dataset)))
    client, name = tracking.reader(), tracking.registered_model
    champion, status, why = monitored_champion(client, name, store.dataset)
    if champion is None:
        record = _unmeasured(known, status, why)
    else:
        allowance = _allowance(champion, last_backtest(context, trip_store))
        load = _loading(name, champion)
        try:
            refused = rejected_months(store, store.months("trip_features"))
            record = measure_performance(store, champion, load, known, allowance, refused)
        except ScoringFailed as error:
            context.log.warning(str(error))
            record = _unmeasured(known, "unscorable", str(error), champion)
    records.write("prediction_performance", record)
    context.log.info(performance_sentence(record))
    return dg.MaterializeResult(
        metadata=safe_metadata(
            context.log, "prediction_performance", lambda: performance_metadata(record)
        )
    )


def monitored_champion(
    client: "MlflowClient", name: str, dataset: str
) -> tuple[ModelVersion | None, Status, str]:
    """The champion if it is of these trips; else what it is instead, and in a sentence."""
    from ml_assets.registry.registry import champion_version, explain_missing_champion

    champion = champion_version(client, name)
    if champion is None:
        return None, "nothing_serves", explain_missing_champion(client, name)
    if champion.dataset != dataset:
        made_on = champion.dataset or "unknown trips"
        why = (
            f"the champion ({champion}) was trained on {made_on}: months of {dataset} tell nothing "
            "of it"
        )
        return None, "other_dataset", why
    return champion, "measured", ""


def _unmeasured(
    record: Watched, status: Status, why: str, champion: ModelVersion | None = None
) -> Watched:
    """What was known before, with why nothing was measured now."""
    told = {
        "status": status,
        "why": why,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": champion.version if champion else None,
        "run_id": champion.run_id if champion else "",
        "model": champion.model if champion else None,
    }
    return record.model_copy(update=told)


def _decided(context: dg.AssetExecutionContext, log: DecisionLog) -> list[Score]:
    """What decisions have scored; a damaged one is no reason not to measure."""
    try:
        return scores_from_decisions(log.all())
    except UnreadableRecord as error:
        context.log.warning(f"scores of earlier decisions are left out: {error}")
        return []


def _allowance(champion: ModelVersion, made: BacktestRecord | None) -> float | None:
    """How far the error may move, by the backtest; None when that was of another family."""
    if made is None or made.champion != champion.model:
        return None
    return noise_tolerance(made.relative_error_noise, len(made.line(CHAMPION)))


def _loading(name: str, champion: ModelVersion) -> Callable[[], Any]:
    from ml_assets.registry.loading import load_verified

    return lambda: load_verified(name, champion)


def _earlier(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource, kind: type[Record]
) -> Record | None:
    """The record before; one that cannot be read is about to be replaced."""
    try:
        return trip_store.records().find(context.asset_key.to_user_string(), kind)
    except UnreadableRecord as error:
        context.log.warning(f"all months are measured anew: {error}")
        return None
