"""Dagster's home: settings, first opening by several commands, interrupted creation."""

import os
import signal
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.config import PoolGranularity

from ml_assets.cli.instance import DAGSTER_YAML, DAGSTER_YAML_STORAGE, dagster_home, open_instance
from ml_assets.config.settings import read_settings
from ml_assets_tests.interrupting import begin, end, interrupted

FIRST_SETTINGS = """\
# Written once by ml-assets; yours to change.
telemetry:
  enabled: false
# A run that does not start, or does not stop, within three minutes is ended. (One whose process
# was killed is noticed by the project's sensor fail_dead_runs, not by this.)
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
# One run at a time: training uses every core by itself.
concurrency:
  runs:
    max_concurrent_runs: 1
# A press waits a second for its run to be launched, not five.
run_queue:
  dequeue_interval_seconds: 1
"""
ONE_RUN_AT_A_TIME = """\
# Written once by ml-assets; yours to change.
telemetry:
  enabled: false
# A run that does not start, or does not stop, within three minutes is ended. (One whose process
# was killed is noticed by the project's sensor fail_dead_runs, not by this.)
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
# A run whose process was killed is started again, twice at most, from where it was. Not so one that
# a step has failed: what may pass is asked for again by the project's sensors, later each time.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
# One run at a time: training uses every core by itself. Raise max_concurrent_runs for more; the
# pools (ingestion, training) still keep it to one run each that brings months or trains.
concurrency:
  pools:
    granularity: run
    default_limit: 1
  runs:
    max_concurrent_runs: 1
# A press waits a second for its run to be launched, not five.
run_queue:
  dequeue_interval_seconds: 1
"""


WITH_STORAGE = """\
# Written once by ml-assets; yours to change.
telemetry:
  enabled: false
# No invitation to Dagster's community in front of the first page.
nux:
  enabled: false
# A run that does not start, or does not stop, within three minutes is ended. (One whose process
# was killed is noticed by the project's sensor fail_orphaned_runs, not by this.)
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
# A run whose process was killed is started again, twice at most, from where it was. Not so one that
# a step has failed: what may pass is asked for again by the project's sensors, later each time.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
# Two runs at a time, so that months are ingested while a model trains. The pools (ingestion,
# training) allow one run each; raise max_concurrent_runs for more predictions and measurements.
concurrency:
  pools:
    granularity: run
    default_limit: 1
  runs:
    max_concurrent_runs: 2
# A press waits a second for its run to be launched, not five.
run_queue:
  dequeue_interval_seconds: 1
# Dagster's SQLite storage cannot be in a folder with such characters in its path; this one can.
storage:
  custom:
    module: ml_assets.cli.dagster_storage
    class: SqliteStorage
    config:
      base_dir:
        env: DAGSTER_HOME
"""
"""Of a home whose path Dagster's own storage cannot take; it names a module that has moved."""


@pytest.mark.parametrize("former", [FIRST_SETTINGS, ONE_RUN_AT_A_TIME])
def test_settings_of_an_earlier_version_are_updated_unless_they_were_changed(
    tmp_path, monkeypatch, former
):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = read_settings({"ML_ASSETS_HOME": str(tmp_path)})
    file = dagster_home(settings) / "dagster.yaml"
    assert file.read_text() == DAGSTER_YAML
    file.write_text(former)
    dagster_home(settings)
    assert file.read_text() == DAGSTER_YAML
    changed = former.replace("max_concurrent_runs: 1", "max_concurrent_runs: 3")
    file.write_text(changed)
    dagster_home(settings)
    assert file.read_text() == changed


