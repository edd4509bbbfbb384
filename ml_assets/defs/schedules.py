"""Schedules in New York time: monthly ingestion and monitoring, weekly retraining, daily metrics.

A schedule skips when nothing has changed.
"""

from collections.abc import Callable

import dagster as dg

from ml_assets.config.settings import Settings
from ml_assets.defs.common import (
    INGESTION_POOL,
    TIMEZONE,
    TRAINING_POOL,
    check_crons,
    latest_storage_id,
)
from ml_assets.defs.ingestion.sensors import (
    INGEST_JOB,
    find_pending_months,
    months_until,
    near_miss_note,
    run_request,
)
from ml_assets.defs.operations.run_outcomes import active_run
from ml_assets.defs.operations.run_tags import reason_tag
from ml_assets.defs.resources.trips import RequestLogResource, TripSourceResource, TripStoreResource
from ml_assets.defs.training.sensors import RETRAIN_JOB
from ml_assets.ingestion.ingest_plan import IngestCursor, RunOutcome, RunState, plan_runs
from ml_assets.ingestion.source import InvalidSource, SourceUnavailable
from ml_assets.monitoring.online.records import OnlineRecord
from ml_assets.promotion.new_data import last_applied, new_data_since, next_training
from ml_assets.serving.request_log.files import last_written
from ml_assets.storage.record_store import UnreadableRecord
from ml_assets.trips.month import Clock, new_york_date, utc_now

MONITOR_JOB = "run_monitoring"
_INPUTS = ("trip_features", "champion_model")
_MEASUREMENTS = ("feature_drift", "prediction_performance")
_ONLINE = dg.AssetKey("request_log_metrics")
SUMMARY_CRON = "30 5 * * *"
"""After midnight UTC, since the request log has UTC days."""

Tick = list[dg.RunRequest] | dg.SkipReason


def project_schedules(settings: Settings, now: Clock = utc_now) -> list[dg.ScheduleDefinition]:
    """Return the schedules that the settings do not switch off.

    Raises:
        SettingsError: A cron expression is invalid or never matches.
    """
    check_crons(settings)
    made = (
        (settings.ingest_cron, _ingest_schedule),
        (settings.monitor_cron, _monitor_schedule),
        (settings.retrain_cron, _retrain_schedule),
        (SUMMARY_CRON, _summary_schedule),
    )
    return [make(cron, settings, now) for cron, make in made if cron is not None]


def _scheduled(
    name: str, job: str, cron: str, description: str
) -> Callable[[Callable[..., Tick]], dg.ScheduleDefinition]:
    return dg.schedule(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )


def _ingest_schedule(cron: str, settings: Settings, now: Clock) -> dg.ScheduleDefinition:
    @_scheduled(
        "ingest_monthly",
        INGEST_JOB,
        cron,
        "Ingest every published month that is not stored in this version, including those that "
        "ingest_new_months has given up.",
    )
    def ingest_monthly(
        context: dg.ScheduleEvaluationContext,
        trip_source: TripSourceResource,
        trip_store: TripStoreResource,
    ) -> Tick:
        if busy := active_run(context.instance, INGESTION_POOL):
            return dg.SkipReason(f"months are being ingested: {busy}")
        months = months_until(settings, new_york_date(now()))
        try:
            just_out = str(months[-1].shift(-1))
            pending = find_pending_months(trip_source, trip_store.tables(), months, just_out)
        except (SourceUnavailable, InvalidSource, OSError) as error:
            return dg.SkipReason(str(error))
        # An empty cursor requests failed months again.
        plan = plan_runs(pending, IngestCursor(), lambda _: RunOutcome(RunState.UNKNOWN), now())
        if not plan.requests:
            missed = near_miss_note(trip_source, trip_store.tables(), months)
            return dg.SkipReason(f"every published month is stored{missed}")
        tick = f"{context.scheduled_execution_time:%Y-%m-%d %H:%M}"
        return [run_request(each, f"{each.run_key} at {tick}") for each in plan.requests]

    return ingest_monthly


def _monitor_schedule(cron: str, settings: Settings, now: Clock) -> dg.ScheduleDefinition:
    @_scheduled(
        "monitor_monthly",
        MONITOR_JOB,
        cron,
        "Measure drift and the champion's error when there is a new month or champion.",
    )
    def monitor_monthly(context: dg.ScheduleEvaluationContext) -> Tick:
        instance = context.instance
        inputs = {name: latest_storage_id(instance, name) for name in _INPUTS}
        if missing := [name for name, newest in inputs.items() if not newest]:
            return dg.SkipReason(f"nothing to measure yet: no {' and no '.join(missing)}")
        if min(latest_storage_id(instance, name) for name in _MEASUREMENTS) > max(inputs.values()):
            return dg.SkipReason("no month and no champion is newer than the last measurement")
        if busy := active_run(instance, INGESTION_POOL, TRAINING_POOL):
            return dg.SkipReason(f"months or the champion may change: {busy}")
        return [dg.RunRequest(tags=reason_tag("monthly monitoring"))]

    return monitor_monthly


def _retrain_schedule(cron: str, settings: Settings, now: Clock) -> dg.ScheduleDefinition:
    @_scheduled(
        "retrain_weekly",
        RETRAIN_JOB,
        cron,
        "Retrain when months, their contents or the code differ from the last training.",
    )
    def retrain_weekly(
        context: dg.ScheduleEvaluationContext, trip_store: TripStoreResource
    ) -> Tick:
        if busy := active_run(context.instance, INGESTION_POOL, TRAINING_POOL):
            return dg.SkipReason(f"another run is in progress: {busy}")
        planned = next_training(trip_store.tables())
        if planned.training_set is None:
            return dg.SkipReason(f"not enough months to train on: {planned.fault}")
        try:
            last = last_applied(trip_store.decisions())
        except (UnreadableRecord, OSError) as error:
            return dg.SkipReason(str(error))
        if last is not None and last.training_set == planned.training_set.fingerprint:
            return dg.SkipReason("months and code are those of the last training")
        new_data = new_data_since(planned.training_set, last)
        changed = str(new_data) if new_data else "the code, or older months, changed"
        return [dg.RunRequest(tags=reason_tag(f"weekly retraining ({changed})"))]

    return retrain_weekly


def _summary_schedule(cron: str, settings: Settings, now: Clock) -> dg.ScheduleDefinition:
    @_scheduled(
        "summarize_requests_daily",
        MONITOR_JOB,
        cron,
        "Compute the metrics of the request log when it has new entries.",
    )
    def summarize_requests_daily(
        context: dg.ScheduleEvaluationContext,
        request_log: RequestLogResource,
        trip_store: TripStoreResource,
    ) -> Tick:
        written = last_written(request_log.folder)
        if written is None:
            return dg.SkipReason("no prediction has been served yet")
        try:
            record = trip_store.records().find(_ONLINE.to_user_string(), OnlineRecord)
        except UnreadableRecord:
            record = None  # measured again
        if record is not None and record.log_written is not None and record.log_written >= written:
            return dg.SkipReason("no prediction was served since the last measurement")
        served = reason_tag("the request log has new entries")
        return [dg.RunRequest(asset_selection=[_ONLINE], tags=served)]

    return summarize_requests_daily
