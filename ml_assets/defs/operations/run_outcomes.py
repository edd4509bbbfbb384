"""Outcomes of requested runs, and runs in progress."""

from collections.abc import Collection
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

from ml_assets.defs.common import INGESTION_POOL, TRAINING_POOL
from ml_assets.defs.operations.run_tags import (
    FAILURE_TAG,
    REQUEST_KEY_TAG,
    TRANSIENT,
    runs_with_tag,
    tag_value,
)
from ml_assets.ingestion.ingest_plan import RunOutcome, RunState
from ml_assets.ingestion.source import InvalidSource, SourceUnavailable
from ml_assets.registry import TrackingUnavailable

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
    """Return the display name of a run's job; a run of *Materialize* is named by its assets."""
    if run.job_name != IMPLICIT_ASSET_JOB_NAME:
        return run.job_name
    names = sorted(key.to_user_string() for key in run.asset_selection or ())
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"Materialize {', '.join(names[:_MAX_NAMED])}{more}".rstrip()


def outcome_of(instance: dg.DagsterInstance, run_key: str) -> RunOutcome:
    """Return the outcome of the newest run with this key; a retry has the key of its run."""
    records = instance.get_run_records(dg.RunsFilter(tags={RUN_KEY_TAG: run_key}), limit=1)
    return _outcome(records[0]) if records else RunOutcome(RunState.UNKNOWN)


def count_attempts(instance: dg.DagsterInstance, request_key: str) -> tuple[int, RunOutcome]:
    """Return the number of attempts at a request, and the outcome of the last one."""
    records = runs_with_tag(instance, REQUEST_KEY_TAG, request_key)
    keys = {record.dagster_run.tags.get(RUN_KEY_TAG) for record in records}
    return len(keys), _outcome(records[0]) if records else RunOutcome(RunState.UNKNOWN)


def _outcome(record: dg.RunRecord) -> RunOutcome:
    run = record.dagster_run
    ended = record.end_time or record.update_timestamp.timestamp()
    return RunOutcome(_state(run), datetime.fromtimestamp(ended, UTC), run.run_id)


def _state(run: dg.DagsterRun) -> RunState:
    if run.status in UNFINISHED:
        return RunState.ONGOING
    if run.status in _STATES:
        return _STATES[run.status]
    transient = tag_value(run.tags, FAILURE_TAG) == TRANSIENT
    in_a_step = run.tags.get(_FAILURE_REASON_TAG) == _STEP_FAILURE
    return RunState.FAILED if in_a_step and not transient else RunState.TRANSIENT_FAILURE


def active_run(instance: dg.DagsterInstance, *pools: str) -> str | None:
    """Return the name and state of an unfinished run or backfill with a step in one of these pools.

    None when there is none.
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


_TRANSIENT = (SourceUnavailable, InvalidSource, TrackingUnavailable, OSError)
"""A source or a server that is down, a folder that is not mounted, a full disk."""


@dg.failure_hook(name="tag_transient_failures")
def tag_transient_failures(context: dg.HookContext) -> None:
    """Tag the run when the cause of a failure is neither its data nor its code."""
    if is_transient(context.op_exception):
        context.instance.add_run_tags(context.run_id, {FAILURE_TAG: TRANSIENT})


def is_transient(error: BaseException | None) -> bool:
    """Whether an error or one of its causes may not occur again at another time."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, _TRANSIENT):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
