"""Assets that monitor the champion: feature drift, and its error on newer months.

When there is nothing to measure (no champion, one of another dataset, one that no longer predicts),
the record's status says so and the run succeeds.
"""

from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import dagster as dg

from ml_assets.backtesting.records import CHAMPION, BacktestRecord
from ml_assets.defs.backtesting.assets import last_backtest
from ml_assets.defs.check_results import record_check
from ml_assets.defs.common import CHAMPION_MODEL, MONITORING, OWNERS, dataset_label
from ml_assets.defs.metadata import figure, image, materialized, table
from ml_assets.defs.operations.run_tags import reason_tag
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.monitoring import MEASURED, Status
from ml_assets.monitoring.drift.measure import measure_drift
from ml_assets.monitoring.drift.records import DriftRecord, drift_finding, drift_summary
from ml_assets.monitoring.online.records import OnlineRecord
from ml_assets.monitoring.online.request_mix import RequestMix, configured_share, request_mix
from ml_assets.monitoring.performance.records import (
    KeptErrors,
    PerformanceRecord,
    noise_tolerance,
    performance_finding,
    performance_summary,
    scores_from_decisions,
)
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.record_store import Record, UnreadableRecord
from ml_assets.training.training_set import rejected_months
from ml_assets.training.windows import span
from ml_assets.trips.month import Month

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


MONITORING_SENSOR = "monitoring_automation"


def monitoring_sensor() -> dg.AutomationConditionSensorDefinition:
    """Build the sensor that evaluates :func:`on_months_or_champion_changed`."""
    return dg.AutomationConditionSensorDefinition(
        name=MONITORING_SENSOR,
        target=dg.AssetSelection.groups(MONITORING),
        run_tags=reason_tag("months or the champion changed"),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Measure drift and the champion's error when months or the champion changed "
        "and no run on them is in progress, and profile months that were ingested without.",
    )


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
    store, records = trip_store.tables(), trip_store.records()
    earlier = _previous_record(context, trip_store, DriftRecord)
    blank = DriftRecord(dataset=store.dataset, synthetic=store.synthetic)
    champion, status, why = monitored_champion(tracking, store.dataset)
    if champion is None:
        record = _unmeasured(earlier or blank, status, why)
    else:
        rejected = rejected_months(store, store.months("trip_features"))
        record = measure_drift(store, champion, earlier, rejected=rejected)
    records.write("feature_drift", record)
    context.log.info(drift_summary(record))
    return materialized(context, lambda: _drift_metadata(record))


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
    from ml_assets.registry.loading import load_verified

    store, records = trip_store.tables(), trip_store.records()
    earlier = _previous_record(context, trip_store, PerformanceRecord) or PerformanceRecord(
        dataset=store.dataset, synthetic=store.synthetic
    )
    decisions = _decisions(context, trip_store)
    known = earlier.add_missing(scores_from_decisions(decisions))
    champion, status, why = monitored_champion(tracking, store.dataset)
    if champion is None:
        record = _unmeasured(known, status, why)
    else:
        share = configured_share(decisions, champion.version)
        mix = logged_request_mix(context, trip_store, share)
        context.log.info(f"{mix} ({mix.source})")
        backtest = last_backtest(context, trip_store)
        allowance = _allowance(champion, backtest, mix.share_stated)
        load = partial(load_verified, tracking.registered_model, champion)
        try:
            rejected = rejected_months(store, store.months("trip_features"))
            record = measure_performance(
                store,
                champion,
                load,
                known,
                allowance,
                mix.share_stated,
                rejected,
                KeptErrors(records),
            )
        except ScoringFailed as error:
            context.log.warning(str(error))
            record = _unmeasured(known, "scoring_failed", str(error), champion)
    records.write("prediction_performance", record)
    context.log.info(performance_summary(record))
    return materialized(context, lambda: _performance_metadata(record))


def monitored_champion(
    tracking: MlflowTracking, dataset: str
) -> tuple[ModelVersion | None, Status, str]:
    """Return the champion of this dataset, or None with the status and the reason."""
    champion, why = tracking.champion()
    if champion is None:
        return None, "no_champion", why
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


def _decisions(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource
) -> list[ChampionDecision]:
    """Return the decisions, oldest first; none, with a warning, if the log is damaged."""
    try:
        return trip_store.decisions().all()
    except UnreadableRecord as error:
        context.log.warning(
            f"scores of earlier decisions and a configured share_stated are skipped: {error}"
        )
        return []


def logged_request_mix(
    context: dg.AssetExecutionContext,
    trip_store: TripStoreResource,
    configured: float | None = None,
) -> RequestMix:
    """Return the share of requests that state a distance, by the last metrics of the request log.

    Args:
        configured: A share that replaces the measured one, 0 to 1: of the config of a promotion,
            or of the one that decided on the monitored champion.
    """
    otherwise = "the default share of requests states a distance"
    log = trip_store.find_record("request_log_metrics", OnlineRecord, context.log, otherwise)
    return request_mix(log, configured)


