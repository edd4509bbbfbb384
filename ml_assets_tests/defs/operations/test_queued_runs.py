"""Queued runs explain what they wait for, and ingestion does not wait for training."""

import json
import logging
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from functools import partial

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.execution.api import create_execution_plan
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)

from ml_assets.cli.instance import DAGSTER_YAML
from ml_assets.cli.runs import hand_over_runs, stop_launched_runs
from ml_assets.defs.common import INGESTION_POOL, TRAINING_POOL
from ml_assets.defs.operations.queued_runs import (
    DAEMON,
    QUEUE_REASON_TAG,
    queue_reasons,
    queued_runs_sensor,
    set_pool_limits,
)
from ml_assets.defs.operations.run_outcomes import job_label
from ml_assets.defs.operations.run_process import RunProcess

TRAINING, STARTED = "train_models", dg.DagsterRunStatus.STARTED


CODE = RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin("localhost", 1), "__repository__")


def job(name, pool=None):
    @dg.op(name=f"{name}_op", pool=pool)
    def work() -> None: ...

    @dg.job(name=name)
    def built() -> None:
        work()

    return built


JOBS = {
    TRAINING: job(TRAINING, TRAINING_POOL),
    "ingest_trips": job("ingest_trips", INGESTION_POOL),
    "run_monitoring": job("run_monitoring"),
}


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "dagster.yaml").write_text(DAGSTER_YAML)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        set_pool_limits(instance)
        yield instance


def run_of(instance, name, status=None):
    """A run in this state; queued unless one is given."""
    run = instance.create_run_for_job(
        JOBS[name],
        create_execution_plan(JOBS[name]),
        status=status,
        remote_job_origin=RemoteJobOrigin(CODE, name),
    )
    if status is None:
        queued = DagsterEvent(DagsterEventType.PIPELINE_ENQUEUED.value, name)
        instance.report_dagster_event(queued, run_id=run.run_id)
    return run.run_id


def dequeued(instance):
    """Ids of the queued runs that Dagster's daemon would start now."""
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
    daemon._logger = logging.getLogger("queue")
    config = instance.get_concurrency_config()
    runs = daemon._get_runs_to_dequeue(instance, config, fixed_iteration_time=None)
    return [run.run_id for run in runs]


def tag_of(instance, run_id):
    return instance.get_run_by_id(run_id).tags.get(QUEUE_REASON_TAG)


def log_of(instance, run_id):
    return [entry.message for entry in instance.all_logs(run_id) if "waits for" in entry.message]


def test_ingestion_does_not_wait_for_a_training_and_a_second_training_does(instance):
    running = run_of(instance, TRAINING, STARTED)
    training, ingestion = run_of(instance, TRAINING), run_of(instance, "ingest_trips")
    assert dequeued(instance) == [ingestion]
    reasons = queue_reasons(instance)
    assert f"run {running[:8]} (train_models, running)" in reasons[training]
    assert "pool training" in reasons[training]
    assert reasons[ingestion] == DAEMON


@pytest.mark.parametrize(
    ("assets", "label"),
    [
        ("b a", "Materialize a, b"),
        ("e d c b a", "Materialize a, b, c and 2 more"),
        ("", "Materialize"),
    ],
)
def test_a_run_of_materialize_is_named_by_its_assets(assets, label):
    keys = frozenset(dg.AssetKey(name) for name in assets.split())
    assert job_label(dg.DagsterRun(job_name="__ASSET_JOB", asset_selection=keys)) == label
    assert job_label(dg.DagsterRun(job_name=TRAINING, asset_selection=keys)) == TRAINING


def test_a_limit_set_by_the_user_is_kept(instance):
    instance.event_log_storage.set_concurrency_slots(TRAINING_POOL, 3)
    set_pool_limits(instance)
    limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    assert limits == {TRAINING_POOL: 3, INGESTION_POOL: 1}


