"""Runs whose process is gone: found by the tags and heartbeats of runs, and marked as ended.

Dagster's run monitoring asks the launcher whether a worker lives, and the launcher for one machine
cannot tell. So a run whose process was killed, ran out of memory or went down with the machine
would stay in progress for ever, and with one training at a time nothing would start any more.
"""

from datetime import UTC, datetime

import dagster as dg

from ml_assets.defs.operations.run_process import (
    STALE_HEARTBEAT_SECONDS,
    Heartbeats,
    Liveness,
    RunProcess,
)
from ml_assets.defs.operations.run_tags import PROCESS_TAG, RUN_TAG, tag_value

IN_PROGRESS = (
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
UNCLAIMED_SECONDS = 300.0
"""A run is submitted right after it is created, and its process starts within seconds of the
launch. One that no process has taken up for so long lost the process that was about to; Dagster's
own run monitoring gives up a launch after three minutes, where a daemon runs."""

_UNCLAIMED = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)
_MINIMUM_INTERVAL_SECONDS = 30


def fail_orphaned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report every unfinished run whose process is gone as failed.

    One that was being cancelled is reported cancelled. A run is left alone when nothing tells which
    process executes it, or when that is out of sight and has kept no heartbeat.

    Args:
        instance: Where the runs are.

    Returns:
        Ids of the runs that were reported.
    """
    heartbeats = Heartbeats.of(instance)
    statuses = [dg.DagsterRunStatus.NOT_STARTED, *IN_PROGRESS]
    causes: dict[str, str] = {}
    out_of_sight: dict[str, str] = {}
    records = instance.get_run_records(dg.RunsFilter(statuses=statuses))
    for record in records:
        run = record.dagster_run
        process = process_of(instance, run)
        if process is None:
            if _is_unclaimed(record):
                causes[run.run_id] = (
                    f"No process has started this run for {UNCLAIMED_SECONDS / 60:.0f} minutes: "
                    "the one that was about to was killed. Launch the run again."
                )
            continue
        found = liveness_of(process, heartbeats, run.run_id)
        who = f"The process that executed this run (pid {process.pid} on {process.host})"
        kept = "What it had stored is kept; launch the run again."
        if found is Liveness.DEAD:
            causes[run.run_id] = (
                f"{who} is gone: it was killed, ran out of memory, or the machine was restarted. "
                f"{kept}"
            )
        elif found is Liveness.UNKNOWN:
            out_of_sight[run.run_id] = (
                f"{who} has given no heartbeat for {STALE_HEARTBEAT_SECONDS:.0f} seconds: it is "
                f"gone. {kept}"
            )
    for run_id in heartbeats.stale(list(out_of_sight)):
        causes[run_id] = out_of_sight[run_id]
    reported = [run_id for run_id, cause in causes.items() if _report(instance, run_id, cause)]
    _remove_heartbeats(instance, heartbeats)
    return reported


def process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunProcess | None:
    """The process that executes a run; None while none has taken it up, or none says so.

    A retry starts with all tags of the run that it retries, and that run's dead process is not its
    own.
    """
    if RUN_TAG in run.tags:
        return RunProcess.from_tags(run.tags) if run.tags[RUN_TAG] == run.run_id else None
    # Tags of an earlier version, which did not say which run they are about.
    parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    if parent is not None and _tagged_alike(parent, run):
        return None
    return RunProcess.from_tags(run.tags)


def _tagged_alike(parent: dg.DagsterRun, run: dg.DagsterRun) -> bool:
    return tag_value(parent.tags, PROCESS_TAG) == tag_value(run.tags, PROCESS_TAG)


def liveness_of(process: RunProcess, heartbeats: Heartbeats, run_id: str) -> Liveness:
    """Whether a run's process is alive, by the system's own word or by its heartbeat.

    UNKNOWN when it is out of sight and its heartbeat has stopped, or was never kept.
    """
    found = process.liveness()
    if found is not Liveness.UNKNOWN:
        return found
    age = heartbeats.seconds_since(run_id)
    if age is None:
        return Liveness.DEAD if process.ended_with_an_earlier_boot() else Liveness.UNKNOWN
    return Liveness.ALIVE if age <= STALE_HEARTBEAT_SECONDS else Liveness.UNKNOWN


def _is_unclaimed(record: dg.RunRecord) -> bool:
    age = datetime.now(UTC) - record.update_timestamp.astimezone(UTC)
    return record.dagster_run.status in _UNCLAIMED and age.total_seconds() > UNCLAIMED_SECONDS


def _report(instance: dg.DagsterInstance, run_id: str, cause: str) -> bool:
    """Report a run whose process is gone, unless it had ended before that."""
    # Read again: a process that ended well has written so by now, though not when it was listed.
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return False
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, cause)
    else:
        instance.report_run_failed(run, cause)
    return True


def _remove_heartbeats(instance: dg.DagsterInstance, heartbeats: Heartbeats) -> None:
    """Remove heartbeats of runs that are over, and stopped ones of runs that never came to be."""
    for run_id in heartbeats.run_ids():
        run = instance.get_run_by_id(run_id)
        age = heartbeats.seconds_since(run_id)
        if run.is_finished if run is not None else (age or 0.0) > STALE_HEARTBEAT_SECONDS:
            heartbeats.remove(run_id)


@dg.sensor(
    name="fail_orphaned_runs",
    minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Mark runs failed whose process was killed, so that the next ones can start.",
)
def orphaned_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look for runs whose process is gone, and tell how many there were."""
    reported = fail_orphaned_runs(context.instance)
    if not reported:
        return dg.SkipReason("no run has lost its process")
    runs = "1 run" if len(reported) == 1 else f"{len(reported)} runs"
    return dg.SkipReason(f"{runs} marked as ended, whose process is gone: {', '.join(reported)}")
