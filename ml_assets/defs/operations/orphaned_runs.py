"""Find runs whose process is gone by their tags and heartbeats, mark them as ended, and clean up.

Dagster's run monitoring asks the launcher whether a worker is alive, and the launcher for one
machine cannot tell. A run whose process was killed, ran out of memory or went down with the machine
would stay in progress for ever, and block the pool of one training at a time. Its MLflow run is
closed once the Dagster run is marked as ended: a step that ends, fails or is interrupted does so
itself, a killed process cannot.
"""

from datetime import UTC, datetime

import dagster as dg

from ml_assets.config.settings import read_settings
from ml_assets.defs.operations.run_process import (
    STALE_HEARTBEAT_SECONDS,
    Heartbeats,
    Liveness,
    RunProcess,
)
from ml_assets.defs.operations.run_tags import PROCESS_TAG, RUN_TAG, tag_value
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.registry import TrackingUnavailable
from ml_assets.storage.leftovers import clean_home

IN_PROGRESS = (
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
UNCLAIMED_SECONDS = 300.0
"""After this time a run that no process has claimed is failed. A run is submitted right after it is
created, and its process starts within seconds of the launch; where a daemon runs, Dagster's own run
monitoring gives up a launch after three minutes."""

_UNCLAIMED = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)
_MINIMUM_INTERVAL_SECONDS = 30


def fail_orphaned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark every unfinished run whose process is gone as failed.

    A run that was being cancelled is marked as cancelled. A run is left alone when its process is
    unknown, or cannot be looked up and has no heartbeat.

    Returns:
        Ids of the runs that were marked.
    """
    heartbeats = Heartbeats.of(instance)
    statuses = [dg.DagsterRunStatus.NOT_STARTED, *IN_PROGRESS]
    causes: dict[str, str] = {}
    without_heartbeat: dict[str, str] = {}
    records = instance.get_run_records(dg.RunsFilter(statuses=statuses))
    for record in records:
        run = record.dagster_run
        process = process_of(instance, run)
        if process is None:
            if _is_unclaimed(record):
                causes[run.run_id] = (
                    f"No process has started this run for {UNCLAIMED_SECONDS / 60:.0f} minutes: "
                    "it was probably killed before it began. Launch the run again."
                )
            continue
        liveness = liveness_of(process, heartbeats, run.run_id)
        who = f"The process that executed this run (pid {process.pid} on {process.host})"
        kept = "What it has stored is kept; launch the run again."
        if liveness is Liveness.DEAD:
            causes[run.run_id] = (
                f"{who} is gone: it was killed, ran out of memory, or the machine was restarted. "
                f"{kept}"
            )
        elif liveness is Liveness.UNKNOWN:
            without_heartbeat[run.run_id] = (
                f"{who} has sent no heartbeat for {STALE_HEARTBEAT_SECONDS:.0f} seconds: it is "
                f"dead. {kept}"
            )
    for run_id in heartbeats.stale(list(without_heartbeat)):
        causes[run_id] = without_heartbeat[run_id]
    reported = [run_id for run_id, cause in causes.items() if _report(instance, run_id, cause)]
    _remove_heartbeats(instance, heartbeats)
    return reported


def process_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunProcess | None:
    """Return the process that executes a run; None while none has claimed it or it is unknown.

    A retry inherits all tags of the run that it retries, whose dead process must not count for it.
    """
    if RUN_TAG in run.tags:
        return RunProcess.from_tags(run.tags) if run.tags[RUN_TAG] == run.run_id else None
    # Tags of an earlier version, without the id of their run.
    parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    if parent is not None and _same_process_tag(parent, run):
        return None
    return RunProcess.from_tags(run.tags)


def _same_process_tag(parent: dg.DagsterRun, run: dg.DagsterRun) -> bool:
    return tag_value(parent.tags, PROCESS_TAG) == tag_value(run.tags, PROCESS_TAG)


def liveness_of(process: RunProcess, heartbeats: Heartbeats, run_id: str) -> Liveness:
    """Return whether a run's process is alive, by the operating system or by its heartbeat.

    UNKNOWN when it cannot be looked up and its heartbeat has stopped or never existed.
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
    """Mark a run whose process is gone, unless it has ended."""
    # Read again: the process may have ended the run after the runs were listed.
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return False
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, cause)
    else:
        instance.report_run_failed(run, cause)
    return True


def _remove_heartbeats(instance: dg.DagsterInstance, heartbeats: Heartbeats) -> None:
    """Remove the heartbeats of ended runs, and stale ones of runs that do not exist."""
    for run_id in heartbeats.run_ids():
        run = instance.get_run_by_id(run_id)
        age = heartbeats.seconds_since(run_id)
        if run.is_finished if run is not None else (age or 0.0) > STALE_HEARTBEAT_SECONDS:
            heartbeats.remove(run_id)


@dg.sensor(
    name="fail_orphaned_runs",
    minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Mark runs whose process was killed as failed, so that the next ones can start, "
    "and remove their temporary files.",
)
def orphaned_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Mark runs whose process is gone, remove what they left behind, and report their number."""
    reported = fail_orphaned_runs(context.instance)
    if not reported:
        return dg.SkipReason("no run has lost its process")
    clean_home(read_settings().local_home)  # a fit on disk leaves gigabytes
    runs = "1 run" if len(reported) == 1 else f"{len(reported)} runs"
    return dg.SkipReason(f"{runs} without a process marked as ended: {', '.join(reported)}")


def tracking_sensors() -> list[dg.SensorDefinition]:
    """Build one sensor for failed runs and one for cancelled ones; both are on by default."""
    return [
        _sensor("close_mlflow_runs_of_failed", dg.DagsterRunStatus.FAILURE),
        _sensor("close_mlflow_runs_of_canceled", dg.DagsterRunStatus.CANCELED),
    ]


def _sensor(name: str, status: dg.DagsterRunStatus) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        name=name,
        run_status=status,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"End MLflow runs left open by a Dagster run that ended {status.value}.",
    )
    def close_tracking(
        context: dg.RunStatusSensorContext, tracking: MlflowTracking
    ) -> dg.SkipReason:
        try:
            closed = tracking.close_orphaned(tracking.client(), context.instance)
        except TrackingUnavailable as error:
            return dg.SkipReason(str(error))
        return dg.SkipReason(f"closed {len(closed)} MLflow runs of ended Dagster runs")

    return close_tracking
