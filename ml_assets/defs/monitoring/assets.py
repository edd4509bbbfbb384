"""Assets that monitor the champion: feature drift, and its error on newer months.

When there is nothing to measure (no champion, one of another dataset, one that no longer predicts),
the record's status says so and the run succeeds.
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
from ml_assets.monitoring import Status
from ml_assets.monitoring.drift.records import DriftRecord, drift_summary
from ml_assets.monitoring.performance.records import (
    PerformanceRecord,
    Score,
    noise_tolerance,
    performance_summary,
    scores_from_decisions,
)
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.record_store import Record, UnreadableRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

MonitoringRecord = TypeVar("MonitoringRecord", DriftRecord, PerformanceRecord)


def on_months_or_champion_changed() -> dg.AutomationCondition:
    """Build the condition that requests one run for all changes since the last measurement.

    It waits for runs in progress on the dependencies. Missing partitions of ``trip_features`` do
    not matter; without a champion there is nothing to monitor. It also requests the first
    measurement of a champion that was promoted before the first evaluation.
    """
    champion_made = dg.AutomationCondition.asset_matches(
        CHAMPION_MODEL, ~dg.AutomationCondition.missing()
    )
    handled = dg.AutomationCondition.newly_requested() | dg.AutomationCondition.newly_updated()
    never_tried = (dg.AutomationCondition.missing() & champion_made).newly_true().since(handled)
    updated = dg.AutomationCondition.any_deps_updated()
    # Not since_last_handled(): an update right after a measurement, between two evaluations, would
    # be lost.
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
    # The condition requests once: a short outage of the registry must not cost the measurement.
    "retry_policy": dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL),
}


@dg.asset(
    kinds={"polars"},
    description="Drift of each month's request features from the champion's training months: a "
    "population stability index by feature.",
    **_SHARED,
)
def feature_drift(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource, tracking: MlflowTracking
) -> dg.MaterializeResult:
    """Measure the months not yet measured against this champion."""
    from ml_assets.monitoring.drift.measure import measure_drift
    from ml_assets.training.training_set import rejected_months

    store, records = trip_store.tables(), trip_store.records()
    earlier = _previous_record(context, trip_store, DriftRecord)
    blank = DriftRecord(dataset=store.dataset, synthetic=store.synthetic)
    champion, status, why = monitored_champion(
        tracking.reader(), tracking.registered_model, store.dataset
    )
    if champion is None:
        record = _unmeasured(earlier or blank, status, why)
    else:
        rejected = rejected_months(store, store.months("trip_features"))
        record = measure_drift(store, champion, earlier, rejected=rejected)
    records.write("feature_drift", record)
    context.log.info(drift_summary(record))
    return dg.MaterializeResult(
        metadata=safe_metadata(context.log, "feature_drift", lambda: drift_metadata(record))
    )


@dg.asset(
    kinds={"mlflow"},
    description="The champion's error on each month, compared with its error on its test month; "
    "includes the scores of earlier champions.",
    **_SHARED,
)
def prediction_performance(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource, tracking: MlflowTracking
) -> dg.MaterializeResult:
    """Score the champion on the months not yet scored."""
    from ml_assets.monitoring.performance.measure import ScoringFailed, measure_performance
    from ml_assets.training.training_set import rejected_months

    store, records = trip_store.tables(), trip_store.records()
    earlier = _previous_record(context, trip_store, PerformanceRecord) or PerformanceRecord(
        dataset=store.dataset, synthetic=store.synthetic
    )
    decision_scores = _decision_scores(context, DecisionLog(records.home, records.dataset))
    known = earlier.add_missing(decision_scores)
    client, name = tracking.reader(), tracking.registered_model
    champion, status, why = monitored_champion(client, name, store.dataset)
    if champion is None:
        record = _unmeasured(known, status, why)
    else:
        allowance = _allowance(champion, last_backtest(context, trip_store))
        load = _loader(name, champion)
        try:
            rejected = rejected_months(store, store.months("trip_features"))
            record = measure_performance(store, champion, load, known, allowance, rejected)
        except ScoringFailed as error:
            context.log.warning(str(error))
            record = _unmeasured(known, "scoring_failed", str(error), champion)
    records.write("prediction_performance", record)
    context.log.info(performance_summary(record))
    return dg.MaterializeResult(
        metadata=safe_metadata(
            context.log, "prediction_performance", lambda: performance_metadata(record)
        )
    )


def monitored_champion(
    client: "MlflowClient", name: str, dataset: str
) -> tuple[ModelVersion | None, Status, str]:
    """Return the champion of this dataset, or None with the status and the reason."""
    from ml_assets.registry.registry import champion_version, explain_missing_champion

    champion = champion_version(client, name)
    if champion is None:
        return None, "no_champion", explain_missing_champion(client, name)
    if champion.dataset != dataset:
        trained_on = champion.dataset or "an unknown dataset"
        why = (
            f"the champion ({champion}) was trained on {trained_on} and cannot be measured on "
            f"{dataset}"
        )
        return None, "dataset_mismatch", why
    return champion, "measured", ""


def _unmeasured(
    record: MonitoringRecord, status: Status, why: str, champion: ModelVersion | None = None
) -> MonitoringRecord:
    """Return the earlier record with the reason why nothing was measured."""
    update = {
        "status": status,
        "why": why,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": champion.version if champion else None,
        "run_id": champion.run_id if champion else "",
        "model": champion.model if champion else None,
    }
    return record.model_copy(update=update)


def _decision_scores(context: dg.AssetExecutionContext, log: DecisionLog) -> list[Score]:
    """Return the scores that decisions made; none, with a warning, if the log is damaged."""
    try:
        return scores_from_decisions(log.all())
    except UnreadableRecord as error:
        context.log.warning(f"scores of earlier decisions are skipped: {error}")
        return []


def _allowance(champion: ModelVersion, made: BacktestRecord | None) -> float | None:
    """Return the noise tolerance from the backtest; None if that was of another family."""
    if made is None or made.champion != champion.model:
        return None
    return noise_tolerance(made.relative_error_noise, len(made.series(CHAMPION)))


def _loader(name: str, champion: ModelVersion) -> Callable[[], Any]:
    from ml_assets.registry.loading import load_verified

    return lambda: load_verified(name, champion)


def _previous_record(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource, kind: type[Record]
) -> Record | None:
    """Return the previous record; an unreadable one is ignored, as it will be replaced."""
    try:
        return trip_store.records().find(context.asset_key.to_user_string(), kind)
    except UnreadableRecord as error:
        context.log.warning(f"all months are measured again: {error}")
        return None
