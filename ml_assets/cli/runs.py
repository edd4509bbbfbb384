"""``ml-assets runs``: list runs in progress or queued, and end a run.

Also what other commands do with runs: fail orphaned ones, wait for active ones before a training,
and stop or hand over those that ``ml-assets dev`` launched.
"""

import contextlib
import json
import math
import os
import signal
import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import click
import dagster as dg

from ml_assets.cli.console import plain_console
from ml_assets.cli.environment import next_command
from ml_assets.cli.instance import open_instance
from ml_assets.config.settings import read_settings
from ml_assets.defs.operations.orphaned_runs import (
    IN_PROGRESS,
    fail_orphaned_runs,
    liveness_of,
    process_of,
)
from ml_assets.defs.operations.queued_runs import queue_reasons
from ml_assets.defs.operations.run_outcomes import UNFINISHED, job_label
from ml_assets.defs.operations.run_process import (
    HEARTBEAT_SECONDS,
    STALE_HEARTBEAT_SECONDS,
    Heartbeats,
    Liveness,
)
from ml_assets.storage.atomic import storage_errors

END_SECONDS = 30.0
"""Time for a run's process to end after it was interrupted."""
STOP_SECONDS = 30.0
"""Time for launched runs to end after they were interrupted."""
REPEAT_SECONDS = 8.0
"""Until a run that continues is interrupted once more: Python drops an interrupt that arrives while
the garbage collector runs a callback."""


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def runs(context: click.Context, as_json: bool) -> None:
    """List the runs in progress or queued, and what the queued ones wait for.

    `ml-assets runs end ID` ends one of them.
    """
    if context.invoked_subcommand is not None:
        return
    with _opened() as instance:
        found = [_describe(instance, run) for run in _unfinished(instance)]
    if as_json:
        click.echo(json.dumps({"runs": found}))
        return
    console = plain_console()
    if not found:
        console.print("No run is in progress or queued.")
    for run in found:
        where = f", {run['where']}" if run["where"] else ""
        waits = f"\n{'':<10}waits for {run['waits_for']}" if run["waits_for"] else ""
        state = f"{run['status']} since {run['since']}{where}{waits}"
        console.print(f"{run['id'][:8]}  {run['name']}: {state}")
    if found:
        one = next_command(read_settings(), f"runs end {found[0]['id'][:8]}")
        console.print(f"\nEnd one of them: {one}", style="dim")


@runs.command()
@click.argument("run_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def end(run_id: str, as_json: bool) -> None:
    """End the run whose id begins with ID: stop its process, or mark it if the process is gone.

    What it has stored is kept, and it is not retried. A run whose process is alive on another
    machine has to be stopped there.
    """
    with _opened() as instance:
        run = _chosen(instance, run_id)
        how = _end(instance, run)
        status = instance.get_run_by_id(run.run_id)
        named = "" if status is None else status.status.value.lower()
    if as_json:
        click.echo(json.dumps({"id": run.run_id, "status": named, "how": how}))
    else:
        click.echo(f"run {run.run_id} ({job_label(run)}) is {named}: {how}")


def _opened() -> dg.DagsterInstance:
    settings = read_settings()
    with storage_errors(str(settings.local_home)):
        return open_instance(settings)


def _unfinished(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return list(instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)))


def _describe(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, Any]:
    """Return the fields of a run to print; times are in this machine's time zone."""
    record = instance.get_run_record_by_id(run.run_id)
    process, heartbeats = process_of(instance, run), Heartbeats.of(instance)
    age = heartbeats.seconds_since(run.run_id)
    where = ""
    if process is not None:
        state = liveness_of(process, heartbeats, run.run_id).value
        beat = "" if age is None else f", last heartbeat {age:.0f} s ago"
        where = f"process {process.pid} on {process.host} ({state}{beat})"
    return {
        "id": run.run_id,
        "job": run.job_name,
        "name": job_label(run),
        "status": run.status.value.lower(),
        "since": "" if record is None else _started(record).isoformat(sep=" ", timespec="minutes"),
        "where": where,
        "heartbeat_age_seconds": age,
        "waits_for": queue_reasons(instance).get(run.run_id),
    }


def _started(record: dg.RunRecord) -> datetime:
    """Return when a run was started, or else created, in this machine's time zone."""
    if record.start_time is not None:
        return datetime.fromtimestamp(record.start_time).astimezone()
    return record.create_timestamp.astimezone()


