"""A run whose process was killed is marked as failed and blocks no other run."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import dagster as dg
import pytest

from ml_assets.defs.operations import orphaned_runs, run_process
from ml_assets.defs.operations.executor import tagged_in_process_executor
from ml_assets.defs.operations.orphaned_runs import fail_orphaned_runs, orphaned_runs_sensor
from ml_assets.defs.operations.run_process import (
    Heartbeats,
    Liveness,
    RunProcess,
)
from ml_assets.defs.operations.run_tags import HOST_TAG, PROCESS_TAG, RUN_TAG
from ml_assets_tests.conftest import REPOSITORY, inherited_environment

TIMEOUT_SECONDS = 120


@contextmanager
def instance_in(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def wait_for(condition):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("the condition was not met in time")


@dg.job
def work() -> None: ...


def started_run(instance, tags, status=dg.DagsterRunStatus.STARTED, **parents):
    """A run in progress, with these tags, or with the tags of this process."""
    given = {} if isinstance(tags, RunProcess) else tags
    run = instance.create_run_for_job(work, status=status, tags=given, **parents)
    if isinstance(tags, RunProcess):
        instance.add_run_tags(run.run_id, tags.to_tags(run.run_id))
    assert instance.get_run_by_id(run.run_id).status == status
    return run.run_id


@pytest.fixture
def gone():
    """A process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = RunProcess.find(process.pid)
    process.kill()
    process.communicate()
    return found


@pytest.fixture
def ended(gone):
    """Tags of that process as an earlier version wrote them."""
    tags = gone.to_tags("")
    del tags[RUN_TAG]
    tags[PROCESS_TAG] = tags[PROCESS_TAG].rpartition("@")[0]
    return tags


@pytest.fixture
def quick(monkeypatch):
    """Heartbeats that count as stopped within a second."""
    monkeypatch.setattr(run_process, "HEARTBEAT_SECONDS", 0.2)
    for module in (run_process, orphaned_runs):
        monkeypatch.setattr(module, "STALE_HEARTBEAT_SECONDS", 0.5)


WORKER = """
import os, signal, sys, time
import dagster as dg
from ml_assets.defs.operations import orphaned_runs, run_process
from ml_assets.defs.operations.executor import tagged_in_process_executor

class Interrupted:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)  # Python drops what this raises

@dg.op
def long():
    Interrupted()
    for _ in range(300):
        time.sleep(0.1)
    print("was not interrupted")

@dg.job(executor_def=tagged_in_process_executor)
def interrupted():
    long()

@dg.op
def dies():
    os.kill(os.getpid(), signal.SIGKILL)

@dg.job(executor_def=tagged_in_process_executor)
def deadly():
    dies()

if __name__ == "__main__":
    with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
        job = {"deadly": deadly, "interrupted": interrupted}[sys.argv[2]]
        dg.execute_job(dg.reconstructable(job), instance=instance, raise_on_error=False)
"""


def run_worker(folder, job):
    module = folder / "worker.py"
    module.write_text(WORKER)
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return subprocess.run(
        [sys.executable, module, folder, job], cwd=REPOSITORY, capture_output=True, check=False,
        env={**inherited_environment(), "PYTHONPATH": str(REPOSITORY)}, text=True,
    )  # fmt: skip


