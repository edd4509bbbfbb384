"""Sensors that retrain when drift or decay is over its limit for more than one bad month."""

from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from pydantic import BaseModel

from ml_assets.defs.automation import reason_tag
from ml_assets.defs.common import CHAMPION_MODEL, INGESTION_POOL, TRAINING_POOL
from ml_assets.defs.cursor import latest_storage_id, load_cursor, skip
from ml_assets.defs.ingestion.sensors import Clock, utc_now
from ml_assets.defs.operations.run_outcomes import active_run, count_attempts
from ml_assets.defs.operations.run_tags import (
    REQUEST_KEY_TAG,
    TRIGGER_MONTH_TAG,
    TRIGGER_TAG,
    runs_with_tag,
    tag_value,
)
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.defs.training.sensors import RETRAIN_JOB
from ml_assets.ingestion.ingest_plan import RunState, next_retry_at, run_key
from ml_assets.monitoring.drift.records import DriftRecord
from ml_assets.monitoring.performance.records import PerformanceRecord
from ml_assets.monitoring.retrain_rule import MIN_BREACHES, WINDOWS, Retrained, judge
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.retraining import last_applied, next_training
from ml_assets.storage.record_store import UnreadableRecord
from ml_assets.trips.month import Month

_MINIMUM_INTERVAL_SECONDS = 30


@dataclass(frozen=True)
class Measure:
    """A measure with a sensor of its own: ``drift`` or ``decay``."""

    name: str
    asset: str
    record: type[DriftRecord] | type[PerformanceRecord]
    of_what: str
    sensor_name: str


MEASURES = (
    Measure(
        "drift",
        "feature_drift",
        DriftRecord,
        "drift from what the champion was fitted on",
        "retrain_on_drift",
    ),
    Measure(
        "decay",
        "prediction_performance",
        PerformanceRecord,
        "the champion's error",
        "retrain_on_performance_decay",
    ),
)


class DegradationCursor(BaseModel):
    """A sensor's memory: the newest measurement that nothing is left to do about."""

    storage_id: int = 0


def degradation_sensors(now: Clock = utc_now) -> list[dg.SensorDefinition]:
    """``retrain_on_drift`` and ``retrain_on_performance_decay``; ``now`` tells the time."""
    return [_sensor(measure, now) for measure in MEASURES]


def _sensor(measure: Measure, now: Clock) -> dg.SensorDefinition:
    @dg.sensor(
        name=measure.sensor_name,
        job_name=RETRAIN_JOB,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Retrain when {measure.of_what} is over its limit in the newest month and in "
        f"{MIN_BREACHES} of the last {WINDOWS}.",
    )
    def retrain_on_degradation(
        context: dg.SensorEvaluationContext, trip_store: TripStoreResource
    ) -> dg.SensorResult:
        instance, asset = context.instance, dg.AssetKey(measure.asset)
        measured = latest_storage_id(instance, asset)
        if measured <= load_cursor(DegradationCursor, context.cursor).storage_id:
            return skip(f"{measure.asset} was not measured since the last look")
        if measured < latest_storage_id(instance, CHAMPION_MODEL):
            return skip(f"waiting: {measure.asset} was measured before the newest decision")
        if busy := active_run(instance, INGESTION_POOL, TRAINING_POOL):
            return skip(f"waiting: {busy}")
        looked = DegradationCursor(storage_id=measured)
        try:
            return _decide(instance, trip_store, measure, now(), looked)
        except (UnreadableRecord, OSError) as error:
            return skip(str(error))

    return retrain_on_degradation


def _decide(
    instance: dg.DagsterInstance,
    trip_store: TripStoreResource,
    measure: Measure,
    now: datetime,
    looked: DegradationCursor,
) -> dg.SensorResult:
    """Request the retraining, or tell why not; ``looked`` when that is until the next measurement.

    Raises:
        UnreadableRecord: when a record or a decision cannot be read.
    """
    record = trip_store.records().find(measure.asset, measure.record)
    if record is None:
        return skip(f"{measure.asset} has no record of these trips", looked)
    windows = record.windows
    if not windows:
        return skip(record.why or "no month has come in that the champion does not know", looked)
    latest = max(window.month for window in windows)
    wanted = f"{measure.name} up to {latest} of version {record.version}"
    attempts, outcome = count_attempts(instance, wanted)
    if outcome.state == RunState.TRANSIENT_FAILURE and outcome.at is not None:
        still = judge(windows, None, now)  # months may have been published anew meanwhile
        if not still.retrain:
            return skip(still.sentence, looked)
        if now < (due := next_retry_at(attempts, outcome.at)):
            return skip(f"{wanted}: {outcome}; next attempt at {due:%Y-%m-%d %H:%M %Z}")
    else:
        verdict = judge(windows, _last_asked_for(instance), now)
        if not verdict.retrain:
            return skip(verdict.sentence, None if verdict.passing else looked)
    if known := _nothing_to_learn(trip_store):
        return skip(f"{wanted} is over its limit, but {known}", looked)
    reason = judge(windows, None, now).sentence
    tags = {
        **reason_tag(f"{measure.name}: {reason}"),
        REQUEST_KEY_TAG: wanted,
        TRIGGER_TAG: measure.name,
        TRIGGER_MONTH_TAG: str(latest),
    }
    return dg.SensorResult([dg.RunRequest(run_key(wanted, attempts), tags=tags)])


def _last_asked_for(instance: dg.DagsterInstance) -> Retrained | None:
    """The newest retraining that either measure asked for, whatever became of it."""
    either = [measure.name for measure in MEASURES]
    records = runs_with_tag(instance, TRIGGER_TAG, either, limit=1)
    if not records:
        return None
    at = records[0].create_timestamp.replace(tzinfo=UTC)
    return Retrained(
        at, Month.parse(tag_value(records[0].dagster_run.tags, TRIGGER_MONTH_TAG) or "")
    )


def _nothing_to_learn(trip_store: TripStoreResource) -> str | None:
    """Why another training would not change a thing; None when it may.

    Raises:
        UnreadableRecord: when a decision cannot be read.
    """
    ahead, records = next_training(trip_store.tables()), trip_store.records()
    if ahead.training_set is None:
        return f"there is not enough to train on: {ahead.fault}"
    last = last_applied(DecisionLog(records.home, records.dataset))
    if last is None or last.training_set != ahead.training_set.fingerprint:
        return None
    told = "months and code are those of the last training"
    return " | ".join(filter(None, (told, ahead.rejection_summary)))
