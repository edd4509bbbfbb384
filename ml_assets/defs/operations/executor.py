"""An in-process executor that tags the run with its process and keeps a heartbeat."""

import _thread
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg

from ml_assets.defs.automation import run_reason_of
from ml_assets.defs.operations.run_process import Heartbeats, process_tags
from ml_assets.storage.leftovers import process_folder


class TaggingExecutor(dg.Executor):
    """Tags the run and keeps its heartbeat; delegates everything else to another executor."""

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    @property
    def retries(self) -> Any:
        """The inner executor's retry mode."""
        return self._inner.retries

    @property
    def step_dependency_config(self) -> Any:
        """The inner executor's configuration."""
        return self._inner.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Tag the run, log why it was started, then execute its steps."""
        instance, run_id = plan_context.instance, plan_context.run_id
        with (
            process_folder(),
            Heartbeats.of(instance).beating(run_id),
            dropped_interrupts_repeated(),
        ):
            instance.add_run_tags(run_id, process_tags(run_id))
            log_reason(instance, plan_context.dagster_run)
            yield from self._inner.execute(plan_context, execution_plan)


@contextlib.contextmanager
def dropped_interrupts_repeated() -> Iterator[None]:
    """Send this process an interrupt again when Python dropped it.

    Python prints, and does not raise, an exception inside a finalizer, a weak reference's callback
    or a C library's callback. An interrupt that arrives there would leave the run going.
    """
    report = sys.unraisablehook

    def repeat(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, (dg.DagsterExecutionInterruptedError, KeyboardInterrupt)):
            # Not threading.Thread: the collector may run while this thread holds its lock.
            _thread.start_new_thread(_interrupt_soon, ())
        else:
            report(dropped)

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = report


def _interrupt_soon() -> None:
    time.sleep(0.1)  # until the callback has ended
    os.kill(os.getpid(), signal.SIGINT)


def log_reason(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Log why the run was started, since its page shows tags only on request."""
    instance.report_engine_event(f"Started because: {run_reason_of(run.tags)}", run)


@dg.executor(
    name=dg.in_process_executor.name,
    config_schema=dg.in_process_executor.config_schema.as_field(),
)
def tagged_in_process_executor(init_context: dg.InitExecutorContext) -> dg.Executor:
    """Execute all steps in the run's own process and record that process in the run's tags.

    Dagster's launcher for one machine monitors the processes that it starts only as long as their
    code server lives; ``fail_orphaned_runs`` uses these tags and the heartbeat instead.
    """
    create: Any = dg.in_process_executor.executor_creation_fn
    return TaggingExecutor(create(init_context))
