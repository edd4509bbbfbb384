"""Tags for programs are hidden in the UI, and a run's log says why it was started."""

import dagster as dg
from dagster._core.storage.tags import TagType, get_tag_type

from ml_assets.defs.operations import run_tags
from ml_assets.defs.operations.executor import log_reason
from ml_assets.defs.operations.run_outcomes import count_attempts
from ml_assets.defs.operations.run_process import RunProcess
from ml_assets.defs.operations.run_tags import (
    FAILURE_TAG,
    REASON_TAG,
    REQUEST_KEY_TAG,
    TRANSIENT,
    TRIGGER_TAG,
    reason_tag,
    runs_with_tag,
    tag_value,
)

NOTHING = dg.GraphDefinition("nothing").to_job()


def run_with(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    return instance.create_run_for_job(NOTHING, tags=tags)


def test_dagster_hides_all_tags_except_the_reason():
    names = [name for name in vars(run_tags) if name.endswith("_TAG") and name[0] != "_"]
    keys = {getattr(run_tags, name) for name in names} - {REASON_TAG}
    assert len(keys) == 7
    assert {get_tag_type(key) for key in keys} == {TagType.HIDDEN}
    assert get_tag_type(REASON_TAG) != TagType.HIDDEN


def test_runs_of_an_earlier_version_are_found_by_their_tags():
    with dg.DagsterInstance.ephemeral() as instance:
        old = run_with(instance, **{"ml_assets/asked_for": "2023-05", "dagster/run_key": "a"})
        new = run_with(instance, **{REQUEST_KEY_TAG: "2023-05", "dagster/run_key": "b"})
        run_with(instance, **{REQUEST_KEY_TAG: "2023-06", "dagster/run_key": "c"})
        found = runs_with_tag(instance, REQUEST_KEY_TAG, "2023-05")
        assert [record.dagster_run.run_id for record in found] == [new.run_id, old.run_id]
        assert count_attempts(instance, "2023-05")[0] == 2
        decayed = run_with(instance, **{"ml_assets/degradation": "decay"})
        (only,) = runs_with_tag(instance, TRIGGER_TAG, ["drift", "decay"], limit=1)
        assert only.dagster_run.run_id == decayed.run_id
        assert tag_value(decayed.tags, TRIGGER_TAG) == "decay"
        failed = run_with(instance, **{"ml_assets/failure": "passing"})
        assert tag_value(failed.tags, FAILURE_TAG) == TRANSIENT
    process = RunProcess.from_tags({"ml_assets/host": "a", "ml_assets/process": "12:34@boot"})
    assert process == RunProcess("a", 12, "34", "boot")


def test_the_log_of_a_run_says_why_it_was_started():
    with dg.DagsterInstance.ephemeral() as instance:
        run = run_with(instance, **reason_tag("new month 2023-06"))
        log_reason(instance, run)
        assert "Started because: new month 2023-06" in [
            e.message for e in instance.all_logs(run.run_id)
        ]