def test_the_sensor_finds_a_killed_worker_of_the_ui_and_removes_its_files(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("ML_ASSETS_HOME", str(home))
    rows = home / ".incoming_of_a_fit" / "rows"
    rows.mkdir(parents=True)
    os.utime(rows.parent, (1e9, 1e9))
    worker = run_worker(tmp_path, "deadly")
    assert worker.returncode == -signal.SIGKILL, worker.stderr
    with instance_in(tmp_path) as instance:
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.STARTED
        context = dg.build_sensor_context(instance=instance)
        assert "1 run" in orphaned_runs_sensor(context).skip_message
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE
        assert not [*home.iterdir()]
        assert "no run" in orphaned_runs_sensor(context).skip_message


def test_an_interrupt_that_python_drops_ends_the_run_without_a_traceback_of_python(tmp_path):
    worker = run_worker(tmp_path, "interrupted")
    assert "was not interrupted" not in worker.stdout
    assert "Exception ignored" not in worker.stderr
    with instance_in(tmp_path) as instance:
        (run,) = instance.get_runs()
        assert run.status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def test_the_executor_has_the_name_and_requirements_of_dagsters_own():
    @dg.asset
    def answer() -> int:
        return 42

    job = dg.define_asset_job("job", executor_def=tagged_in_process_executor)
    definitions = dg.Definitions(assets=[answer], jobs=[job])
    own = dg.in_process_executor
    assert tagged_in_process_executor.name == own.name
    assert definitions.resolve_job_def("job").executor_def.get_requirements({}) == (
        own.get_requirements({})
    )


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_a_run_of_a_dead_process_fails(ended, status):
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance, ended, status)
        assert fail_orphaned_runs(instance) == [run_id]
        assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE


def test_a_run_being_cancelled_when_its_process_died_is_cancelled(ended):
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance, ended, dg.DagsterRunStatus.CANCELING)
        assert fail_orphaned_runs(instance) == [run_id]
        assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.CANCELED


def test_a_retry_is_not_mistaken_for_the_dead_run_whose_tags_it_inherits(ended):
    with dg.DagsterInstance.ephemeral() as instance:
        killed = started_run(instance, ended)
        assert fail_orphaned_runs(instance) == [killed]

        retry = instance.create_run_for_job(
            work,
            status=dg.DagsterRunStatus.STARTED,
            tags=ended,
            parent_run_id=killed,
            root_run_id=killed,
        ).run_id
        assert fail_orphaned_runs(instance) == []
        another = {**ended, PROCESS_TAG: ended[PROCESS_TAG].replace(":", ":1")}
        instance.add_run_tags(retry, another)  # its own process, which is gone as well
        assert fail_orphaned_runs(instance) == [retry]


def test_a_retry_is_distinguished_from_its_deleted_run(gone):
    with dg.DagsterInstance.ephemeral() as instance:
        inherited = gone.to_tags("the-run-that-was-deleted")
        parents = {"parent_run_id": "deleted", "root_run_id": "deleted"}
        for status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING):
            started_run(instance, inherited, status, **parents)
        assert fail_orphaned_runs(instance) == []


def test_an_ended_run_is_left_alone(gone):
    with dg.DagsterInstance.ephemeral() as instance:
        started_run(instance, gone, dg.DagsterRunStatus.SUCCESS)
        assert fail_orphaned_runs(instance) == []


def test_a_run_whose_process_was_killed_before_it_started_fails(gone, ended):
    with dg.DagsterInstance.ephemeral() as instance:
        for tags in (gone, ended):
            run_id = started_run(instance, tags, dg.DagsterRunStatus.NOT_STARTED)
            assert fail_orphaned_runs(instance) == [run_id]
            assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING])
def test_a_run_that_no_process_claims_fails_after_a_timeout(monkeypatch, status):
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance, {}, status)
        assert fail_orphaned_runs(instance) == []  # its process may still start
        monkeypatch.setattr(orphaned_runs, "UNCLAIMED_SECONDS", -1.0)
        assert fail_orphaned_runs(instance) == [run_id]
        assert "No process has started" in [e.message for e in instance.all_logs(run_id)][-1]


def test_a_run_is_left_alone_unless_its_process_is_known_to_be_dead(ended):
    assert RunProcess.find(os.getpid()).liveness() is Liveness.ALIVE
    for unsure in (
        RunProcess.find(os.getpid()),
        {},
        {HOST_TAG: ended[HOST_TAG]},
        {PROCESS_TAG: ended[PROCESS_TAG]},
        {**ended, HOST_TAG: "another-machine"},
        {**ended, PROCESS_TAG: "once upon a time"},
    ):
        with dg.DagsterInstance.ephemeral() as instance:
            started_run(instance, unsure)
            assert fail_orphaned_runs(instance) == [], unsure


