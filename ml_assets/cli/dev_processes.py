"""The processes of ``ml-assets dev``: restarted when they die, and stopped with it.

``dagster dev`` starts the UI, the daemon and the code server. It restarts only the code server; if
another one dies it ends with a traceback, and launched runs continue without it.
"""

import contextlib
import logging
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ml_assets.cli.command_lines import next_command
from ml_assets.config.settings import read_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

MAX_RESTARTS = 3
"""Maximum number of restarts of a process within ``RESTART_SECONDS``."""

RESTART_SECONDS = 600.0

STOP_SECONDS = 30.0
"""Time for launched runs to end after they were interrupted."""
REPEAT_SECONDS = 8.0
"""Until a run that continues is interrupted once more: Python drops an interrupt that arrives while
the garbage collector runs a callback."""

_DAGSTERS_LINE = "An unexpected exception has occurred"


class SupervisedProcess:
    """A child process that is restarted when it dies; replaces ``subprocess.Popen``.

    ``dagster dev`` polls its children every few seconds, which detects the death.
    """

    def __init__(
        self,
        name: str,
        launch: Callable[[], "subprocess.Popen[Any]"],
        echo: Callable[[str], None] = click.echo,
    ) -> None:
        """Launch the process.

        Args:
            name: Its name in messages.
            launch: Starts the process.
            echo: Prints a line.
        """
        self._name, self._launch, self._echo = name, launch, echo
        self._process = launch()
        self._restarts: list[float] = []
        self.failure: str | None = None

    @property
    def pid(self) -> int:
        """Id of the current process."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status of the process, as in ``subprocess``; None while it runs."""
        return self._process.returncode

    def poll(self) -> int | None:
        """Restart the process if it has died; return its exit status when it dies too often."""
        status = self._process.poll()
        if status is None or self.failure is not None:
            return status
        now = time.monotonic()
        self._restarts = [then for then in self._restarts if now - then < RESTART_SECONDS]
        if len(self._restarts) >= MAX_RESTARTS:
            self.failure = (
                f"{self._name} {describe_exit(status)} for the {MAX_RESTARTS + 1}th time within "
                f"{RESTART_SECONDS / 60:.0f} minutes: see its last lines above"
            )
            return status
        self._restarts.append(now)
        self._process = self._launch()
        self._echo(
            f"{self._name} {describe_exit(status)}: restarting it "
            f"({len(self._restarts)} of {MAX_RESTARTS})"
        )
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the current process."""
        return self._process.wait(timeout)

    def kill(self) -> None:
        """Kill the current process."""
        self._process.kill()


def describe_exit(status: int) -> str:
    """Describe how a process ended, by its exit status in ``subprocess``."""
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def hide_dagsters_traceback() -> None:
    """Hide the traceback of ``dagster dev``: one line says what has ended."""
    logging.getLogger("dagster").addFilter(lambda record: record.msg != _DAGSTERS_LINE)


def stop_launched_runs(
    instance: "DagsterInstance", since: datetime, echo: Callable[[str], None]
) -> None:
    """Interrupt the runs that were launched by the UI or the daemon, and report their outcome.

    Ctrl-C in a terminal reaches them as well; a signal to ``ml-assets dev`` does not. Runs of
    commands (``ml-assets run``) are left alone.

    Args:
        instance: The Dagster instance.
        since: When ``ml-assets dev`` was interrupted.
        echo: Prints a line about each run.
    """
    from dagster import DagsterRunStatus

    from ml_assets.defs.operations.orphaned_runs import IN_PROGRESS, process_of
    from ml_assets.defs.operations.run_outcomes import job_label
    from ml_assets.defs.operations.run_process import Liveness

    launched = {run.run_id: run for run in _launched(instance, IN_PROGRESS)}
    stopped = {run.run_id: run for run in _launched(instance, (DagsterRunStatus.FAILURE,), since)}
    limit = time.monotonic() + STOP_SECONDS
    interrupted: dict[int, float] = {}
    with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C leaves runs in progress
        while launched and time.monotonic() < limit:
            for run_id in list(launched):
                run = instance.get_run_by_id(run_id)
                if run is None or run.is_finished:
                    launched.pop(run_id)
                    if run is not None and run.status == DagsterRunStatus.FAILURE:
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


def hand_over_runs(instance: "DagsterInstance", echo: Callable[[str], None]) -> None:
    """Report the runs that continue without ``ml-assets dev``, and those that wait for the next."""
    from dagster import DagsterRunStatus

    from ml_assets.defs.operations.orphaned_runs import IN_PROGRESS
    from ml_assets.defs.operations.run_outcomes import job_label

    for run in _launched(instance, IN_PROGRESS):
        end = next_command(read_settings(), f"runs end {run.run_id[:8]}")
        echo(f"run {run.run_id} ({job_label(run)}) continues in the background; to end it: {end}")
    queued = len(_launched(instance, (DagsterRunStatus.QUEUED,)))
    if queued:
        runs = "1 queued run waits" if queued == 1 else f"{queued} queued runs wait"
        echo(f"{runs} for the next `ml-assets dev`")


def _launched(
    instance: "DagsterInstance",
    statuses: "Collection[DagsterRunStatus]",
    since: datetime | None = None,
) -> "list[DagsterRun]":
    """Return the runs that a code server has launched or will launch."""
    from dagster import RunsFilter

    filters = RunsFilter(statuses=list(statuses), updated_after=since)
    return [run for run in instance.get_runs(filters) if run.remote_job_origin is not None]
