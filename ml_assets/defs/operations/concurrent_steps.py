"""Steps of a run side by side in its own process: one that uses one core, one that uses all.

Dagster's in-process executor leaves the other cores idle while a single-threaded family fits, and
its multiprocess executor imports MLflow, scikit-learn and the rest once for each step, which takes
longer than most steps. Here the steps that are tagged with :data:`CORES_TAG` run in threads: the
libraries that they spend their time in release Python's lock.
"""

import contextlib
import contextvars
import ctypes
import logging
import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Final, Literal

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.plan.execute_plan import (
    _handle_compute_log_setup_error,
    _handle_compute_log_teardown_error,
    _trigger_hook,
    dagster_event_sequence_for_step,
)
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._utils.interrupts import pop_captured_interrupt

from ml_assets.config.cores import on_one_core

CORES_TAG: Final = "ml_assets/cores"
"""Tag of a step that may run beside another: ``one`` or ``all``, the cores that it uses."""

_ONE_OF_EACH = [{"key": CORES_TAG, "value": used, "limit": 1} for used in ("one", "all")]
_POLL_SECONDS = 0.1
"""Interval at which an interrupt is noticed while steps run in threads."""

_STOP_SECONDS = 60
"""Time for interrupted steps to clean up. Run monitoring ends a run that does not stop within three
minutes, and says less about it."""

_NO_SWITCH_SECONDS = 60.0
_LOCKING = {(logging.__file__, name) for name in ("_acquireLock", "acquire", "handle")} | {
    (threading.__file__, name) for name in ("__enter__", "acquire", "wait", "_acquire_restore")
}
"""Functions of the standard library that take a lock in Python code."""


def cores(used: Literal["one", "all"]) -> dict[str, str]:
    """Return the tags of an asset's or a check's op whose step may run beside another.

    Args:
        used: Whether it keeps one core busy, or all. One step of each kind runs at a time. A step
            without the tag runs in the run's main thread, where nothing else is started until it
            has ended.
    """
    return {CORES_TAG: used}


