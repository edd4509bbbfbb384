"""Steps side by side in the process of a run."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.decorators.hook_decorator import event_list_hook
from dagster._core.definitions.events import HookExecutionResult

from ml_assets.defs.operations.concurrent_steps import cores
from ml_assets.defs.operations.executor import tagged_in_process_executor
from ml_assets.progress import TrialEnded, report, watching
from ml_assets_tests.conftest import REPOSITORY, inherited_environment


class Steps:
    """The steps that run now, by the kind of their tag, and how many did at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.running: list[str] = []
        self.seen: list[tuple[str, ...]] = []

    @contextmanager
    def step(self, kind: str) -> Iterator[None]:
        with self._lock:
            self.running.append(kind)
            self.seen.append(tuple(sorted(self.running)))
        try:
            yield
        finally:
            with self._lock:
                self.running.remove(kind)


STEPS = Steps()
MEETING = threading.Barrier(2)


@pytest.fixture(autouse=True)
def fresh():
    STEPS.running.clear()
    STEPS.seen.clear()
    MEETING.reset()


@dg.op(tags=cores("one"))
def meets_on_one_core() -> int:
    MEETING.wait(60)
    report(TrialEnded("one", 1.0))
    return 1


@dg.op(tags=cores("all"))
def meets_on_all_cores() -> int:
    MEETING.wait(60)
    return 2


@dg.op
def add(a: int, b: int) -> None:
    assert threading.current_thread() is threading.main_thread()
    assert (a, b) == (1, 2)


@dg.job(executor_def=tagged_in_process_executor)
def meeting():
    add(meets_on_one_core(), meets_on_all_cores())


def counted(name, kind, **options):
    @dg.op(name=name, tags=cores(kind), **options)
    def step() -> None:
        with STEPS.step(kind):
            time.sleep(0.2)

    return step


@dg.job(executor_def=tagged_in_process_executor)
def three_of_each():
    for number in range(3):
        counted(f"one_{number}", "one")()
        counted(f"all_{number}", "all")()


@dg.op(tags=cores("one"), out=dg.Out(dg.Nothing))
def failing() -> None:
    raise dg.Failure("no trips")


@dg.op(ins={"after": dg.In(dg.Nothing)})
def after_failing() -> None:
    """Does not run."""


@dg.job(executor_def=tagged_in_process_executor)
def one_fails():
    after_failing(failing())
    counted("another", "all")()


ATTEMPTS: list[int] = []
HOOKS: list[str] = []


@dg.success_hook
def slow_after_success(context: dg.HookContext) -> None:
    time.sleep(0.3)
    HOOKS.append(f"success of {context.op.name}")


@dg.failure_hook
def slow_after_failure(context: dg.HookContext) -> None:
    time.sleep(0.3)
    HOOKS.append(f"failure of {context.op.name}")


@event_list_hook
def slow_after_each_attempt(context: dg.HookContext, event_list: Any) -> HookExecutionResult:
    time.sleep(0.3)
    HOOKS.append("attempt")
    return HookExecutionResult("slow_after_each_attempt")


HOOKED = {slow_after_success, slow_after_failure}


@dg.op(tags=cores("one"), retry_policy=dg.RetryPolicy(max_retries=1))
def succeeding_at_last() -> None:
    ATTEMPTS.append(1)
    if len(ATTEMPTS) == 1:
        raise ConnectionError("try again")


@dg.job(executor_def=tagged_in_process_executor, hooks={*HOOKED, slow_after_each_attempt})
def retried():
    succeeding_at_last()


@dg.job(executor_def=tagged_in_process_executor, hooks=HOOKED)
def failing_last():
    failing()


def execute(job, instance):
    return dg.execute_job(dg.reconstructable(job), instance, raise_on_error=False)


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def test_a_step_of_one_core_runs_beside_one_of_all_and_both_before_what_needs_them(instance):
    seen = []
    with watching(seen.append):
        assert execute(meeting, instance).success
    assert seen == [TrialEnded("one", 1.0)]


def test_only_one_step_of_each_kind_runs_at_a_time(instance):
    assert execute(three_of_each, instance).success
    assert {*STEPS.seen} <= {("one",), ("all",), ("all", "one")}
    assert len(STEPS.seen) == 6


def test_side_by_side_can_be_turned_off(instance, monkeypatch):
    monkeypatch.setenv("ML_ASSETS_SIDE_BY_SIDE", "off")
    assert execute(three_of_each, instance).success
    assert {*STEPS.seen} == {("one",), ("all",)}


