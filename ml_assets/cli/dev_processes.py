"""The processes of ``ml-assets dev``: started again when they die, and stopped with it.

``dagster dev`` starts the UI, the daemon and the code server. It restarts only the code server: at
the death of another it ends with a traceback, and the runs that were launched go on without it.
"""

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ml_assets.cli.next_steps import next_command
from ml_assets.config.settings import read_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

MAX_RESTARTS = 3
"""Of one process within ``RESTART_SECONDS``: one that dies at once each time is not worth more."""

RESTART_SECONDS = 600.0

STOP_SECONDS = 30.0
"""Time for launched runs to end after they were interrupted."""

_DAGSTERS_LINE = "An unexpected exception has occurred"


class SupervisedProcess:
    """A child process that is started again when it dies; in place of ``subprocess.Popen``.

    ``dagster dev`` polls its children every few seconds, and that is when a death is noticed.
    """

    def __init__(
        self,
        name: str,
        launch: Callable[[], "subprocess.Popen[Any]"],
        echo: Callable[[str], None] = click.echo,
    ) -> None:
        """Launch it.

        Args:
            name: How it is called in messages.
            launch: Starts the process.
            echo: Prints a line.
        """
        self._name, self._launch, self._echo = name, launch, echo
        self._process = launch()
        self._restarts: list[float] = []
        self.failure: str | None = None

    @property
    def pid(self) -> int:
        """Number of the process that runs now."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status of the process, as ``subprocess`` has it; None while it runs."""
        return self._process.returncode

    def poll(self) -> int | None:
        """Start the process again if it has died; its exit status when it dies too often."""
        status = self._process.poll()
        if status is None or self.failure is not None:
            return status
        now = time.monotonic()
        self._restarts = [then for then in self._restarts if now - then < RESTART_SECONDS]
        if len(self._restarts) >= MAX_RESTARTS:
            self.failure = (
                f"{self._name} {describe_exit(status)} for the {MAX_RESTARTS + 1}th time within "
                f"{RESTART_SECONDS / 60:.0f} minutes: its last lines above say why"
            )
            return status
        self._restarts.append(now)
        self._process = self._launch()
        self._echo(
            f"{self._name} {describe_exit(status)}: it is started again "
            f"({len(self._restarts)} of {MAX_RESTARTS})"
        )
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process that runs now."""
        return self._process.wait(timeout)

    def kill(self) -> None:
        """Kill the process that runs now."""
        self._process.kill()


def describe_exit(status: int) -> str:
    """How a process ended, by the exit status that ``subprocess`` gives."""
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def hide_dagsters_traceback() -> None:
    """Keep the traceback of ``dagster dev`` off the terminal: one line says what has ended."""
    logging.getLogger("dagster").addFilter(lambda record: record.msg != _DAGSTERS_LINE)


def stop_launched_runs(
    instance: "DagsterInstance", since: datetime, echo: Callable[[str], None]
) -> None:
    """Interrupt the runs that were launched from the UI or by the daemon, and say what becomes.

    Ctrl-C in a terminal reaches them as well; a signal to ``ml-assets dev`` alone does not. Runs of
    commands (``ml-assets run``) are left alone.

    Args:
        instance: Where the runs are.
        since: When ``ml-assets dev`` was interrupted.
        echo: Prints a line on each run.
    """
    from dagster import DagsterRunStatus

    from ml_assets.defs.operations.orphaned_runs import IN_PROGRESS, process_of
    from ml_assets.defs.operations.run_outcomes import job_label
    from ml_assets.defs.operations.run_process import Liveness

    launched = {run.run_id: run for run in _launched(instance, IN_PROGRESS)}
    stopped = {run.run_id: run for run in _launched(instance, (DagsterRunStatus.FAILURE,), since)}
    limit = time.monotonic() + STOP_SECONDS
    interrupted: set[int] = set()
    with contextlib.suppress(KeyboardInterrupt):  # once more: what still runs is handed over
        while launched and time.monotonic() < limit:
            for run_id in list(launched):
                run = instance.get_run_by_id(run_id)
                if run is None or run.is_finished:
                    launched.pop(run_id)
                    if run is not None and run.status == DagsterRunStatus.FAILURE:
                        stopped[run_id] = run
                    continue
                process = process_of(instance, run)  # None until it has begun
                if process is None or process.pid in interrupted:
                    continue
                if process.liveness() is Liveness.ALIVE:
                    with contextlib.suppress(ProcessLookupError):  # it ends in this moment
                        os.kill(process.pid, signal.SIGINT)
                    interrupted.add(process.pid)
            time.sleep(0.2)
    for run in stopped.values():
        echo(
            f"run {run.run_id} ({job_label(run)}) was stopped; what it finished is kept, and the "
            "next `ml-assets dev` goes on with it"
        )
    hand_over_runs(instance, echo)


def hand_over_runs(instance: "DagsterInstance", echo: Callable[[str], None]) -> None:
    """Say which runs go on without ``ml-assets dev``, and which wait for the next one."""
    from dagster import DagsterRunStatus

    from ml_assets.defs.operations.orphaned_runs import IN_PROGRESS
    from ml_assets.defs.operations.run_outcomes import job_label

    for run in _launched(instance, IN_PROGRESS):
        end = next_command(read_settings(), f"runs end {run.run_id[:8]}")
        echo(f"run {run.run_id} ({job_label(run)}) goes on by itself; to end it: {end}")
    queued = len(_launched(instance, (DagsterRunStatus.QUEUED,)))
    if queued:
        runs = "1 queued run waits" if queued == 1 else f"{queued} queued runs wait"
        echo(f"{runs} for the next `ml-assets dev`")


def _launched(
    instance: "DagsterInstance",
    statuses: "Collection[DagsterRunStatus]",
    since: datetime | None = None,
) -> "list[DagsterRun]":
    """Runs that a code server has launched, or is to launch."""
    from dagster import RunsFilter

    asked = RunsFilter(statuses=list(statuses), updated_after=since)
    return [run for run in instance.get_runs(asked) if run.remote_job_origin is not None]
