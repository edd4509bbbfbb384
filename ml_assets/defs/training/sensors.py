"""Sensor that requests a retraining when new months are in and their checks pass."""

from datetime import timedelta

import dagster as dg
from pydantic import BaseModel

from ml_assets.defs.common import (
    INGESTION_POOL,
    TRAINING_POOL,
    latest_materialization,
    load_cursor,
    skip,
)
from ml_assets.defs.operations.run_outcomes import active_run, count_attempts
from ml_assets.defs.operations.run_tags import REQUEST_KEY_TAG, reason_tag
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.ingestion.ingest_plan import RunState, next_retry_at, run_key
from ml_assets.promotion.new_data import (
    NextTraining,
    data_fingerprint,
    last_applied,
    new_data_since,
    next_training,
)
from ml_assets.storage.record_store import UnreadableRecord
from ml_assets.trips.month import Clock, utc_now
from ml_assets.trips.quality.month_rejection import RULES

NAME = "retrain_on_new_months"
RETRAIN_JOB = "retrain"
QUIET_SECONDS = 45
"""Time to wait after the last ingested month: a source may publish several, or one repeatedly."""

_MINIMUM_INTERVAL_SECONDS = 30
_BLOCKING = [
    dg.AssetCheckKey(dg.AssetKey(rule.table), rule.name) for rule in RULES if rule.blocking
]


class RetrainCursor(BaseModel):
    """The sensor's cursor.

    Attributes:
        storage_id: Storage id of the newest ``trip_features`` event that was fully handled.
        why: Why no retraining followed.
    """

    storage_id: int = 0
    why: str = ""


def retraining_sensor(now: Clock = utc_now) -> dg.SensorDefinition:
    """Build the sensor."""

    @dg.sensor(
        name=NAME,
        job_name=RETRAIN_JOB,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Retrain once when new or republished months are in and their checks pass.",
    )
    def retrain_on_new_months(
        context: dg.SensorEvaluationContext, trip_store: TripStoreResource
    ) -> dg.SensorResult:
        instance = context.instance
        newest = latest_materialization(instance, "trip_features")
        before = load_cursor(RetrainCursor, context.cursor)
        if newest is None or newest.storage_id <= before.storage_id:
            why = f": {before.why}" if before.why else ""
            return skip(f"no new month{why}")
        if busy := active_run(instance, INGESTION_POOL, TRAINING_POOL):
            return skip(f"waiting: {busy}")
        if now().timestamp() - newest.timestamp < QUIET_SECONDS:
            return skip(f"a month was just ingested: waiting {QUIET_SECONDS} s for more")
        handled = RetrainCursor(storage_id=newest.storage_id)
        try:
            return _request_or_skip(instance, trip_store, now, handled)
        except (UnreadableRecord, OSError) as error:
            return skip(str(error))

    return retrain_on_new_months


def _request_or_skip(
    instance: dg.DagsterInstance, trip_store: TripStoreResource, now: Clock, handled: RetrainCursor
) -> dg.SensorResult:
    """Request the retraining, or skip with the reason.

    The cursor moves to ``handled`` when only new data can change the decision.

    Raises:
        UnreadableRecord: A decision cannot be read.
    """
    planned = next_training(trip_store.tables())
    if planned.training_set is None:
        reason = f"not enough months to train on: {planned.fault}"
        return _skip_until_new(handled, reason, planned.rejection_summary)
    last = last_applied(trip_store.decisions())
    new_data = new_data_since(planned.training_set, last)
    if not new_data:
        newest = planned.training_set.months_in("test")[0]
        reason = f"the months up to {newest} have been trained on"
        return _skip_until_new(handled, reason, planned.rejection_summary)
    if failed := failed_checks(instance, planned):
        return skip(f"{new_data}, but {failed}")
    key = data_fingerprint(planned.training_set, last)
    attempts, outcome = count_attempts(instance, key)
    if outcome.state in (RunState.FAILED, RunState.CANCELLED):
        reason = f"{new_data}, but {outcome}: next by the weekly schedule or manually"
        return _skip_until_new(handled, reason)
    if outcome.at is not None and now() < (due := next_retry_at(attempts, outcome.at)):
        wait = due - now() + timedelta(minutes=1)
        minutes = wait.total_seconds() // 60
        return skip(f"{new_data}, but {outcome}: next attempt in {minutes:.0f} min")
    tags = {**reason_tag(str(new_data)), REQUEST_KEY_TAG: key}
    return dg.SensorResult([dg.RunRequest(run_key(key, attempts), tags=tags)])


def failed_checks(instance: dg.DagsterInstance, planned: NextTraining) -> str | None:
    """Return which blocking check prevents training by its latest result, if any.

    A check that failed only for months that the training skips does not prevent it.
    """
    rejected = {str(month) for month in planned.rejected}
    for key in _BLOCKING:
        latest = _latest_result(instance, key)
        if latest is None or latest.passed or latest.severity != dg.AssetCheckSeverity.ERROR:
            continue
        failed = latest.metadata.get("failed_months")
        months = {*str(failed.value).split(", ")} if failed else set()
        if not months & rejected:
            name, why = f"{key.name} of {key.asset_key.to_user_string()}", latest.description
            return f"the blocking check {name} failed: {why or 'no reason given'}"
    return None


def _latest_result(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey
) -> dg.AssetCheckEvaluation | None:
    """Return the newest result of a check, ignoring runs that ended before it."""
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    results = (record.evaluation for record in history)
    return next((found for found in results if isinstance(found, dg.AssetCheckEvaluation)), None)


def _skip_until_new(handled: RetrainCursor, *reasons: str | None) -> dg.SensorResult:
    """Skip until another month comes in; the cursor keeps the reasons."""
    reason = " | ".join(filter(None, reasons))
    return skip(reason, handled.model_copy(update={"why": reason}))
