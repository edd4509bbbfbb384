"""``ml-assets dev`` on an empty home while months are published.

Months are ingested, models are trained on them, and the promotion decides, without a click.
"""

import os
import signal
from pathlib import Path

import pytest

from ml_assets.cli.instance import DAGSTER_YAML
from ml_assets.defs.ingestion import sensors as ingestion_sensor
from ml_assets.defs.training import sensors as training_sensor
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets_tests.browser.dagster_ui import processes_of, running_ui, wait_for
from ml_assets_tests.project_copy import copy_with_two_families
from ml_assets_tests.published_months import publish, published_month

ROWS = 400
MONTHS = [Month(2023, number) for number in (1, 2, 3)]
NEXT = Month(2023, 4)
DECISION_SECONDS = 300
"""Poll of the folder (30 s), ingestion, settling time (45 s), another poll, and two families."""


def put(folder, month):
    """Publish a month atomically."""
    written = publish(folder.parent / "being_written", month, published_month(month, ROWS))
    written.replace(folder / written.name)


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    """The UI, with a Dagster home that allows four concurrent runs."""
    root = tmp_path_factory.mktemp("automation")
    home, published = root / "home", root / "published"
    published.mkdir()
    (home / "dagster").mkdir(parents=True)
    raised = DAGSTER_YAML.replace("max_concurrent_runs: 2", "max_concurrent_runs: 4")
    assert raised != DAGSTER_YAML
    (home / "dagster" / "dagster.yaml").write_text(raised)
    for month in MONTHS:
        put(published, month)
    environment = {
        "ML_ASSETS_HOME": str(home),
        "ML_ASSETS_TRIPS": str(published),
        "MLFLOW_TRACKING_URI": "",
    }
    project = copy_with_two_families(tmp_path_factory.mktemp("project"))
    with running_ui(environment, root / "dagster_dev.log", project) as running:
        yield running, published, DecisionLog(str(home), "green")


def decision_on(ui, log, month):
    """Wait for the decision with this test month."""

    def find():
        ui.tick_now(Path(log.home), ingestion_sensor.NAME, training_sensor.NAME)
        assert not ui.failures(), ui.failures()
        return next((entry for entry in log.all() if entry.test_month == str(month)), None)

    return wait_for(find, DECISION_SECONDS, f"a decision on {month}; see {ui.log}")


def runs_of(ui, job):
    runs = ui.query(
        "query($job: String!) { runsOrError(filter: {pipelineName: $job})"
        " { ... on Runs { results { runId status } } } }",
        job=job,
    )["runsOrError"]["results"]
    return list(reversed(runs))


@pytest.fixture(scope="module")
def first(ui):
    running, _, log = ui
    return decision_on(running, log, MONTHS[-1])


@pytest.fixture(scope="module")
def second(ui, first):
    running, published, log = ui
    put(published, NEXT)
    return decision_on(running, log, NEXT)


def test_months_are_ingested_and_trained_on_automatically(first):
    assert [use.month for use in first.months] == [str(month) for month in MONTHS]
    assert first.promoted
    assert first.trigger == "new: 2023-01 to 2023-03"


def test_a_month_added_to_the_folder_leads_to_another_decision(ui, second):
    running, _, _ = ui
    assert [use.month for use in second.months] == [str(month) for month in [*MONTHS, NEXT]]
    assert second.trigger == "new: 2023-04"
    # Three months together were one run, and each state of the data was trained on once.
    assert [run["status"] for run in runs_of(running, "ingest_trips")] == ["SUCCESS"] * 2
    assert len(runs_of(running, "retrain")) == 2


def test_only_the_new_month_is_scored_by_the_champion_of_its_arrival(ui, first, second):
    running, _, log = ui
    store = TripStore(log.home, "green", synthetic=False)
    wait_for(lambda: store.months("trip_predictions"), 60, f"predictions; see {running.log}")
    assert store.months("trip_predictions") == [NEXT]
    scored = store.read_table("trip_predictions", NEXT)
    assert {*scored["model_version"]} == {first.registry_version}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are counted in /proc")
def test_a_termination_leaves_no_process_behind(ui, second):
    running, _, _ = ui
    assert processes_of(running.session)
    os.kill(running.session, signal.SIGTERM)
    wait_for(lambda: not processes_of(running.session), 10, f"the end; see {running.log}")
