"""Steps of a run side by side in its own process: one that uses one core, one that uses all.

Dagster's in-process executor leaves the other cores idle while a single-threaded family fits, and
its multiprocess executor imports MLflow, scikit-learn and the rest once for each step, which takes
longer than most steps. Here the steps that are tagged with :data:`CORES_TAG` run in threads: the
libraries that they spend their time in release Python's lock.
"""

import contextlib
import contextvars
import ctypes
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
    _trigger_hook,
    dagster_event_sequence_for_step,
)
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._utils.interrupts import pop_captured_interrupt

from ml_assets.training.cores import on_one_core

CORES_TAG: Final = "ml_assets/cores"
"""Tag of a step that may run beside another: ``one`` or ``all``, the cores that it uses."""

_ONE_OF_EACH = [{"key": CORES_TAG, "value": used, "limit": 1} for used in ("one", "all")]
_POLL_SECONDS = 0.1
"""Interval at which an interrupt is noticed while steps run in threads."""


def cores(used: Literal["one", "all"]) -> dict[str, str]:
    """Return the tags of an asset's or a check's op whose step may run beside another.

    Args:
        used: Whether it keeps one core busy, or all. One step of each kind runs at a time.
    """
    return {CORES_TAG: used}


def execute_side_by_side(job_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
    """Execute the steps of a plan in this process; an ``iterator`` of Dagster's executors.

    At most one tagged step of each kind runs in a thread, and one step without a tag in this
    thread. An interrupt ends all of them.

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
            while not active.is_complete:
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
        finally:
            threads.stop()


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
    """Execute a step and its hooks."""
    events = []
    for event in dagster_event_sequence_for_step(step_context):
        events.append(event)
        yield event
    yield from _trigger_hook(step_context, events)


class _StepThreads:
    """The steps that run in threads, and their events that were not yet handed over."""

    def __init__(self) -> None:
        self.running: dict[str, threading.Thread] = {}
        self._ended: list[str] = []
        self._queue: queue.SimpleQueue[dg.DagsterEvent | BaseException | str] = queue.SimpleQueue()

    def start(self, step_context: Any) -> None:
        """Execute a step in a thread of its own."""
        key = step_context.step.key
        # The copy keeps what context variables say, such as who watches the progress.
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._execute, step_context), name=key)
        self.running[key] = thread
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
            try:
                found = self._queue.get(block=wait > 0, timeout=wait or None)
            except queue.Empty:
                return
            wait = 0.0
            if isinstance(found, BaseException):
                raise found
            if isinstance(found, str):
                self.running.pop(found).join()
                self._ended.append(found)
            else:
                yield found

    def take_ended(self) -> list[str]:
        """Return the steps whose last event was handed over since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        """Interrupt the steps that still run, and wait until they have cleaned up."""
        self._interrupt()
        while any(thread.is_alive() for thread in self.running.values()):
            time.sleep(_POLL_SECONDS)
            # Again when Python dropped the exception (see dropped_interrupts_repeated).
            if pop_captured_interrupt():
                self._interrupt()

    def _interrupt(self) -> None:
        for thread in self.running.values():
            if thread.is_alive():
                # Python's only way to raise an exception in another thread, at its next bytecode,
                # which is when this thread would receive an interrupt, too.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident or 0),
                    ctypes.py_object(DagsterExecutionInterruptedError),
                )

    def _execute(self, step_context: Any) -> None:
        one_core = step_context.step.tags[CORES_TAG] == "one"
        try:
            with on_one_core() if one_core else contextlib.nullcontext():
                for event in _step_events(step_context):
                    self._queue.put(event)
            self._queue.put(step_context.step.key)
        except BaseException as error:  # noqa: BLE001 - raised again in the run's own thread
            self._queue.put(error)
