"""The processes of ``ml-assets dev``: started again when they die, and stopped with it.

``dagster dev`` starts the UI, the daemon and the code server. It restarts only the code server: at
the death of another it ends with a traceback, and the runs that were launched go on without it.
"""

import logging
import subprocess
import time
from collections.abc import Callable
from typing import Any

import click

MAX_RESTARTS = 3
"""Of one process within ``RESTART_SECONDS``: one that dies at once each time is not worth more."""

RESTART_SECONDS = 600.0

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