def test_the_storage_of_an_odd_path_is_found_where_it_is_now(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    home = tmp_path / "odd %41?home"
    settings = read_settings({"ML_ASSETS_HOME": str(home)})
    file = dagster_home(settings) / "dagster.yaml"
    file.write_text(WITH_STORAGE)
    dagster_home(settings)
    assert file.read_text() == DAGSTER_YAML + DAGSTER_YAML_STORAGE
    with open_instance(settings) as instance:
        assert instance.get_runs() == []


def test_no_dialog_covers_the_first_page(tmp_path):
    (tmp_path / "dagster.yaml").write_text(DAGSTER_YAML)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert not instance.nux_enabled


def test_dagsters_home_is_private_since_it_holds_requests(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    home = dagster_home(read_settings({"ML_ASSETS_HOME": str(tmp_path)}))
    assert home.stat().st_mode & 0o777 == 0o700


def test_one_run_trains_at_a_time_and_only_killed_runs_are_retried(tmp_path):
    (tmp_path / "dagster.yaml").write_text(DAGSTER_YAML)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        pools = instance.get_concurrency_config().pool_config
        assert (pools.pool_granularity, pools.default_pool_limit) == (PoolGranularity.RUN, 1)
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure


def open_home(home: Path) -> None:
    os.environ["DAGSTER_HOME"] = ""  # opening an instance sets it
    with open_instance(read_settings({"ML_ASSETS_HOME": str(home)})) as instance:
        instance.get_runs()
        instance.all_asset_keys()


@pytest.mark.parametrize("attempt", range(3))
def test_commands_that_open_a_new_home_at_once_all_succeed(tmp_path, monkeypatch, attempt):
    monkeypatch.setenv("DAGSTER_HOME", "")
    start, started = os.pipe()

    def open_together() -> None:
        os.close(started)
        os.read(start, 1)  # until the other end is closed
        open_home(tmp_path)

    openers = [begin(open_together) for _ in range(4)]
    os.close(started)
    os.close(start)
    assert [end(opener) for opener in openers] == [0, 0, 0, 0]
    open_home(tmp_path)


def databases_of(dagster_home: Path) -> dict[str, list[list[tuple]]]:
    """Tables, indexes, schema and finished migrations of the three databases of a home."""
    found = {}
    for name in ("history/runs.db", "history/runs/index.db", "schedules/schedules.db"):
        with closing(sqlite3.connect(dagster_home / name)) as connection:
            found[name] = [
                sorted(connection.execute(query))
                for query in (
                    "SELECT type, name FROM sqlite_master",
                    "SELECT version_num FROM alembic_version",
                    "SELECT name FROM secondary_indexes WHERE migration_completed IS NOT NULL",
                    "PRAGMA journal_mode",
                )
            ]
    return found


def test_a_killed_first_start_leaves_usable_databases(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")
    reference = tmp_path / "reference"
    reference.mkdir()
    with dg.DagsterInstance.local_temp(str(reference)) as instance:
        instance.all_asset_keys()
    expected = databases_of(reference)
    for statement in (36, 50, 92, 120, 190):  # each left Dagster without indexes or migrations
        home = tmp_path / str(statement)
        assert interrupted(partial(open_home, home), statement, signal.SIGKILL) == -9
        open_home(home)
        assert databases_of(home / "dagster") == expected
        assert not [*home.rglob("*.tmp*")]


def test_a_configured_storage_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")
    elsewhere = tmp_path / "elsewhere"
    home = dagster_home(read_settings({"ML_ASSETS_HOME": str(tmp_path / "home")}))
    (home / "dagster.yaml").write_text(
        f"run_storage:\n  module: dagster._core.storage.runs\n  class: SqliteRunStorage\n"
        f"  config:\n    base_dir: {elsewhere}\n"
    )
    open_home(tmp_path / "home")
    assert (elsewhere / "runs.db").exists()
    assert not (home / "history" / "runs.db").exists()


@pytest.mark.parametrize("name", ["a%41b", "what?", "no #1", "with a space"])
def test_dagster_keeps_its_databases_in_a_home_of_any_name(tmp_path, monkeypatch, name):
    monkeypatch.setenv("DAGSTER_HOME", "")
    home = tmp_path / name
    open_home(home)
    with dg.DagsterInstance.get() as instance:  # as Dagster's other processes do
        instance.add_run(dg.DagsterRun("any_job"))
        (run,) = instance.get_runs()
        instance.report_engine_event("hello", run)
    assert (home / "dagster" / "history" / "runs" / f"{run.run_id}.db").exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    home.rename(tmp_path / "moved")
    open_home(tmp_path / "moved")
    assert (tmp_path / "moved" / "dagster" / "dagster.yaml").read_text() == DAGSTER_YAML
    with closing(sqlite3.connect(tmp_path / "moved/dagster/history/runs.db")) as connection:
        assert connection.execute("SELECT run_id FROM runs").fetchall() == [(run.run_id,)]
