"""Sensors that send alerts about failed runs and, if configured, about succeeded ones."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.events import JobFailureData

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.messages import (
    FailedCheck,
    FinishedRun,
    check_failed,
    run_failed,
    run_succeeded,
)
from ml_assets.alerts.notifier import Notifier
from ml_assets.defs.errors import root_cause
from ml_assets.defs.operations.run_tags import run_reason_of

FAILED_RUNS, SUCCEEDED_RUNS = "alert_on_failed_runs", "alert_on_succeeded_runs"
WILL_RETRY_TAG = "dagster/will_retry"
_MINIMUM_INTERVAL_SECONDS = 30
_MAX_RUNS = 20
"""Runs are listed by their start, and the run that ended last may have started earlier."""
_CHECK_FAILED = "DagsterAssetCheckFailedError"
"""Dagster's error for a step that a failed blocking check stops."""


def failed_runs_sensor(notifier: Notifier, description: str) -> dg.SensorDefinition:
    """Build the sensor that sends an alert on each failed run."""

    @dg.run_failure_sensor(
        name=FAILED_RUNS,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def alert_on_failed_runs(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        if run.tags.get(WILL_RETRY_TAG) == "true":
            return dg.SkipReason(f"run {run.run_id} is retried automatically")
        finished = _finished_run(context.instance, run)
        notify = replace(notifier, logger=context.log)
        if finished.last_success is not None:
            notify.resolve(run.job_name, finished.last_success)
        alert = failure_alert(context, finished, notifier.settings.ui_url)
        delivery = notify.send_deduplicated(alert)
        # Without a skip, Dagster logs in the run that a sensor acted on it.
        return None if delivery.channels else dg.SkipReason(f"run {run.run_id}: {delivery}")

    return alert_on_failed_runs


def succeeded_runs_sensor(notifier: Notifier) -> dg.SensorDefinition:
    """Build the sensor that sends a message on each succeeded run."""

    @dg.run_status_sensor(
        name=SUCCEEDED_RUNS,
        run_status=dg.DagsterRunStatus.SUCCESS,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Report each run that succeeded (ML_ASSETS_ALERT_ON_SUCCESS).",
    )
    def alert_on_succeeded_runs(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        finished = _finished_run(context.instance, run)
        notify = replace(notifier, logger=context.log)
        recovered = bool(notify.resolve(run.job_name, finished.at))
        because, ui_url = run_reason_of(run.tags), notifier.settings.ui_url
        delivery = notify.send(run_succeeded(finished, ui_url, because, recovered=recovered))
        return None if delivery.channels else dg.SkipReason(f"run {run.run_id}: {delivery}")

    return alert_on_succeeded_runs


def failure_alert(context: dg.RunFailureSensorContext, run: FinishedRun, ui_url: str) -> Alert:
    """Return the alert about a failed run; about its blocking checks if nothing else failed."""
    errors = []
    for failure in context.get_step_failure_events():
        error = root_cause(failure.step_failure_data.error)
        if error is None or error.cls_name != _CHECK_FAILED:
            errors.append((failure.step_key or "", cause(error)))
    checks = _failed_checks(context.instance, run.run_id)
    if checks and not errors:
        return check_failed(run, ui_url, checks)
    errors += [("a blocking check", str(check)) for check in checks]
    if not errors:
        event = context.failure_event
        # A run that was marked as failed from outside has only a message.
        data = event.event_specific_data
        error = data.error if isinstance(data, JobFailureData) else None
        errors = [("", cause(root_cause(error)) or event.message or "")]
    return run_failed(run, ui_url, errors)


def cause(error: Any) -> str:
    """Return the first line of an error's message; empty for None."""
    if error is None:
        return ""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    # Class names of this project and of Dagster say nothing to an operator.
    return re.sub(r"^(ml_assets|dagster)\.[\w.]+: ", "", first)


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


def _finished_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> FinishedRun:
    record = instance.get_run_record_by_id(run.run_id)
    ended = record.end_time if record else None
    at = datetime.now(UTC) if ended is None else datetime.fromtimestamp(ended, UTC)
    return FinishedRun(run.run_id, run.job_name, at, _last_success(instance, run, at))


def _last_success(
    instance: dg.DagsterInstance, run: dg.DagsterRun, before: datetime
) -> datetime | None:
    """Return when the job last succeeded before this time; None when it never has."""
    filters = dg.RunsFilter(
        job_name=run.job_name, statuses=[dg.DagsterRunStatus.SUCCESS], created_before=before
    )
    records = instance.get_run_records(filters, limit=_MAX_RUNS)
    ends = [datetime.fromtimestamp(each.end_time, UTC) for each in records if each.end_time]
    return max((end for end in ends if end < before), default=None)