def _allowance(
    champion: ModelVersion, made: BacktestRecord | None, share_stated: float
) -> float | None:
    """Return the noise tolerance from the backtest; None if that was of another family."""
    if made is None or made.champion != champion.model:
        return None
    noise = made.weighted(share_stated).relative_error_noise
    return noise_tolerance(noise, len(made.series(CHAMPION)))


def _previous_record(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource, kind: type[Record]
) -> Record | None:
    """Return the previous record; an unreadable one is ignored, as it will be replaced."""
    asset, otherwise = context.asset_key.to_user_string(), "all months are measured again"
    return trip_store.find_record(asset, kind, context.log, otherwise)


_MAX_ROWS = 60


def _drift_metadata(record: DriftRecord) -> dict[str, dg.MetadataValue]:
    """Return the figures of the newest month, the table of months, and the chart."""
    metadata = _common_metadata(record, drift_summary(record))
    if record.status != MEASURED or not record.months:
        return metadata
    from ml_assets.reporting import monthly_charts

    newest = record.months[-1]
    feature, index = newest.worst
    metadata |= {
        "reference": dg.MetadataValue.text(span([Month.parse(text) for text in record.reference])),
        "reference_trips": dg.MetadataValue.int(record.reference_trips),
        "limit": figure(record.limit),
        "newest_month": dg.MetadataValue.text(newest.month),
        "worst_feature": dg.MetadataValue.text(feature),
        "worst_index": figure(index),
        **{
            f"psi/{name}": figure(value)
            for name, value in (newest.psi | newest.outcome_psi).items()
        },
        "months": table(
            [
                {
                    "month": entry.month,
                    "worst": entry.worst[0],
                    **entry.psi,
                    **entry.outcome_psi,
                    "trips": entry.trips,
                    "training_month": "yes" if entry.in_reference else "",
                }
                for entry in reversed(record.months)
            ]
        ),
    }
    return metadata | _chart(
        monthly_charts.drift_lines(record), "stability index of every feature by month"
    )


def _performance_metadata(record: PerformanceRecord) -> dict[str, dg.MetadataValue]:
    """Return the figures of the newest unseen month, the table of scores, and the chart."""
    from ml_assets.reporting import monthly_charts

    metadata = _common_metadata(record, performance_summary(record))
    if record.status == MEASURED:
        metadata |= _champion_metadata(record)
    if record.scores:
        rows = [
            score.model_dump(exclude={"raw_sha256", "run_id"}) for score in reversed(record.scores)
        ]
        metadata["scores"] = table(rows[:_MAX_ROWS])
    return metadata | _chart(
        monthly_charts.error_lines(record), "relative error of each champion by month"
    )


_OPTIONAL_FIGURES = (
    "rmse_usual", "mae_usual", "relative_error_usual", "coverage", "coverage_usual",
)  # fmt: skip


def _champion_metadata(record: PerformanceRecord) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {}
    reference, limit = record.references.get(record.champion), record.limit_of(record.champion)
    error = record.reference_error(record.champion)
    if reference is not None and limit is not None and error is not None:
        metadata["reference_month"] = dg.MetadataValue.text(reference.month)
        metadata["reference_relative_error"] = figure(error)
        metadata["limit"] = figure(limit)
        metadata["share_stated"] = figure(record.share_of(record.champion))
    unseen = [score for score in record.scores_of(record.champion) if not score.seen]
    if unseen:
        newest = unseen[-1]
        metadata |= {
            "newest_month": dg.MetadataValue.text(newest.month),
            "rmse": figure(newest.rmse),
            "mae": figure(newest.mae),
            "relative_error": figure(newest.relative_error),
            "request_relative_error": figure(record.error_of(newest)),
            **{
                name: figure(value)
                for name in _OPTIONAL_FIGURES
                if (value := getattr(newest, name)) is not None
            },
            "trips_scored": dg.MetadataValue.int(newest.trips),
        }
    return metadata


def _common_metadata(
    record: DriftRecord | PerformanceRecord, summary: str
) -> dict[str, dg.MetadataValue]:
    trips = dataset_label(record.dataset, synthetic=record.synthetic)
    metadata: dict[str, dg.MetadataValue] = {
        "status": dg.MetadataValue.text(record.status.replace("_", " ")),
        "finding": dg.MetadataValue.text(summary),
        "trips": dg.MetadataValue.text(trips),
    }
    if record.version is not None:
        champion = f"{record.model}, version {record.version}"
        metadata["champion"] = dg.MetadataValue.text(champion)
    if record.skipped:
        rows = [{"month": month, "why": why} for month, why in record.skipped.items()]
        metadata["skipped"] = table(rows)
    return metadata


def _chart(chart: bytes | None, alt_text: str) -> dict[str, dg.MetadataValue]:
    return {} if chart is None else {"chart": image(chart, alt_text)}


drift_check = record_check(
    "feature_drift",
    "feature_drift_within_limit",
    DriftRecord,
    drift_finding,
    "No request feature of the newest month has drifted beyond the limit from the champion's "
    "training months.",
)
performance_check = record_check(
    "prediction_performance",
    "error_within_limit",
    PerformanceRecord,
    performance_finding,
    "The champion's error on its newest unseen month is within the limit that its test error sets.",
)