def test_a_failed_step_does_not_stop_the_one_beside_it(instance):
    result = execute(one_fails, instance)
    assert not result.success
    ended = {event.step_key: event.event_type_value for event in result.all_events
             if event.is_step_success or event.is_step_failure or event.is_step_skipped}  # fmt: skip
    assert ended == {"failing": "STEP_FAILURE", "another": "STEP_SUCCESS"}
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data.description == "no trips"


def test_a_step_in_a_thread_is_retried_at_once_and_its_hook_runs_to_its_end(instance):
    ATTEMPTS.clear()
    HOOKS.clear()
    result = execute(retried, instance)
    assert result.success
    assert len(ATTEMPTS) == 2
    assert sorted(HOOKS) == ["attempt", "attempt", "success of succeeding_at_last"]
    assert "HOOK_COMPLETED" in {event.event_type_value for event in result.all_events}


def test_the_hook_of_a_last_step_that_fails_runs_to_its_end(instance):
    HOOKS.clear()
    assert not execute(failing_last, instance).success
    assert HOOKS == ["failure of failing"]


@dg.op(tags=cores("all"))
def interrupts_its_run() -> None:
    for number in (signal.SIGALRM, signal.SIGINT):
        time.sleep(0.5)
        os.kill(os.getpid(), number)
    for _ in range(50):
        time.sleep(0.1)
    with STEPS.step("reached its end"):
        pass


@dg.job(executor_def=tagged_in_process_executor)
def interrupted():
    interrupts_its_run()


def test_an_interrupt_after_a_signal_that_was_handled_late_is_noticed(instance):
    # Late: after the time-out of the wait that it has ended, as while another thread imports.
    before = signal.signal(signal.SIGALRM, lambda *_: time.sleep(0.3))
    try:
        assert not execute(interrupted, instance).success
        assert STEPS.seen == []
    finally:
        signal.signal(signal.SIGALRM, before)


INTERRUPTED = r"""
import logging, os, sys, time
import dagster as dg
from ml_assets.defs.operations.concurrent_steps import cores
from ml_assets.defs.operations.executor import tagged_in_process_executor

def sleep():
    time.sleep(0.1)

def log():
    LOGGER.warning("one of many lines")

LOGGER = logging.getLogger("many_lines")
LOGGER.propagate = False
LOGGER.addHandler(logging.StreamHandler(open(os.devnull, "w")))
WORK = {"sleep": sleep, "log": log}[sys.argv[2]]

def step(kind):
    @dg.op(name=kind, tags=cores(kind))
    def work() -> None:
        try:
            sys.stdout.reconfigure(line_buffering=True)
            sys.stdout.write(f"{kind} started\n")
            end = time.monotonic() + 120
            while time.monotonic() < end:
                WORK()
            sys.stdout.write("was not interrupted\n")
        finally:
            LOGGER.warning("the lock of the handler is free")
            sys.stdout.write(f"{kind} cleaned up\n")
    return work

@dg.job(executor_def=tagged_in_process_executor)
def two():
    step("one")()
    step("all")()

if __name__ == "__main__":
    with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
        dg.execute_job(dg.reconstructable(two), instance=instance, raise_on_error=False)
"""


@pytest.mark.parametrize(
    ("work", "sent"), [("sleep", signal.SIGINT), ("sleep", signal.SIGTERM), ("log", signal.SIGINT)]
)
def test_an_interrupt_ends_both_steps_after_they_have_cleaned_up(tmp_path, work, sent):
    module = tmp_path / "worker.py"
    module.write_text(INTERRUPTED)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    worker = subprocess.Popen(
        [sys.executable, module, tmp_path, work], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL, env={**inherited_environment(), "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    logs = tmp_path / "storage"

    def printed() -> str:
        return "".join(path.read_text() for path in logs.rglob("*.out"))

    end = time.monotonic() + 120
    while printed().count("started") < 2 and time.monotonic() < end:
        time.sleep(0.1)
    worker.send_signal(sent)
    worker.wait(50)  # less than a step has before it is left behind
    assert {*printed().splitlines()} == {
        f"{kind} {what}" for kind in ("one", "all") for what in ("started", "cleaned up")
    }
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.FAILURE
        failed = {step.step_key for step in instance.get_run_step_stats(run.run_id)
                  if step.status.value == "FAILURE"}  # fmt: skip
        assert failed == {"one", "all"}