def execute_side_by_side(job_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
    """Execute the steps of a plan in this process; an ``iterator`` of Dagster's executors.

    At most one tagged step of each kind runs in a thread, and one step without a tag in this
    thread; while that one runs, no other is started. An interrupt, or an error of Dagster itself
    in one step, ends all of them.

    Args:
        job_context: Dagster's execution context of the run.
        execution_plan: Its plan.

    Raises:
        DagsterExecutionInterruptedError: The run was interrupted.
    """
    instance = job_context.instance
    with (
        InstanceConcurrencyContext(instance, job_context.dagster_run) as pools,
        execution_plan.start(
            retry_mode=job_context.retry_mode,
            tag_concurrency_limits=_ONE_OF_EACH,
            instance_concurrency_context=pools,
            step_dependency_config=job_context.step_dependency_config,
        ) as active,
        contextlib.ExitStack() as captured,
    ):
        yield from _capture_output(job_context, execution_plan, captured)
        threads = _StepThreads()
        try:
            yield from _execute_all(job_context, active, threads)
        except GeneratorExit:
            threads.stop()
            raise
        except BaseException:
            for event in threads.stop():
                yield event
                active.handle_event(event)
            raise
        try:
            captured.close()
        except Exception:  # noqa: BLE001 - as in Dagster's own executors
            yield from _handle_compute_log_teardown_error(job_context, sys.exc_info())


def _execute_all(
    job_context: Any, active: Any, threads: "_StepThreads"
) -> Iterator[dg.DagsterEvent]:
    """Start steps as they become ready, and hand over the events of all."""
    while threads.running or not active.is_complete:
        if active.check_for_interrupts():
            active.mark_interrupted()
            raise DagsterExecutionInterruptedError
        # A step without a tag holds up those after it: start one at a time.
        steps = active.get_steps_to_execute(limit=1)
        yield from active.concurrency_event_iterator(job_context)
        for step in steps:
            context = job_context.for_step(step, active.get_known_state())
            if CORES_TAG in step.tags:
                threads.start(context)
                continue
            for event in _step_events(context):
                yield event
                active.handle_event(event)
            active.verify_complete(job_context, step.key)
        if not steps and not threads.running:
            active.sleep_til_ready()
        for event in threads.events(0.0 if steps else _POLL_SECONDS):
            yield event
            active.handle_event(event)
        for key in threads.take_ended():
            active.verify_complete(job_context, key)
        yield from active.plan_events_iterator(job_context)


def _capture_output(
    job_context: Any, execution_plan: Any, captured: contextlib.ExitStack
) -> Iterator[dg.DagsterEvent]:
    """Capture what the process prints until ``captured`` is closed; the run goes on without."""
    manager = job_context.instance.compute_log_manager
    keys = [step.key for step in execution_plan.get_steps_to_execute_in_topo_order()]
    file_key: str = create_compute_log_file_key()  # type: ignore[no-untyped-call]
    log_key = manager.build_log_key_for_run(job_context.run_id, file_key)
    try:
        files = captured.enter_context(manager.capture_logs(log_key))
        yield dg.DagsterEvent.capture_logs(job_context, keys, log_key, files)
    except Exception:  # noqa: BLE001 - a full disk, say; as in Dagster's own executors
        yield from _handle_compute_log_setup_error(job_context, sys.exc_info())


def _step_events(step_context: Any) -> Iterator[dg.DagsterEvent]:
    """Execute a step, then its hooks."""
    events = []
    for event in dagster_event_sequence_for_step(step_context):
        events.append(event)
        yield event
    yield from _trigger_hook(step_context, events)


class _StepThreads:
    """The steps that run in threads, and their events that were not yet handed over."""

    def __init__(self) -> None:
        self.running: dict[threading.Thread, str] = {}
        self._ended: list[str] = []
        self._queue: queue.SimpleQueue[dg.DagsterEvent | BaseException | threading.Thread] = (
            queue.SimpleQueue()
        )
        self._filled = threading.Lock()  # free after something was added to the queue
        self._filled.acquire()

    def start(self, step_context: Any) -> None:
        """Execute a step in a thread of its own."""
        # The copy keeps what context variables say, such as who watches the progress.
        context = contextvars.copy_context()
        # A daemon, so that a step that cannot be stopped does not keep the process.
        thread = threading.Thread(
            target=context.run, args=(self._execute, step_context), daemon=True
        )
        self.running[thread] = step_context.step.key
        thread.start()

    def events(self, seconds: float) -> Iterator[dg.DagsterEvent]:
        """Hand over the events so far; wait for the first while a step runs.

        Args:
            seconds: Longest wait.

        Raises:
            BaseException: A step raised it: an interrupt, or an error of Dagster itself.
        """
        wait = seconds if self.running else 0.0
        while True:
            # Not the queue's own time-out: after a signal that is handled later than it (another
            # thread holds Python's lock), CPython waits for ever.
            self._filled.acquire(blocking=wait > 0, timeout=wait or -1)
            try:
                found = self._queue.get_nowait()
            except queue.Empty:
                return
            wait = 0.0
            if isinstance(found, BaseException):
                raise found
            if isinstance(found, threading.Thread):
                found.join()
                self._ended.append(self.running.pop(found))
            else:
                yield found

    def take_ended(self) -> list[str]:
        """Return the steps whose last event was handed over since the last call.

        One that has already been started again, while the attempt before ran its hooks, is not
        returned.
        """
        ended, self._ended = self._ended, []
        return [key for key in ended if key not in self.running.values()]

    def stop(self) -> list[dg.DagsterEvent]:
        """Interrupt the steps that still run, and let them clean up.

        Returns:
            Their events. A step that computes in C, or waits, is interrupted when it returns; after
            ``_STOP_SECONDS`` it is left behind, and ends with the process.
        """
        pending = {*self.running}
        end = time.monotonic() + _STOP_SECONDS
        while (alive := [t for t in self.running if t.is_alive()]) and time.monotonic() < end:
            # Once each: the exception must not end the clean-up that it has caused. Again for all
            # when Python has dropped it (see dropped_interrupts_repeated), or on a second Ctrl-C.
            if pop_captured_interrupt():
                pending |= {*alive}
            pending -= {thread for thread in pending if not _interrupt(thread)}
            time.sleep(_POLL_SECONDS / 10)
        for thread in alive:
            print(f"{self.running[thread]} did not stop within {_STOP_SECONDS} s", file=sys.stderr)
        events = []
        with contextlib.suppress(queue.Empty):
            while True:
                if isinstance(found := self._queue.get_nowait(), dg.DagsterEvent):
                    events.append(found)
        return events

    def _execute(self, step_context: Any) -> None:
        one_core = step_context.step.tags[CORES_TAG] == "one"
        try:
            with on_one_core() if one_core else contextlib.nullcontext():
                for event in _step_events(step_context):
                    self._add(event)
            self._add(threading.current_thread())
        except BaseException as error:  # noqa: BLE001 - raised again in the run's own thread
            self._add(error)

    def _add(self, found: dg.DagsterEvent | BaseException | threading.Thread) -> None:
        self._queue.put(found)
        with contextlib.suppress(RuntimeError):  # free already
            self._filled.release()


def _interrupt(thread: threading.Thread) -> bool:
    """Raise the interruption in another thread, at its next bytecode.

    Not while it takes a lock in Python code, which it would then keep for ever: ``logging`` and
    ``threading`` are built to be interrupted by signals, which reach the main thread only.

    Returns:
        Whether it has to be tried again.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_NO_SWITCH_SECONDS)  # so that the thread stays where it is seen
    try:
        frame = sys._current_frames().get(thread.ident or 0)
        if frame and (frame.f_code.co_filename, frame.f_code.co_name) in _LOCKING:
            return True
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(DagsterExecutionInterruptedError)
        )
        return False
    finally:
        sys.setswitchinterval(interval)
