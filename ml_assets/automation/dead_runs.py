"""Runs whose process is gone: found by the tags that tell it, and marked as what they are.

Dagster's run monitoring asks the launcher whether a worker lives, and the launcher for one machine
cannot tell. So a run whose process was killed, ran out of memory or went down with the machine
would stay in progress for ever, and with one run at a time nothing would start any more.
"""

import dagster as dg

from ml_assets.automation.run_process import HOST_TAG, PROCESS_TAG, is_gone, process_number

IN_PROGRESS = (
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_MINIMUM_INTERVAL_SECONDS = 30


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report every run in progress whose process on this machine is gone as failed.

    One that was being cancelled is reported cancelled. A run is left alone when nothing tells which
    process works on it, or when that is on another machine.

    Args:
        instance: Where the runs are.

    Returns:
        Ids of the runs that were reported.
    """
    reported = []
    for run in instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS))):
        own = is_gone(run.tags) and not _is_inherited(instance, run)
        if own and _report(instance, run.run_id):
            reported.append(run.run_id)
    return reported


def _is_inherited(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a retry still has the tags of the run that it retries: its own process has not begun.

    Dagster hands on all tags, and the dead process of the one run is not the other's.
    """
    parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    return parent is not None and parent.tags.get(PROCESS_TAG) == run.tags.get(PROCESS_TAG)


def _report(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Report a run whose process is gone, unless it had ended before that."""
    # Read again: a process that ended well has written so by now, though not when it was listed.
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return False
    message = (
        f"The process that worked on this run (pid {process_number(run.tags)} on "
        f"{run.tags[HOST_TAG]}) is gone: it was killed, ran out of memory, or the machine was "
        "restarted. What it had stored is kept; launch the run again."
    )
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message)
    else:
        instance.report_run_failed(run, message)
    return True


@dg.sensor(
    name="fail_dead_runs",
    minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Mark runs failed whose process was killed, so that the next ones can start.",
)
def dead_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look for runs whose process is gone, and tell how many there were."""
    reported = fail_dead_runs(context.instance)
    if not reported:
        return dg.SkipReason("no run has lost its process")
    runs = "1 run" if len(reported) == 1 else f"{len(reported)} runs"
    return dg.SkipReason(f"{runs} marked as ended, whose process is gone: {', '.join(reported)}")
