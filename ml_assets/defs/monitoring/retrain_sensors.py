"""Sensors that request a retraining when drift or decay is over its limit."""

from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from pydantic import BaseModel

from ml_assets.defs.common import (
    CHAMPION_MODEL,
    INGESTION_POOL,
    TRAINING_POOL,
    latest_storage_id,
    load_cursor,
    skip,
)
from ml_assets.defs.operations.run_outcomes import active_run, count_attempts
from ml_assets.defs.operations.run_tags import (
    REQUEST_KEY_TAG,
    TRIGGER_MONTH_TAG,
    TRIGGER_TAG,
    reason_tag,
    runs_with_tag,
    tag_value,
)
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.defs.training.sensors import RETRAIN_JOB
from ml_assets.ingestion.ingest_plan import RunState, next_retry_at, run_key
from ml_assets.monitoring.drift.records import DriftRecord
from ml_assets.monitoring.performance.records import PerformanceRecord
from ml_assets.monitoring.retrain_rule import MIN_BREACHES, RECENT_MONTHS, LastRetraining, decide
from ml_assets.promotion.new_data import last_applied, next_training
from ml_assets.storage.record_store import UnreadableRecord
from ml_assets.trips.month import Clock, Month, utc_now

_MINIMUM_INTERVAL_SECONDS = 30


@dataclass(frozen=True)
class Measure:
    """A monitored measure and its sensor.

    Attributes:
        name: ``drift`` or ``decay``.
        what: What is measured, for the sensor's description.
    """

    name: str
    asset: str
    record: type[DriftRecord] | type[PerformanceRecord]
    what: str
    sensor_name: str


MEASURES = (
    Measure(
        "drift",
        "feature_drift",
        DriftRecord,
        "drift from the champion's training months",
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
    """A sensor's cursor.

    Attributes:
        storage_id: Storage id of the newest measurement that was fully handled.
    """

    storage_id: int = 0


def degradation_sensors(now: Clock = utc_now) -> list[dg.SensorDefinition]:
    """Return the sensors ``retrain_on_drift`` and ``retrain_on_performance_decay``."""
    return [_sensor(measure, now) for measure in MEASURES]


def _sensor(measure: Measure, now: Clock) -> dg.SensorDefinition:
    @dg.sensor(
        name=measure.sensor_name,
        job_name=RETRAIN_JOB,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Retrain when {measure.what} is over its limit in the newest month and in "
        f"{MIN_BREACHES} of the last {RECENT_MONTHS}.",
    )
    def retrain_on_degradation(
        context: dg.SensorEvaluationContext, trip_store: TripStoreResource
    ) -> dg.SensorResult:
        instance, asset = context.instance, dg.AssetKey(measure.asset)
        measured = latest_storage_id(instance, asset)
        if measured <= load_cursor(DegradationCursor, context.cursor).storage_id:
            return skip(f"no new measurement of {measure.asset}")
        if measured < latest_storage_id(instance, CHAMPION_MODEL):
            return skip(f"waiting: {measure.asset} was measured before the newest decision")
        if busy := active_run(instance, INGESTION_POOL, TRAINING_POOL):
            return skip(f"waiting: {busy}")
        handled = DegradationCursor(storage_id=measured)
        try:
            return _request_or_skip(instance, trip_store, measure, now(), handled)
        except (UnreadableRecord, OSError) as error:
            return skip(str(error))

    return retrain_on_degradation


def _request_or_skip(
    instance: dg.DagsterInstance,
    trip_store: TripStoreResource,
    measure: Measure,
    now: datetime,
    handled: DegradationCursor,
) -> dg.SensorResult:
    """Request the retraining, or skip with the reason.

    The cursor moves to ``handled`` when only a new measurement can change the decision.

    Raises:
        UnreadableRecord: A record or a decision cannot be read.
    """
    record = trip_store.records().find(measure.asset, measure.record)
    if record is None:
        return skip(f"{measure.asset} has no record of this dataset", handled)
    values = record.monthly_values
    if not values:
        return skip(record.why or "no month is newer than the champion's training months", handled)
    latest = max(value.month for value in values)
    key = f"{measure.name} up to {latest} of version {record.version}"
    attempts, outcome = count_attempts(instance, key)
    if outcome.state == RunState.TRANSIENT_FAILURE and outcome.at is not None:
        decision = decide(values, None, now)  # months may have been republished meanwhile
        if not decision.retrain:
            return skip(decision.reason, handled)
        if now < (due := next_retry_at(attempts, outcome.at)):
            return skip(f"{key}: {outcome}; next attempt at {due:%Y-%m-%d %H:%M %Z}")
    else:
        decision = decide(values, _last_requested(instance), now)
        if not decision.retrain:
            return skip(decision.reason, None if decision.retry_later else handled)
    if unchanged := _nothing_new(trip_store):
        return skip(f"{key} is over its limit, but {unchanged}", handled)
    tags = {
        **reason_tag(f"{measure.name}: {decision.reason}"),
        REQUEST_KEY_TAG: key,
        TRIGGER_TAG: measure.name,
        TRIGGER_MONTH_TAG: str(latest),
    }
    return dg.SensorResult([dg.RunRequest(run_key(key, attempts), tags=tags)])


def _last_requested(instance: dg.DagsterInstance) -> LastRetraining | None:
    """Return the newest retraining requested for either measure, whatever its outcome."""
    either = [measure.name for measure in MEASURES]
    records = runs_with_tag(instance, TRIGGER_TAG, either, limit=1)
    if not records:
        return None
    at = records[0].create_timestamp.replace(tzinfo=UTC)
    return LastRetraining(
        at, Month.parse(tag_value(records[0].dagster_run.tags, TRIGGER_MONTH_TAG) or "")
    )


def _nothing_new(trip_store: TripStoreResource) -> str | None:
    """Return why another training would give the same result; None when it may not.

    Raises:
        UnreadableRecord: A decision cannot be read.
    """
    planned = next_training(trip_store.tables())
    if planned.training_set is None:
        return f"there are not enough months to train on: {planned.fault}"
    last = last_applied(trip_store.decisions())
    if last is None or last.training_set != planned.training_set.fingerprint:
        return None
    unchanged = "months and code are those of the last training"
    return " | ".join(filter(None, (unchanged, planned.rejection_summary)))