def test_another_process_with_the_same_pid_is_not_mistaken_for_the_dead_one():
    alive = RunProcess.find(os.getpid())
    assert alive is not None
    assert replace(alive, start="1" + alive.start).liveness() is Liveness.DEAD
    # Where the system provides no start time, the PID alone decides.
    assert RunProcess(alive.host, alive.pid).liveness() is Liveness.ALIVE


@pytest.mark.parametrize(
    "elsewhere",
    [{"host": "renamed"}, {"namespace": "pid:[1]"}, {"host": "other", "boot": "another"}],
)
def test_a_process_that_cannot_be_looked_up_is_dead_once_its_heartbeat_has_stopped(
    quick, gone, elsewhere
):
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance, replace(gone, **elsewhere))
        assert fail_orphaned_runs(instance) == []  # without a heartbeat nothing is known
        with Heartbeats.of(instance).beating(run_id):
            time.sleep(1.2)
            assert fail_orphaned_runs(instance) == []
            assert Heartbeats.of(instance).run_ids() == [run_id]
        Heartbeats.of(instance)._beat(run_id)  # killed: its file stays
        assert fail_orphaned_runs(instance) == []
        time.sleep(0.7)
        assert fail_orphaned_runs(instance) == [run_id]
        assert Heartbeats.of(instance).run_ids() == []
        assert "no heartbeat" in [entry.message for entry in instance.all_logs(run_id)][-1]


def test_a_heartbeat_that_looks_old_after_a_suspension_is_observed_before_it_counts(quick, gone):
    with dg.DagsterInstance.ephemeral() as instance:
        heartbeats = Heartbeats.of(instance)
        run_id = started_run(instance, replace(gone, host="another-machine"))
        with heartbeats.beating(run_id):
            os.utime(heartbeats.folder / run_id, (0, 0))
            assert fail_orphaned_runs(instance) == []


def test_a_run_continues_when_its_heartbeat_cannot_be_written(quick, tmp_path, caplog):
    (tmp_path / "file").touch()
    heartbeats = Heartbeats(tmp_path / "file")
    with heartbeats.beating("run"):
        time.sleep(0.5)
    assert "the heartbeat of run run cannot be written" in caplog.text


def test_a_live_process_is_left_alone_after_its_host_was_renamed(quick):
    alive = RunProcess.find(os.getpid())
    assert alive is not None
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance, replace(alive, host="before-it-was-renamed"))
        heartbeats = Heartbeats.of(instance)
        heartbeats._beat(run_id)
        os.utime(heartbeats.folder / run_id, (0, 0))  # as if it hung
        assert fail_orphaned_runs(instance) == []


def test_the_heartbeat_of_a_dead_run_is_removed_at_once(gone):
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance, gone)
        Heartbeats.of(instance)._beat(run_id)
        assert fail_orphaned_runs(instance) == [run_id]
        assert Heartbeats.of(instance).run_ids() == []


def test_a_run_from_before_a_reboot_fails_and_no_heartbeat_is_left_behind(quick, gone):
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = started_run(instance, replace(gone, boot="the-boot-before"))
        heartbeats = Heartbeats.of(instance)
        heartbeats._beat("a-run-that-ended-long-ago")
        time.sleep(0.7)
        assert fail_orphaned_runs(instance) == [run_id]
        assert heartbeats.run_ids() == []


def test_a_zombie_process_counts_as_dead():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = RunProcess.find(process.pid)
    assert found.liveness() is Liveness.ALIVE
    process.kill()
    try:
        wait_for(lambda: found.liveness() is Liveness.DEAD)
    finally:
        process.communicate()