def _chosen(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    unfinished = _unfinished(instance)
    found = [run for run in unfinished if run.run_id.startswith(run_id)]
    if len(found) == 1:
        return found[0]
    ended = instance.get_run_by_id(run_id)
    if ended is not None:
        raise click.UsageError(f"run {run_id} has ended already: {ended.status.value.lower()}")
    if not unfinished:
        raise click.UsageError(f"ID {run_id!r} is no run in progress or queued: there is none")
    known = ", ".join(f"{run.run_id[:8]} ({job_label(run)})" for run in unfinished)
    problem = "matches several runs" if found else "is no run in progress or queued"
    raise click.UsageError(f"ID {run_id!r} {problem}; there are: {known}")


def _end(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """End a run; returns how it was ended.

    Raises:
        click.ClickException: when its process is alive on another machine.
    """
    process, heartbeats = process_of(instance, run), Heartbeats.of(instance)
    if process is None:
        instance.report_run_canceled(run, "Ended by `ml-assets runs end`; its process is unknown.")
        return "it was not started, or its process is unknown"
    if process.liveness() is Liveness.ALIVE:
        return stop(instance, run, process.pid)
    if liveness_of(process, heartbeats, run.run_id) is Liveness.ALIVE:
        age = heartbeats.seconds_since(run.run_id) or 0.0
        raise click.ClickException(
            f"run {run.run_id} may be alive: process {process.pid} on {process.host} sent a "
            f"heartbeat {age:.0f} s ago. Stop it there; if that machine or container is gone, try "
            f"again {STALE_HEARTBEAT_SECONDS:.0f} s after its last heartbeat"
        )
    instance.report_run_canceled(
        run,
        f"Ended by `ml-assets runs end`: its process {process.pid} on {process.host} is gone, or "
        "cannot be looked up and has no heartbeat.",
    )
    heartbeats.remove(run.run_id)
    return f"its process {process.pid} on {process.host} is gone or cannot be looked up"


def stop(instance: dg.DagsterInstance, run: dg.DagsterRun, pid: int) -> str:
    """Cancel a run whose process is on this machine, and wait for its end; returns how it ended.

    Raises:
        click.ClickException: when the process may not be interrupted, or does not end.
    """
    instance.report_run_canceling(run)
    try:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGINT)
    except PermissionError as error:
        raise click.ClickException(
            f"process {pid} of run {run.run_id} belongs to another user: end it as that user"
        ) from error
    limit = time.monotonic() + END_SECONDS
    while time.monotonic() < limit:
        if _has_ended(instance, run):
            return f"its process {pid} was interrupted"
        time.sleep(0.2)
    raise click.ClickException(
        f"process {pid} of run {run.run_id} has not ended within {END_SECONDS:.0f} s after its "
        f"interruption: kill it (kill -9 {pid}), and the next command ends the run"
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
    run, started = record.dagster_run, _started(record)
    end = next_command(read_settings(), f"runs end {run.run_id[:8]}")
    raise click.ClickException(
        f"run {run.run_id} ({job_label(run)}) is in progress since {started:%Y-%m-%d %H:%M %Z}, "
        "and a second training could mix the months of both: wait until it has ended, or cancel "
        f"it in the UI or with `{end}`, then run this again"
    )


def stop_launched_runs(
    instance: dg.DagsterInstance, since: datetime, echo: Callable[[str], None]
) -> None:
    """Interrupt the runs that were launched by the UI or the daemon, and report their outcome.

    Ctrl-C in a terminal reaches them as well; a signal to ``ml-assets dev`` does not. Runs of
    commands (``ml-assets run``) are left alone.
    """
    launched = {run.run_id: run for run in _launched(instance, IN_PROGRESS)}
    stopped = {
        run.run_id: run for run in _launched(instance, (dg.DagsterRunStatus.FAILURE,), since)
    }
    limit = time.monotonic() + STOP_SECONDS
    interrupted: dict[int, float] = {}
    with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C leaves runs in progress
        while launched and time.monotonic() < limit:
            for run_id in list(launched):
                run = instance.get_run_by_id(run_id)
                if run is None or run.is_finished:
                    launched.pop(run_id)
                    if run is not None and run.status == dg.DagsterRunStatus.FAILURE:
                        stopped[run_id] = run
                    continue
                process = process_of(instance, run)  # None until it has started
                if process is None:
                    continue
                now, before = time.monotonic(), interrupted.get(process.pid, -math.inf)
                if now - before > REPEAT_SECONDS and process.liveness() is Liveness.ALIVE:
                    with contextlib.suppress(ProcessLookupError):  # it has just ended
                        os.kill(process.pid, signal.SIGINT)
                    interrupted[process.pid] = now
            time.sleep(0.2)
    for run in stopped.values():
        echo(
            f"run {run.run_id} ({job_label(run)}) was stopped; what it finished is kept, and the "
            "next `ml-assets dev` resumes it"
        )
    hand_over_runs(instance, echo)


def hand_over_runs(instance: dg.DagsterInstance, echo: Callable[[str], None]) -> None:
    """Report the runs that continue without ``ml-assets dev``, and those that wait for the next."""
    for run in _launched(instance, IN_PROGRESS):
        end = next_command(read_settings(), f"runs end {run.run_id[:8]}")
        echo(f"run {run.run_id} ({job_label(run)}) continues in the background; to end it: {end}")
    queued = len(_launched(instance, (dg.DagsterRunStatus.QUEUED,)))
    if queued:
        runs = "1 queued run waits" if queued == 1 else f"{queued} queued runs wait"
        echo(f"{runs} for the next `ml-assets dev`")


def _launched(
    instance: dg.DagsterInstance,
    statuses: Collection[dg.DagsterRunStatus],
    since: datetime | None = None,
) -> list[dg.DagsterRun]:
    """Return the runs that a code server has launched or will launch."""
    filters = dg.RunsFilter(statuses=list(statuses), updated_after=since)
    return [run for run in instance.get_runs(filters) if run.remote_job_origin is not None]
