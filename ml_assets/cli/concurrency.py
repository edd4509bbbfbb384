"""Other runs of the same Dagster instance: orphaned ones are failed, active ones block training."""

import time
from collections.abc import Callable
from datetime import datetime

import click
import dagster as dg

from ml_assets.cli.command_lines import next_command
from ml_assets.config.settings import read_settings
from ml_assets.defs.operations.orphaned_runs import IN_PROGRESS, fail_orphaned_runs, process_of
from ml_assets.defs.operations.run_outcomes import job_label
from ml_assets.defs.operations.run_process import (
    HEARTBEAT_SECONDS,
    STALE_HEARTBEAT_SECONDS,
    Heartbeats,
    Liveness,
)


def fail_orphaned_runs_now(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs whose process is gone as failed; returns a line for each."""
    return [
        f"run {run_id} was still in progress, but its process is gone: it is marked as failed"
        for run_id in fail_orphaned_runs(instance)
    ]


def require_no_active_run(instance: dg.DagsterInstance, echo: Callable[[str], None]) -> None:
    """Refuse to train while another run is active: both would replace the one training set.

    A run whose process cannot be looked up is observed until its next heartbeat, or until it counts
    as dead without one.

    Args:
        instance: The Dagster instance.
        echo: Prints a line on a run that is observed, and on runs found dead.

    Raises:
        click.ClickException: naming the run in progress, since when, and the remedy.
    """
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(IN_PROGRESS))):
        if not _is_dead(instance, record.dagster_run, echo):
            _raise_active(record)


def _is_dead(instance: dg.DagsterInstance, run: dg.DagsterRun, echo: Callable[[str], None]) -> bool:
    process, heartbeats = process_of(instance, run), Heartbeats.of(instance)
    age = heartbeats.seconds_since(run.run_id)
    if process is None or process.liveness() is not Liveness.UNKNOWN or age is None:
        return False
    echo(
        f"run {run.run_id} of {process.host} sent its last heartbeat {age:.0f} s ago: waiting for "
        f"the next one, or until {STALE_HEARTBEAT_SECONDS:.0f} s without one"
    )
    while age <= STALE_HEARTBEAT_SECONDS:
        time.sleep(min(1.0, HEARTBEAT_SECONDS))
        before, now = age, heartbeats.seconds_since(run.run_id)
        if now is None or now < before:
            return _has_ended(instance, run)
        age = now
    for line in fail_orphaned_runs_now(instance):
        echo(line)
    return _has_ended(instance, run)


def _has_ended(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    now = instance.get_run_by_id(run.run_id)
    return now is None or now.is_finished


def _raise_active(record: dg.RunRecord) -> None:
    run, started = record.dagster_run, record.create_timestamp
    if record.start_time is not None:
        started = datetime.fromtimestamp(record.start_time).astimezone()
    end = next_command(read_settings(), f"runs end {run.run_id[:8]}")
    raise click.ClickException(
        f"run {run.run_id} ({job_label(run)}) is in progress since {started:%Y-%m-%d %H:%M %Z}, "
        "and a second training could mix the months of both: wait until it has ended, or cancel "
        f"it in the UI or with `{end}`, then run this again"
    )
