"""A sidecar process of the server, restarted whenever it exits.

It exits when its standard input is closed, which happens however the server ends.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

_LOGGER = logging.getLogger(__name__)
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
"""Seconds before a restart: the delay is doubled each time, up to the longest."""

_STEADY_SECONDS = 30.0
"""The delay is reset after a process that ran for this long."""

_END_SECONDS = 3.0


class SupervisedSidecar:
    """Keeps a sidecar process running.

    Args:
        command: Command line of the process.
        environment: Environment variables of the process.

    Attributes:
        process: Current process, or the last one; None before the first start.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = command, environment
        self._task: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None

    def start(self) -> None:
        """Start the process, and restart it whenever it exits."""
        self._task = asyncio.create_task(self._keep_running())

    async def stop(self) -> None:
        """End the process and do not restart it."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self.process is None or self.process.returncode is not None:
            return
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), _END_SECONDS)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    async def _keep_running(self) -> None:
        wait = FIRST_WAIT
        while True:
            begun = time.monotonic()
            try:
                await self._run()
            except OSError as error:
                _LOGGER.warning("the registry watcher cannot be started: %s", error)
            if time.monotonic() - begun > _STEADY_SECONDS:
                wait = FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _run(self) -> None:
        # In a separate session: Ctrl-C in a terminal reaches the server, which ends the sidecar.
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env=dict(self._environment),
            start_new_session=True,
        )
        status = await self.process.wait()
        _LOGGER.warning("the registry watcher exited with status %s and is restarted", status)
