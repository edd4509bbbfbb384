"""Sensors that tell people of runs: each that failed, and, if they want to know, that succeeded."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.events import JobFailureData

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.notifier import Notifier
from ml_assets.alerts.run_messages import (
    EndedRun,
    FailedCheck,
    check_failed,
    run_failed,
    run_succeeded,
)
from ml_assets.defs.automation import run_reason_of

FAILED_RUNS, SUCCEEDED_RUNS = "alert_on_failed_runs", "alert_on_succeeded_runs"
WILL_RETRY_TAG = "dagster/will_retry"
_MINIMUM_INTERVAL_SECONDS = 30
_RUNS_LOOKED_AT = 20
"""They are listed by when they began, and the one that ended last need not have begun last."""
_CHECK_FAILED = "DagsterAssetCheckFailedError"
"""What Dagster lets a step fail with when a blocking check of it does."""


def failed_runs_sensor(teller: Notifier, description: str) -> dg.SensorDefinition:
    """Tell of each run that failed, by a step, a blocking check or without a word."""

    @dg.run_failure_sensor(
        name=FAILED_RUNS,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def alert_on_failed_runs(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        if run.tags.get(WILL_RETRY_TAG) == "true":
            return dg.SkipReason(f"run {run.run_id} is started again by itself")
        ended = _ended(context.instance, run)
        telling = replace(teller, logger=context.log)
        if ended.last_success is not None:
            telling.succeeded(run.job_name, ended.last_success)
        told = telling.send_deduplicated(failure_alert(context, ended, teller.settings.ui_url))
        # Dagster notes in the run's log that a sensor acted on it, unless that is skipped.
        return None if told.by else dg.SkipReason(f"run {run.run_id}: {told}")

    return alert_on_failed_runs


def succeeded_runs_sensor(teller: Notifier) -> dg.SensorDefinition:
    """Tell of each run that succeeded."""

    @dg.run_status_sensor(
        name=SUCCEEDED_RUNS,
        run_status=dg.DagsterRunStatus.SUCCESS,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tell of each run that succeeded (ML_ASSETS_ALERT_ON_SUCCESS).",
    )
    def alert_on_succeeded_runs(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        ended = _ended(context.instance, run)
        telling = replace(teller, logger=context.log)
        recovered = bool(telling.succeeded(run.job_name, ended.at))
        because, ui_url = run_reason_of(run.tags), teller.settings.ui_url
        told = telling.tell(run_succeeded(ended, ui_url, because, recovered=recovered))
        return None if told.by else dg.SkipReason(f"run {run.run_id}: {told}")

    return alert_on_succeeded_runs


def failure_alert(context: dg.RunFailureSensorContext, run: EndedRun, ui_url: str) -> Alert:
    """What to tell of a run that failed; of blocking checks if nothing else did."""
    failures = context.get_step_failure_events()
    faults = [(event.step_key or "", _root(event.step_failure_data.error)) for event in failures]
    checks = _failed_checks(context.instance, run.run_id)
    broken = [(step, cause(error)) for step, error in faults if not _is_of_a_check(error)]
    if checks and not broken:
        return check_failed(run, ui_url, checks)
    broken += [("a blocking check", str(check)) for check in checks]
    if not broken:
        event = context.failure_event
        # A run that was marked as failed from outside has a message only.
        data = event.event_specific_data
        error = data.error if isinstance(data, JobFailureData) else None
        broken = [("", cause(_root(error)) or event.message or "")]
    return run_failed(run, ui_url, broken)


def cause(error: Any) -> str:
    """The first line of what went wrong, in its own words; empty for None."""
    if error is None:
        return ""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    # Classes of this project and Dagster's own are no words for people.
    return re.sub(r"^(ml_assets|dagster)\.[\w.]+: ", "", first)


def _root(error: Any) -> Any:
    """What Dagster's frames were put around; ``SerializableErrorInfo`` or None."""
    while error is not None and error.cause and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return error


def _is_of_a_check(error: Any) -> bool:
    return error is not None and error.cls_name == _CHECK_FAILED


def _failed_checks(instance: dg.DagsterInstance, run_id: str) -> Sequence[FailedCheck]:
    records = instance.get_records_for_run(
        run_id=run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ).records
    events = [record.event_log_entry.dagster_event for record in records]
    found = [event.asset_check_evaluation_data for event in events if event is not None]
    return [
        FailedCheck(check.asset_key.to_user_string(), check.check_name, check.description or "")
        for check in found
        if check.blocking and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
    ]


def _ended(instance: dg.DagsterInstance, run: dg.DagsterRun) -> EndedRun:
    record = instance.get_run_record_by_id(run.run_id)
    ended = record.end_time if record else None
    at = datetime.now(UTC) if ended is None else datetime.fromtimestamp(ended, UTC)
    return EndedRun(run.run_id, run.job_name, at, _last_success(instance, run, at))


def _last_success(
    instance: dg.DagsterInstance, run: dg.DagsterRun, before: datetime
) -> datetime | None:
    """When the job last succeeded before that; a run may have succeeded since."""
    filters = dg.RunsFilter(
        job_name=run.job_name, statuses=[dg.DagsterRunStatus.SUCCESS], created_before=before
    )
    records = instance.get_run_records(filters, limit=_RUNS_LOOKED_AT)
    ends = [datetime.fromtimestamp(each.end_time, UTC) for each in records if each.end_time]
    return max((end for end in ends if end < before), default=None)
