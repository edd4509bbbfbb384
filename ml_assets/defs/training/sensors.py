"""The sensor that retrains when new months are in and their checks pass."""

from datetime import timedelta

import dagster as dg
from pydantic import BaseModel

from ml_assets.defs.automation import reason_tag
from ml_assets.defs.common import INGESTION_POOL, TRAINING_POOL
from ml_assets.defs.cursor import load_cursor, skip
from ml_assets.defs.ingestion.sensors import Clock, utc_now
from ml_assets.defs.operations.run_outcomes import active_run, count_attempts
from ml_assets.defs.operations.run_tags import REQUEST_KEY_TAG
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.ingestion.ingest_plan import RunState, next_retry_at, run_key
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.retraining import (
    NextTraining,
    data_fingerprint,
    last_applied,
    new_data_since,
    next_training,
)
from ml_assets.storage.record_store import UnreadableRecord
from ml_assets.trips.quality import RULES

NAME = "retrain_on_new_months"
RETRAIN_JOB = "retrain"
QUIET_SECONDS = 45
"""So long after the last month came in: a source may publish several, or one several times."""

_MINIMUM_INTERVAL_SECONDS = 30
_FEATURES = dg.AssetKey("trip_features")
_BLOCKING = [
    dg.AssetCheckKey(dg.AssetKey(rule.table), rule.name) for rule in RULES if rule.blocking
]


class RetrainCursor(BaseModel):
    """The sensor's memory: up to which event of ``trip_features`` all is done, and why."""

    storage_id: int = 0
    why: str = ""


def retraining_sensor(now: Clock = utc_now) -> dg.SensorDefinition:
    """The sensor; ``now`` tells the time."""

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
        newest, before = _newest(instance), load_cursor(RetrainCursor, context.cursor)
        if newest is None or newest.storage_id <= before.storage_id:
            known = f": {before.why}" if before.why else ""
            return skip(f"no month has come in since the last look{known}")
        if busy := active_run(instance, INGESTION_POOL, TRAINING_POOL):
            return skip(f"waiting: {busy}")
        if now().timestamp() - newest.timestamp < QUIET_SECONDS:
            return skip(f"a month has just come in: waiting {QUIET_SECONDS} s for more")
        settled = RetrainCursor(storage_id=newest.storage_id)
        try:
            return _decide(instance, trip_store, now, settled)
        except (UnreadableRecord, OSError) as error:
            return skip(str(error))

    return retrain_on_new_months


def _decide(
    instance: dg.DagsterInstance, trip_store: TripStoreResource, now: Clock, settled: RetrainCursor
) -> dg.SensorResult:
    """Request the retraining, or tell why not; ``settled`` when that is for as long as data stay.

    Raises:
        UnreadableRecord: when a decision cannot be read.
    """
    records = trip_store.records()
    ahead = next_training(trip_store.tables())
    if ahead.training_set is None:
        told = f"not enough to train on: {ahead.fault}"
        return _remember(" | ".join(filter(None, (told, ahead.rejection_summary))), settled)
    last = last_applied(DecisionLog(records.home, records.dataset))
    news = new_data_since(ahead.training_set, last)
    if not news:
        judged = ahead.training_set.months_of("judge")[0]
        told = f"months up to {judged} have been trained on as they are"
        return _remember(" | ".join(filter(None, (told, ahead.rejection_summary))), settled)
    if failed := failed_checks(instance, ahead):
        return skip(f"{news}, but {failed}")
    state = data_fingerprint(ahead.training_set, last)
    attempts, outcome = count_attempts(instance, state)
    if outcome.state in (RunState.FAILED, RunState.CANCELLED):
        return _remember(f"{news}, but {outcome}: the next is weekly, or by hand", settled)
    if outcome.at is not None and now() < (due := next_retry_at(attempts, outcome.at)):
        wait = due - now() + timedelta(minutes=1)
        return skip(f"{news}, but {outcome}: next attempt in {wait.total_seconds() // 60:.0f} min")
    tags = {**reason_tag(str(news)), REQUEST_KEY_TAG: state}
    return dg.SensorResult([dg.RunRequest(run_key(state, attempts), tags=tags)])


def failed_checks(instance: dg.DagsterInstance, ahead: NextTraining) -> str | None:
    """Which blocking check forbids training by its latest result; None when none does.

    A check that failed for a month which is left out anyway forbids nothing.
    """
    refused = {str(month) for month in ahead.refused}
    for key in _BLOCKING:
        latest = _latest_result(instance, key)
        if latest is None or latest.passed or latest.severity != dg.AssetCheckSeverity.ERROR:
            continue
        told = latest.metadata.get("failed_months")
        months = {*str(told.value).split(", ")} if told else set()
        if not months & refused:
            name, why = f"{key.name} of {key.asset_key.to_user_string()}", latest.description
            return f"the blocking check {name} failed: {why or 'it does not say why'}"
    return None


def _latest_result(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey
) -> dg.AssetCheckEvaluation | None:
    """The newest result of a check, past runs that ended before they came to it."""
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    results = (record.evaluation for record in history)
    return next((found for found in results if isinstance(found, dg.AssetCheckEvaluation)), None)


def _newest(instance: dg.DagsterInstance) -> dg.EventLogRecord | None:
    records = instance.fetch_materializations(_FEATURES, limit=1).records
    return records[0] if records else None


def _remember(reason: str, settled: RetrainCursor) -> dg.SensorResult:
    """Skip until another month comes in, and say why from then on."""
    return skip(reason, settled.model_copy(update={"why": reason}))
