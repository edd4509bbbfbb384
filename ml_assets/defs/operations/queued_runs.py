"""Explain what a queued run waits for, in its tags, its log and ``ml-assets runs``."""

import json
from collections.abc import Mapping

import dagster as dg

from ml_assets.defs.common import INGESTION_POOL, TRAINING_POOL
from ml_assets.defs.operations.orphaned_runs import IN_PROGRESS
from ml_assets.defs.operations.run_outcomes import job_label

_MINIMUM_INTERVAL_SECONDS = 10
DAEMON = "Dagster's daemon, which starts queued runs: `ml-assets dev` runs it"
_SHOWN_CHARACTERS = 8
"""Length of a run id as the UI shows it."""
QUEUE_REASON_TAG = "queue_reason"
"""The UI shows the tags of a queued run, but its log only once it has started."""


def set_pool_limits(instance: dg.DagsterInstance) -> None:
    """Set the pools' limits before their first run.

    Dagster sets them when it first sees a queued run of a pool, but starts all runs that are queued
    at that moment.
    """
    if instance.global_op_concurrency_default_limit:
        known = {pool.name for pool in instance.event_log_storage.get_pool_limits()}
        for pool in sorted({TRAINING_POOL, INGESTION_POOL} - known):
            instance.event_log_storage.initialize_concurrency_limit_to_default(pool)


def queue_reasons(instance: dg.DagsterInstance) -> dict[str, str]:
    """Return why each queued run has not been started.

    Returns:
        By run id, the newest last, a phrase that completes *waits for*.
    """
    queued = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]), ascending=True)
    if not queued:
        return {}
    running = instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS)))
    config = instance.get_concurrency_config().run_queue_config
    limit = config.max_concurrent_runs if config is not None else -1
    reasons, ahead = {}, list(running)
    for run in queued:
        reasons[run.run_id] = _reason(run, ahead, len(running), limit)
        ahead.append(run)
    return reasons


def _reason(run: dg.DagsterRun, ahead: list[dg.DagsterRun], running: int, limit: int) -> str:
    for other in ahead:
        shared = sorted(_pools(run) & _pools(other))
        if shared:
            state = "queued before it" if other.status == dg.DagsterRunStatus.QUEUED else "running"
            return (
                f"the end of run {other.run_id[:_SHOWN_CHARACTERS]} ({job_label(other)}, {state}): "
                f"one run at a time in the pool {', '.join(shared)}"
            )
    if 0 <= limit <= running:
        names = ", ".join(
            f"{other.run_id[:_SHOWN_CHARACTERS]} ({job_label(other)})" for other in ahead[:running]
        )
        return (
            f"the end of one of the {running} runs in progress: {names} (max_concurrent_runs: "
            f"{limit} in dagster.yaml)"
        )
    return DAEMON


def _pools(run: dg.DagsterRun) -> set[str]:
    concurrency = run.run_op_concurrency
    return set(concurrency.all_pools or ()) if concurrency is not None else set()


def log_queue_reasons(instance: dg.DagsterInstance, logged: Mapping[str, str]) -> dict[str, str]:
    """Write what each queued run waits for to its tag and log, once per reason.

    Args:
        instance: The Dagster instance.
        logged: Reasons written before, by run id.

    Returns:
        The current reasons by run id, without runs that are no longer queued.
    """
    reasons = queue_reasons(instance)
    for run_id, reason in reasons.items():
        run = instance.get_run_by_id(run_id)
        is_queued = run is not None and run.status == dg.DagsterRunStatus.QUEUED
        if is_queued and reason not in (logged.get(run_id), DAEMON):
            instance.add_run_tags(run_id, {QUEUE_REASON_TAG: reason})
            instance.report_engine_event(f"Queued: this run waits for {reason}.", run)
    return reasons


@dg.sensor(
    name="explain_queued_runs",
    minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Write what each queued run waits for to its tags and its log.",
)
def queued_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Explain the queued runs; the cursor holds the reasons written before."""
    reasons = log_queue_reasons(context.instance, json.loads(context.cursor or "{}"))
    count = len(reasons)
    summary = (
        "no run is queued"
        if not count
        else f"{count} queued; the tag {QUEUE_REASON_TAG} of each says why"
    )
    return dg.SensorResult(skip_reason=summary, cursor=json.dumps(reasons))
