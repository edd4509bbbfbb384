"""``ml-assets runs``: list runs in progress or queued, and end a run."""

import json
import os
import signal
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from ml_assets.cli.command_lines import next_command
from ml_assets.cli.instance import open_instance
from ml_assets.config.settings import read_settings
from ml_assets.storage.atomic import storage_errors

if TYPE_CHECKING:
    import dagster as dg

END_SECONDS = 30.0
"""Time for a run's process to end after it was interrupted."""


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
    console = Console(highlight=False)
    if not found:
        console.print("No run is in progress or queued.")
    for run in found:
        where = f", {run['where']}" if run["where"] else ""
        waits = f"\n{'':<10}waits for {run['waits_for']}" if run["waits_for"] else ""
        console.print(
            f"{run['id'][:8]}  {run['name']}: {run['status']} since {run['since']}{where}{waits}",
            soft_wrap=True,
            markup=False,
        )
    if found:
        one = next_command(read_settings(), f"runs end {found[0]['id'][:8]}")
        console.print(f"\nEnd one of them: {one}", style="dim", soft_wrap=True, markup=False)


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
        from ml_assets.defs.operations.run_outcomes import job_label

        click.echo(f"run {run.run_id} ({job_label(run)}) is {named}: {how}")


def _opened() -> "dg.DagsterInstance":
    settings = read_settings()
    with storage_errors(str(settings.local_home)):
        return open_instance(settings)


def _unfinished(instance: "dg.DagsterInstance") -> "list[dg.DagsterRun]":
    import dagster as dg

    from ml_assets.defs.operations.run_outcomes import UNFINISHED

    return list(instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)))


def _describe(instance: "dg.DagsterInstance", run: "dg.DagsterRun") -> dict[str, Any]:
    """Return the fields of a run to print; times are in this machine's time zone."""
    from ml_assets.defs.operations.orphaned_runs import liveness_of, process_of
    from ml_assets.defs.operations.queued_runs import queue_reasons
    from ml_assets.defs.operations.run_outcomes import job_label
    from ml_assets.defs.operations.run_process import Heartbeats

    record = instance.get_run_record_by_id(run.run_id)
    started = None if record is None else record.create_timestamp.astimezone()
    if record is not None and record.start_time is not None:
        started = datetime.fromtimestamp(record.start_time).astimezone()
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
        "since": "" if started is None else started.isoformat(sep=" ", timespec="minutes"),
        "where": where,
        "heartbeat_age_seconds": age,
        "waits_for": queue_reasons(instance).get(run.run_id),
    }


def _chosen(instance: "dg.DagsterInstance", run_id: str) -> "dg.DagsterRun":
    from ml_assets.defs.operations.run_outcomes import job_label

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


def _end(instance: "dg.DagsterInstance", run: "dg.DagsterRun") -> str:
    """End a run; returns how it was ended.

    Raises:
        click.ClickException: when its process is alive on another machine.
    """
    from ml_assets.defs.operations.orphaned_runs import liveness_of, process_of
    from ml_assets.defs.operations.run_process import STALE_HEARTBEAT_SECONDS, Heartbeats, Liveness

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


def stop(instance: "dg.DagsterInstance", run: "dg.DagsterRun", pid: int) -> str:
    """Cancel a run whose process is on this machine, and wait for its end; returns how it ended.

    Raises:
        click.ClickException: when the process may not be interrupted, or does not end.
    """
    instance.report_run_canceling(run)
    try:
        os.kill(pid, signal.SIGINT)
    except ProcessLookupError:  # it has just ended
        pass
    except PermissionError as error:
        raise click.ClickException(
            f"process {pid} of run {run.run_id} belongs to another user: end it as that user"
        ) from error
    limit = time.monotonic() + END_SECONDS
    while time.monotonic() < limit:
        now = instance.get_run_by_id(run.run_id)
        if now is None or now.is_finished:
            return f"its process {pid} was interrupted"
        time.sleep(0.2)
    raise click.ClickException(
        f"process {pid} of run {run.run_id} has not ended within {END_SECONDS:.0f} s after its "
        f"interruption: kill it (kill -9 {pid}), and the next command ends the run"
    )