def test_a_run_without_a_pool_names_the_runs_that_fill_the_limit(instance):
    running = [run_of(instance, name, STARTED) for name in (TRAINING, "ingest_trips")]
    waiting = run_of(instance, "run_monitoring")
    assert dequeued(instance) == []
    for run_id in running:
        assert run_id[:8] in queue_reasons(instance)[waiting]
    assert "max_concurrent_runs: 2" in queue_reasons(instance)[waiting]


def test_the_reason_is_in_the_runs_tag_and_once_per_reason_in_its_log(instance):
    first = run_of(instance, TRAINING, STARTED)
    waiting = run_of(instance, TRAINING)

    def tick(cursor):
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        return queued_runs_sensor(context).cursor

    cursor = tick(tick(None))
    assert [first[:8] in line for line in log_of(instance, waiting)] == [True]
    assert tag_of(instance, waiting) == queue_reasons(instance)[waiting]
    assert tag_of(instance, first) is None
    instance.report_run_failed(instance.get_run_by_id(first))
    second = run_of(instance, TRAINING, STARTED)
    cursor = tick(cursor)
    assert [second[:8] in line for line in log_of(instance, waiting)] == [False, True]
    assert second[:8] in tag_of(instance, waiting)
    assert json.loads(cursor).keys() == {waiting}
    instance.report_run_canceled(instance.get_run_by_id(waiting))
    assert json.loads(tick(cursor)) == {}


def test_the_outcome_of_launched_runs_is_reported_when_the_ui_is_stopped(instance):
    """Ctrl-C in a terminal also reaches the processes of runs, which have ended by then."""
    earlier = run_of(instance, TRAINING, STARTED)
    instance.report_run_failed(instance.get_run_by_id(earlier))
    time.sleep(0.01)
    interrupted = datetime.now(UTC)
    stopped = run_of(instance, TRAINING, STARTED)
    instance.report_run_failed(instance.get_run_by_id(stopped))
    run_of(instance, TRAINING)
    lines = []
    stop_launched_runs(instance, interrupted, lines.append)
    assert lines == [
        f"run {stopped} (train_models) was stopped; what it finished is kept, and the next "
        "`ml-assets dev` resumes it",
        "1 queued run waits for the next `ml-assets dev`",
    ]
    running = run_of(instance, TRAINING, STARTED)
    lines.clear()
    hand_over_runs(instance, lines.append)
    assert lines[0].startswith(
        f"run {running} (train_models) continues in the background; to end it: "
    )
    assert lines[0].endswith(f"ml-assets runs end {running[:8]}")


DEAF_ONCE = """
import signal, sys
heard = []
def hear(*_):
    heard.append(1)
    if len(heard) == 2:
        sys.exit()
signal.signal(signal.SIGINT, hear)
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_a_run_that_missed_an_interrupt_is_interrupted_again(instance, monkeypatch):
    """Python drops an exception of a signal that arrives in a garbage collector's callback."""
    monkeypatch.setattr("ml_assets.cli.runs.REPEAT_SECONDS", 0.5)
    monkeypatch.setattr("ml_assets.cli.runs.STOP_SECONDS", 5.0)
    deaf = subprocess.Popen([sys.executable, "-c", DEAF_ONCE], stdout=subprocess.PIPE)
    try:
        assert deaf.stdout.readline() == b"ready\n"
        running = run_of(instance, TRAINING, STARTED)
        instance.add_run_tags(running, RunProcess.find(deaf.pid).to_tags(running))
        stop_launched_runs(instance, datetime.now(UTC), lambda line: None)
        assert deaf.wait(5) == 0
    finally:
        deaf.kill()
        deaf.wait()


def test_a_run_that_is_cancelled_meanwhile_is_not_reported_as_stopped(instance):
    ending = run_of(instance, TRAINING, STARTED)
    end = partial(instance.report_run_canceled, instance.get_run_by_id(ending))
    lines = []
    timer = threading.Timer(0.3, end)
    timer.start()
    stop_launched_runs(instance, datetime.now(UTC), lines.append)
    timer.join()
    assert lines == []
