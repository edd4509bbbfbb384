"""``ml-assets dev`` while months are published, from an empty home on, without a click.

Months are ingested, models are trained on them, and the promotion decides. Then zones swap their
speed (decay, no drift), and later every trip has six passengers (drift, no decay).
"""

import os
import signal
import sqlite3
import time
from datetime import timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from ml_assets.cli.instance import DAGSTER_YAML, open_instance
from ml_assets.defs.alerting.overdue import OVERDUE_ASSETS
from ml_assets.defs.ingestion import sensors as ingestion_sensor
from ml_assets.defs.monitoring.assets import MONITORING_SENSOR
from ml_assets.defs.monitoring.retrain_sensors import MEASURES
from ml_assets.defs.operations.run_tags import TRIGGER_TAG
from ml_assets.defs.training import sensors as training_sensor
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets_tests.alerts.servers import PASSWORD, USER, running_mail
from ml_assets_tests.browser.dagster_ui import DagsterUi, processes_of, running_ui, wait_for
from ml_assets_tests.project import settings_for
from ml_assets_tests.project_copy import copy_with_two_families
from ml_assets_tests.published_months import publish, published_month

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")

ROWS = 400
MONTHS = [Month(2023, number) for number in (1, 2, 3)]
APRIL, MAY, JUNE, JULY, AUGUST = (Month(2023, number) for number in (4, 5, 6, 7, 8))
SENSORS = (
    ingestion_sensor.NAME,
    training_sensor.NAME,
    MONITORING_SENSOR,
    *(measure.sensor_name for measure in MEASURES),
)
SWAPPED = {41: 75, 75: 41, 74: 166, 166: 74}
ROUND_SECONDS = 300
"""Poll of the folder (30 s), ingestion, settling time (45 s), a tick of the sensor, and two
families."""
OVERDUE_DAYS = 46


def usual(month):
    """Make a month like the others."""
    return published_month(month, ROWS)


def swapped_zones(month):
    """Make a month in which long trips are short and short ones are long, by zone."""
    table = published_month(month, ROWS)
    zones = {
        column: pa.array([SWAPPED[zone] for zone in table[column].to_pylist()])
        for column in ("PULocationID", "DOLocationID")
    }
    return published_month(month, ROWS, **zones)


def crowded(month):
    """Make a month with six passengers in every trip and the original durations."""
    return published_month(month, ROWS, passenger_count=pa.array(np.full(ROWS, 6.0)))


class Watched:
    """The home, its UI with the daemon, and queries of both."""

    def __init__(self, home, published, ui: DagsterUi, mail):
        self.published, self.ui, self.mail = published, ui, mail
        self.home = home
        self.log = DecisionLog(str(home), "green")

    def put(self, made, *months):
        """Publish months made by a function."""
        for month in months:
            written = publish(self.published.parent / "being_written", month, made(month))
            written.replace(self.published / written.name)

    def skip_reason_of(self, name):
        """Return the skip reason of a sensor's last tick."""
        ticks = self.ui.sensor(name)["sensorState"]["ticks"]
        return (ticks[0]["skipReason"] or "") if ticks else ""

    def tick_now(self):
        """Make the sensors look without their interval, which has nothing to do with what they do."""
        self.ui.tick_now(self.home, *SENSORS)

    def decision_on(self, month):
        def find():
            self.tick_now()
            assert not self.ui.failures(), self.ui.failures()
            return next((each for each in self.log.all() if each.test_month == str(month)), None)

        return wait_for(find, ROUND_SECONDS, f"a decision on {month}; see {self.ui.log}")

    def runs_of(self, job):
        """Return the status of each run of a job."""
        found = self.ui.query(
            "query($job: String!) { runsOrError(filter: {pipelineName: $job})"
            " { ... on Runs { results { status } } } }",
            job=job,
        )["runsOrError"]["results"]
        return [run["status"] for run in found]

    def checks(self):
        """Return the status of each monitoring check on the latest materialization."""
        nodes = self.ui.query(
            '{ assetNodes(group: {groupName: "monitoring", repositoryName: "__repository__",'
            ' repositoryLocationName: "ml_assets"}) { assetChecksOrError { ... on AssetChecks'
            " { checks { name executionForLatestMaterialization { status } } } } } }"
        )["assetNodes"]
        found = [check for node in nodes for check in node["assetChecksOrError"]["checks"]]
        made = {check["name"]: check["executionForLatestMaterialization"] for check in found}
        return {name: result for name, result in made.items() if result is not None}

    def retrainings(self):
        """Return the trigger of each retraining that a measure started; the API hides these tags."""
        with sqlite3.connect(self.home / "dagster" / "history" / "runs.db", timeout=30) as runs:
            found = runs.execute(
                "SELECT value FROM runs LEFT JOIN run_tags"
                " ON run_tags.run_id = runs.run_id AND key = ?"
                " WHERE pipeline_name = 'retrain' ORDER BY runs.id",
                (TRIGGER_TAG,),
            ).fetchall()
        return [trigger for (trigger,) in found if trigger]

    def date_runs_back(self):
        """Date all runs back by eight days."""
        with sqlite3.connect(self.home / "dagster" / "history" / "runs.db", timeout=30) as runs:
            runs.execute("UPDATE runs SET create_timestamp = datetime(create_timestamp, '-8 days')")


