"""The thread in which lists and explanations are computed, in steps between single requests.

Python runs one thread at a time. A single request takes less than a millisecond in the event loop,
a list of 10,000 more than a hundred. So lists are generators that yield after each part of a
millisecond of Python: they continue when no single request is in progress. Models release Python's
lock while they predict.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

Result = TypeVar("Result")
Steps = Generator[None, None, Result]
"""Work that yields where it may be interrupted, and returns its result."""

TURN_SECONDS: Final = 0.02
"""Time after which the next work gets its turn, so that short work does not wait for long."""

MAX_PAUSE_SECONDS: Final = 0.002
"""Time that a step waits for single requests at most: lists go on while there are always some."""


class SingleRequests:
    """Context manager of the event loop around each single request in progress."""

    def __init__(self) -> None:
        self._count = 0
        self._none = threading.Event()
        self._none.set()

    def __enter__(self) -> None:
        self._count += 1
        if self._count == 1:
            self._none.clear()

    def __exit__(self, *error: object) -> None:
        self._count -= 1
        if not self._count:
            self._none.set()

    def wait(self) -> None:
        """Wait in another thread until none is in progress, or for ``MAX_PAUSE_SECONDS``."""
        self._none.wait(MAX_PAUSE_SECONDS)


@dataclass(frozen=True)
class _Work(Generic[Result]):
    steps: Steps[Result]
    future: "Future[Result]"

    def run(self, singles: SingleRequests) -> bool:
        """Run steps for a turn; returns whether there are more."""
        end = time.perf_counter() + TURN_SECONDS
        try:
            while time.perf_counter() < end:
                singles.wait()
                if self.future.cancelled():
                    self.steps.close()
                    return False
                next(self.steps)
        except StopIteration as finished:
            if self.future.set_running_or_notify_cancel():
                self.future.set_result(finished.value)
            return False
        except Exception as error:  # noqa: BLE001 - raised where the result is awaited
            if self.future.set_running_or_notify_cancel():
                self.future.set_exception(error)
            return False
        return True


class ListThread:
    """Runs work in one thread, in turns of ``TURN_SECONDS``.

    Attributes:
        singles: The event loop enters it for each single request, and no step begins meanwhile.
    """

    def __init__(self) -> None:
        self.singles = SingleRequests()
        self._waiting: deque[_Work[Any]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def submit(self, steps: Steps[Result]) -> "asyncio.Future[Result]":
        """Queue work of the event loop; if the future is cancelled, it ends after its step."""
        future: Future[Result] = Future()
        with self._changed:
            self._waiting.append(_Work(steps, future))
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lists", daemon=True)
                self._thread.start()
        return asyncio.wrap_future(future)

    def shutdown(self) -> None:
        """Finish the queued work, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            if work.run(self.singles):
                with self._changed:
                    self._waiting.append(work)

    def _next(self) -> _Work[Any] | None:
        with self._changed:
            while not self._waiting:
                if self._closing:
                    return None
                self._changed.wait()
            return self._waiting.popleft()


def run_at_once(steps: Steps[Result]) -> Result:
    """Run all steps in the current thread."""
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            result: Result = finished.value
            return result
