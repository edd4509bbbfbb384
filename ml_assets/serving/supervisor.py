"""A process beside the server, started again whenever it ends.

It is told to end by the end of its standard input, which comes however the server dies.
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
"""Seconds before it is started again: doubled from one to the other."""

_STEADY_SECONDS = 30.0
"""One that lived so long is started again without delay."""

_END_SECONDS = 3.0


class SupervisedSidecar:
    """Keeps a process running.

    Args:
        command: What to run.
        environment: Its variables.

    Attributes:
        process: The one that runs now, or ran last; None before the first.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = command, environment
        self._task: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None

    def start(self) -> None:
        """Start it, and again whenever it ends."""
        self._task = asyncio.create_task(self._keep_running())

    async def stop(self) -> None:
        """End it, and start it no more."""
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
                _LOGGER.warning("the registry cannot be watched: %s", error)
            if time.monotonic() - begun > _STEADY_SECONDS:
                wait = FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _run(self) -> None:
        # A session of its own: Ctrl-C in a terminal is for the server, which ends this one.
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env=dict(self._environment),
            start_new_session=True,
        )
        status = await self.process.wait()
        _LOGGER.warning("what watches the registry ended with status %s: it is restarted", status)