def make_old_home(home, published):
    """Make a home that was used long ago: four runs at a time, and an old materialization."""
    (home / "dagster").mkdir(parents=True)
    raised = DAGSTER_YAML.replace("max_concurrent_runs: 2", "max_concurrent_runs: 4")
    assert raised != DAGSTER_YAML
    (home / "dagster" / "dagster.yaml").write_text(raised)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home / "dagster"))
        with open_instance(settings_for(home, published)) as instance:
            materialization = dg.AssetMaterialization("trip_features", partition=str(MONTHS[0]))
            event = dg.DagsterEvent(
                event_type_value="ASSET_MATERIALIZATION",
                job_name="ingest_trips",
                event_specific_data=dg._core.events.StepMaterializationData(materialization),
            )
            ago = time.time() - timedelta(days=OVERDUE_DAYS).total_seconds()
            instance.report_dagster_event(event, run_id="", timestamp=ago)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    root = tmp_path_factory.mktemp("automation")
    home, published = root / "home", root / "published"
    published.mkdir()
    make_old_home(home, published)
    with running_mail() as mail:
        environment = {
            "ML_ASSETS_HOME": str(home),
            "ML_ASSETS_TRIPS": str(published),
            "MLFLOW_TRACKING_URI": "",
            "ML_ASSETS_ALERT_EMAIL_TO": "owner@example.org",
            "ML_ASSETS_SMTP_HOST": "127.0.0.1",
            "ML_ASSETS_SMTP_PORT": str(mail.port),
            "ML_ASSETS_SMTP_SECURITY": "plain",
            "ML_ASSETS_SMTP_USER": USER,
            "ML_ASSETS_SMTP_PASSWORD": PASSWORD,
        }
        project = copy_with_two_families(tmp_path_factory.mktemp("project"))
        with running_ui(environment, root / "dagster_dev.log", project) as ui:
            yield Watched(home, published, ui, mail)


@pytest.fixture(scope="module")
def overdue_mail(watched):
    """The alert on overdue months."""

    def find():
        watched.ui.tick_now(watched.home, OVERDUE_ASSETS)
        return watched.mail.inbox.messages

    return wait_for(find, 330, "the alert")[0]


@pytest.fixture(scope="module")
def first(watched, overdue_mail):
    """The decision on the first months."""
    watched.put(usual, *MONTHS)
    return watched.decision_on(MONTHS[-1])


@pytest.fixture(scope="module")
def second(watched, first):
    """The decision after another month."""
    watched.put(usual, APRIL)
    return watched.decision_on(APRIL)


def test_months_overdue_for_46_days_are_reported_by_mail(overdue_mail):
    assert overdue_mail["Subject"].startswith(
        "[ml-assets] trip_features is overdue: it has not been mat"
    )
    text = overdue_mail.get_content()
    assert "/assets/trip_features\n" in text
    assert "What to do: Check with `ml-assets months`" in text


def test_months_are_ingested_and_trained_on_automatically(first):
    assert [use.month for use in first.months] == [str(month) for month in MONTHS]
    assert first.promoted
    assert first.trigger == "new: 2023-01 to 2023-03"


def test_a_month_added_to_the_folder_leads_to_another_decision(watched, second):
    assert [use.month for use in second.months] == [str(month) for month in [*MONTHS, APRIL]]
    assert second.trigger == "new: 2023-04"
    # Three months together were one run, and each state of the data was trained on once.
    assert watched.runs_of("ingest_trips") == ["SUCCESS"] * 2
    assert len(watched.runs_of("retrain")) == 2


def test_only_the_new_month_is_scored_by_the_champion_of_its_arrival(watched, first, second):
    store = TripStore(str(watched.home), "green", synthetic=False)
    wait_for(lambda: store.months("trip_predictions"), 60, f"predictions; see {watched.ui.log}")
    assert store.months("trip_predictions") == [APRIL]
    scored = store.read_table("trip_predictions", APRIL)
    assert {*scored["model_version"]} == {first.registry_version}


@pytest.fixture(scope="module")
def decayed(watched, second):
    watched.ui.switch_off(training_sensor.NAME)
    watched.date_runs_back()
    watched.put(swapped_zones, MAY, JUNE)
    return watched.decision_on(JUNE), watched.checks()


def test_new_months_are_monitored_and_checked(decayed):
    _, checks = decayed
    assert checks == {
        "feature_drift_within_limit": {"status": "SUCCEEDED"},
        "error_within_limit": {"status": "FAILED"},
    }


def test_two_months_of_decay_start_a_retraining(watched, decayed):
    decision, _ = decayed
    assert decision.trigger.startswith("decay: relative error ")
    assert decision.trigger.endswith("months are (2023-05 to 2023-06)")
    assert watched.retrainings() == ["decay"]


@pytest.fixture(scope="module")
def cooling(watched, decayed):
    watched.put(crowded, JULY, AUGUST)

    def find():
        watched.tick_now()
        reason = watched.skip_reason_of("retrain_on_drift")
        return reason if "cooling down" in reason else None

    return wait_for(find, ROUND_SECONDS, f"the cool-down; see {watched.ui.log}")


def test_two_months_of_drift_during_the_cool_down_start_none(watched, cooling):
    assert cooling.startswith("drift of passenger_count ")
    assert "over the limit" in cooling
    assert watched.retrainings() == ["decay"]


def test_after_a_week_the_drift_starts_a_retraining(watched, cooling):
    watched.date_runs_back()
    decision = watched.decision_on(AUGUST)
    assert decision.trigger.startswith("drift: drift of passenger_count ")
    assert watched.retrainings() == ["decay", "drift"]
    assert watched.ui.failures() == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are counted in /proc")
def test_a_termination_leaves_no_process_behind(watched, first):
    assert processes_of(watched.ui.session)
    os.kill(watched.ui.session, signal.SIGTERM)
    wait_for(lambda: not processes_of(watched.ui.session), 10, f"the end; see {watched.ui.log}")
