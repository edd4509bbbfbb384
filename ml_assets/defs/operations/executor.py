"""The executor: in process, steps side by side, with a heartbeat and the process in run tags."""

import _thread
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._core.events import EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.executor.in_process import InProcessExecutor
from dagster._utils.timing import time_execution_scope
from dagster_shared.utils.timing import format_duration

from ml_assets.config.cores import available_cores
from ml_assets.config.settings import read_settings
from ml_assets.defs.operations.concurrent_steps import execute_side_by_side
from ml_assets.defs.operations.run_process import Heartbeats, process_tags
from ml_assets.defs.operations.run_tags import run_reason_of
from ml_assets.storage.leftovers import process_folder


class TaggedInProcessExecutor(InProcessExecutor):
    """Dagster's in-process executor, with the run's process recorded and steps side by side."""

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Tag the run with its process, log why it was started, then execute its steps."""
        instance, run_id = plan_context.instance, plan_context.run_id
        with (
            process_folder(),
            Heartbeats.of(instance).beating(run_id),
            dropped_interrupts_repeated(),
        ):
            instance.add_run_tags(run_id, process_tags(run_id))
            log_reason(instance, plan_context.dagster_run)
            if read_settings().side_by_side == "off" or available_cores() == 1:
                yield from super().execute(plan_context, execution_plan)
            else:
                yield from self._execute_side_by_side(plan_context, execution_plan)

    def _execute_side_by_side(
        self, plan_context: Any, execution_plan: Any
    ) -> Iterator[dg.DagsterEvent]:
        """Execute like ``InProcessExecutor.execute``, with steps side by side."""
        process = EngineEventData.in_process(os.getpid(), execution_plan.step_keys_to_execute)
        message = f"Executing steps in process (pid: {os.getpid()}), some side by side"
        yield dg.DagsterEvent.engine_event(plan_context, message, process)
        with time_execution_scope() as timer:
            contexts = PlanExecutionContextManager(
                job=plan_context.job,
                retry_mode=plan_context.retry_mode,
                execution_plan=plan_context.execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
                step_dependency_config=self.step_dependency_config,
            )
            yield from ExecuteRunWithPlanIterable(execution_plan, execute_side_by_side, contexts)
        message = f"Finished steps in process in {format_duration(timer.millis)}"
        yield dg.DagsterEvent.engine_event(plan_context, message, process)


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
    """Execute all steps in the run's own process, some side by side, and tag the run with it.

    Dagster's launcher for one machine monitors the processes that it starts only as long as their
    code server lives; ``fail_orphaned_runs`` uses these tags and the heartbeat instead.
    """
    create: Any = dg.in_process_executor.executor_creation_fn
    inner = create(init_context)
    return TaggedInProcessExecutor(inner.retries, inner.step_dependency_config)
