"""What became of runs that were asked for, and what is under way."""

from collections.abc import Collection
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

from ml_assets.defs.common import INGESTION_POOL, TRAINING_POOL
from ml_assets.defs.operations.run_tags import (
    FAILURE_TAG,
    PASSING,
    REQUEST_KEY_TAG,
    runs_with_tag,
    tag_value,
)
from ml_assets.ingestion import InvalidSource, SourceUnavailable
from ml_assets.ingestion.ingest_plan import Outcome, RunState
from ml_assets.registry.mlflow_store import TrackingUnavailable

RUN_KEY_TAG = "dagster/run_key"
_MAX_NAMED = 3
_FAILURE_REASON_TAG, _STEP_FAILURE = "dagster/failure_reason", "STEP_FAILURE"

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_ASSETS = {
    INGESTION_POOL: ("raw_trips", "trip_features", "rejected_trips"),
    TRAINING_POOL: ("training_set", "champion_model"),
}
_STATES = {
    dg.DagsterRunStatus.SUCCESS: RunState.SUCCEEDED,
    dg.DagsterRunStatus.CANCELED: RunState.CANCELLED,
}


def job_label(run: dg.DagsterRun) -> str:
    """The job of a run in words: what was pressed in the UI has no job, only assets."""
    if run.job_name != IMPLICIT_ASSET_JOB_NAME:
        return run.job_name
    names = sorted(key.to_user_string() for key in run.asset_selection or ())
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"Materialize {', '.join(names[:_MAX_NAMED])}{more}".rstrip()


def outcome_of(instance: dg.DagsterInstance, run_key: str) -> Outcome:
    """What became of the run with this key, or of the newest that took its place as a retry."""
    records = instance.get_run_records(dg.RunsFilter(tags={RUN_KEY_TAG: run_key}), limit=1)
    return _outcome(records[0]) if records else Outcome(RunState.UNKNOWN)


def count_attempts(instance: dg.DagsterInstance, asked_for: str) -> tuple[int, Outcome]:
    """How often something was asked for, and what became of the last attempt."""
    records = runs_with_tag(instance, REQUEST_KEY_TAG, asked_for)
    keys = {record.dagster_run.tags.get(RUN_KEY_TAG) for record in records}
    return len(keys), _outcome(records[0]) if records else Outcome(RunState.UNKNOWN)


def _outcome(record: dg.RunRecord) -> Outcome:
    run = record.dagster_run
    ended = record.end_time or record.update_timestamp.timestamp()
    return Outcome(_state(run), datetime.fromtimestamp(ended, UTC), run.run_id)


def _state(run: dg.DagsterRun) -> RunState:
    if run.status in UNFINISHED:
        return RunState.ONGOING
    if run.status in _STATES:
        return _STATES[run.status]
    passing = tag_value(run.tags, FAILURE_TAG) == PASSING
    of_a_step = run.tags.get(_FAILURE_REASON_TAG) == _STEP_FAILURE
    return RunState.REFUSED if of_a_step and not passing else RunState.PASSING


def active_run(instance: dg.DagsterInstance, *pools: str) -> str | None:
    """A run or backfill that has not ended and has a step in one of these pools; None if none has.

    Returns:
        A phrase for people that names it.
    """
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        concurrency = run.run_op_concurrency
        if concurrency is not None and {*pools} & {*(concurrency.all_pools or ())}:
            return f"run {run.run_id[:8]} ({job_label(run)}) is {run.status.value.lower()}"
    names = {name for pool in pools for name in _ASSETS[pool]}
    return _backfill_of(instance, names)


def _backfill_of(instance: dg.DagsterInstance, names: Collection[str]) -> str | None:
    statuses = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]
    for backfill in instance.get_backfills(BulkActionsFilter(statuses=statuses)):
        keys = backfill.asset_selection
        if not keys or {key.to_user_string() for key in keys} & {*names}:
            return f"backfill {backfill.backfill_id} is in progress"
    return None


_PASSING = (SourceUnavailable, InvalidSource, TrackingUnavailable, OSError)
"""A source or a server that is down, a folder that is not mounted, a disk without room."""


@dg.failure_hook(name="tag_transient_failures")
def tag_transient_failures(context: dg.HookContext) -> None:
    """Tag the run when what failed is not its data or its code."""
    if is_transient(context.op_exception):
        context.instance.add_run_tags(context.run_id, {FAILURE_TAG: PASSING})


def is_transient(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is of a kind that passes by itself."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, _PASSING):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
