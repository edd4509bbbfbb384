"""Drift and decay request a retraining: for two bad months, once, and only if it can help."""

import shutil
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from ml_assets.defs.monitoring.retrain_sensors import degradation_sensors
from ml_assets.defs.operations.run_outcomes import RUN_KEY_TAG
from ml_assets.defs.operations.run_tags import run_reason_of
from ml_assets.defs.resources import project_resources
from ml_assets.monitoring.drift.records import DriftEntry, DriftRecord
from ml_assets.monitoring.performance.records import PerformanceRecord, Reference, Score
from ml_assets.monitoring.retrain_rule import COOL_DOWN
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.new_data import next_training
from ml_assets.trips.month import Month
from ml_assets_tests.defs.ticks import Ticking, left_in_progress
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.promotion.made_decisions import decision_on
from ml_assets_tests.published_months import publish

KNOWN = [Month(2023, 1), Month(2023, 2)]
NEW = [Month(2023, number) for number in (3, 4, 5)]
ASSETS = {"drift": "feature_drift", "decay": "prediction_performance"}


class MonitoredHome:
    """A project whose champion was trained on two of its months, and the two sensors.

    ``measure`` writes what the monitoring assets would: a mark for each later month, ``x`` over
    its limit and ``.`` within.
    """

    def __init__(self, project, folder):
        self.project, self.folder = project, folder
        self.later = timedelta()
        sensors = degradation_sensors(lambda: datetime.now(UTC) + self.later)
        self.ticking = {
            sensor.name.removeprefix("retrain_on_").removeprefix("performance_"): Ticking(
                project, sensor
            )
            for sensor in sensors
        }
        self.store = project_resources(project.settings)["trip_store"]
        self.log = DecisionLog(project.settings.home, "green")
        self.decisions = len(self.log.all())

    def ingest(self, *months):
        for month in months:
            publish(self.folder, month)
        assert self.project.ingest(str(months[0]), str(months[-1])).success

    def materialize(self, asset):
        self.project.instance.report_runless_asset_event(dg.AssetMaterialization(asset))

    def decide(self):
        """Write the decision of a training on all months, without its models."""
        training_set = next_training(self.store.tables()).training_set
        assert training_set is not None
        self.decisions += 1
        self.log.write(
            decision_on(
                training_set,
                decision_id=f"d{self.decisions}",
                decided_at=f"2026-11-01T00:00:0{self.decisions}+0000",
            )
        )
        self.materialize("champion_model")

    def measure(self, name, marks):
        record = _drift(marks) if name == "drift" else _decay(marks)
        self.store.records().write(ASSETS[name], record)
        self.materialize(ASSETS[name])

    def tick(self, name):
        return self.ticking[name].tick()

    def skipped(self, name):
        return self.ticking[name].skipped

    def launched(self, request, **tags):
        """Launch the run of a request as the daemon does."""
        tags = {**request.tags, **tags, RUN_KEY_TAG: request.run_key}
        return left_in_progress(self.project, "retrain", dg.DagsterRunStatus.STARTED, **tags)

    def succeed(self, request):
        """Finish the run of a request; the champion stays."""
        run = self.launched(request)
        ended = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name)
        self.project.instance.report_dagster_event(ended, run.run_id)


def _drift(marks):
    entries = [
        DriftEntry(
            version="1",
            month=str(KNOWN[-1].shift(at)),
            raw_sha256=f"{at}",
            trips=200,
            in_reference=False,
            psi={"trip_distance": 0.4 if mark == "x" else 0.1, "pickup_zone": 0.05},
        )
        for at, mark in enumerate(marks, start=1)
    ]
    return DriftRecord(
        dataset="green", synthetic=False, version="1", model="xgboost",
        reference=[str(month) for month in KNOWN], entries=entries,
    )  # fmt: skip


def _decay(marks):
    scores = [
        Score(
            version="1",
            model="xgboost",
            month=str(KNOWN[-1].shift(at)),
            raw_sha256=f"{at}",
            trips=200,
            rmse=4.0,
            mae=3.0,
            relative_error=0.9 if mark == "x" else 0.5,
            seen=False,
        )
        for at, mark in enumerate(marks, start=1)
    ]
    known = str(KNOWN[-1])
    reference = Reference(version="1", month=known, relative_error=0.5, newest_fitted=known)
    return PerformanceRecord(
        dataset="green", synthetic=False, version="1", model="xgboost", scores=scores,
        references={"1": reference},
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A home whose champion was trained on two of its four months; each test takes a copy."""
    root = tmp_path_factory.mktemp("trained")
    (root / "published").mkdir()
    with open_project(settings_for(root / "home", root / "published")) as project:
        monitored = MonitoredHome(project, root / "published")
        monitored.ingest(*KNOWN)
        monitored.decide()
        monitored.ingest(*NEW[:2])
    return root


@pytest.fixture
def monitored(tmp_path, trained):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "published"
    with open_project(settings_for(tmp_path / "home", folder)) as project:
        monitored = MonitoredHome(project, folder)
        monitored.materialize("champion_model")
        yield monitored


WHY = {
    "drift": "drift: drift of trip_distance 0.400 in 2023-04, over the limit 0.250; in all 2 of 2 "
    "months are (2023-03 to 2023-04)",
    "decay": "decay: relative error 0.900 in 2023-04, over the limit 0.550; in all 2 of 2 months "
    "are (2023-03 to 2023-04)",
}


@pytest.mark.parametrize("name", ["drift", "decay"])
def test_two_bad_months_request_one_retraining_with_a_reason(monitored, name):
    monitored.measure(name, "xx")
    (request,) = monitored.tick(name)
    assert run_reason_of(request.tags) == WHY[name]
    assert monitored.tick(name) == []  # the same key again
    monitored.launched(request)
    assert monitored.tick(name) == []
    assert "waiting: run" in monitored.skipped(name)


@pytest.mark.parametrize("name", ["drift", "decay"])
@pytest.mark.parametrize(
    ("marks", "why"), [(".x", "one month is noise"), ("x.", "within the limit"), ("", "no month")]
)
def test_no_retraining_for_one_bad_month_or_one_that_has_passed(monitored, name, marks, why):
    monitored.measure(name, marks)
    assert monitored.tick(name) == []
    assert why in monitored.skipped(name)
    assert monitored.tick(name) == []
    assert f"no new measurement of {ASSETS[name]}" in monitored.skipped(name)


def test_nothing_is_requested_before_a_measurement(monitored):
    for name, asset in ASSETS.items():
        assert monitored.tick(name) == []
        assert f"no new measurement of {asset}" in monitored.skipped(name)
    monitored.materialize("feature_drift")  # of another dataset, say
    assert monitored.tick("drift") == []
    assert "feature_drift has no record of this dataset" in monitored.skipped("drift")


@pytest.mark.parametrize("first", ["drift", "decay"])
def test_a_retraining_for_either_cools_both_down_for_a_week(monitored, first):
    monitored.measure("drift", "xx")
    monitored.measure("decay", "xx")
    (request,) = monitored.tick(first)
    monitored.succeed(request)
    monitored.ingest(NEW[2])
    for name in ASSETS:
        monitored.measure(name, "xxx")
        assert monitored.tick(name) == []
        assert "cooling down until" in monitored.skipped(name)
    monitored.later = COOL_DOWN - timedelta(minutes=1)
    assert [monitored.tick(name) for name in ASSETS] == [[], []]
    monitored.later = COOL_DOWN + timedelta(minutes=1)
    other = next(name for name in ASSETS if name != first)
    assert len(monitored.tick(other)) == 1


def test_the_other_measure_does_not_request_the_same_months(monitored):
    monitored.measure("drift", "xx")
    monitored.measure("decay", "xx")
    (request,) = monitored.tick("drift")
    monitored.succeed(request)
    monitored.later = COOL_DOWN * 2
    assert monitored.tick("decay") == []
    assert "already retrained for 2023-04" in monitored.skipped("decay")


def test_a_measurement_older_than_the_newest_decision_is_repeated_first(monitored):
    monitored.measure("decay", "xx")
    monitored.materialize("champion_model")
    assert monitored.tick("decay") == []
    assert "measured before the newest decision" in monitored.skipped("decay")
    monitored.measure("decay", "xx")
    assert len(monitored.tick("decay")) == 1


def test_months_already_trained_on_are_not_trained_on_again(monitored):
    monitored.decide()  # and the champion stayed
    monitored.measure("decay", "xx")
    assert monitored.tick("decay") == []
    skipped = monitored.skipped("decay")
    assert "2023-04 of version 1 is over its limit, but months and code are those of" in skipped


@pytest.mark.parametrize("job", ["retrain", "ingest_trips"])
def test_it_waits_while_a_run_trains_or_ingests(monitored, job):
    monitored.measure("drift", "xx")
    run = left_in_progress(monitored.project, job, dg.DagsterRunStatus.STARTED)
    assert monitored.tick("drift") == []
    assert f"waiting: run {run.run_id[:8]} ({job}) is started" in monitored.skipped("drift")
    monitored.project.instance.delete_run(run.run_id)
    assert len(monitored.tick("drift")) == 1


def test_a_killed_retraining_is_requested_again_after_an_hour(monitored):
    monitored.measure("decay", "xx")
    (request,) = monitored.tick("decay")
    monitored.project.instance.report_run_failed(monitored.launched(request))
    assert monitored.tick("decay") == []
    assert "next attempt at" in monitored.skipped("decay")
    monitored.later = timedelta(hours=1, minutes=1)
    (again,) = monitored.tick("decay")
    assert again.run_key == f"{request.run_key} #2"
    assert run_reason_of(again.tags) == WHY["decay"]


def test_a_killed_retraining_is_not_requested_again_when_the_month_is_within_the_limit(monitored):
    monitored.measure("decay", "xx")
    (request,) = monitored.tick("decay")
    monitored.project.instance.report_run_failed(monitored.launched(request))
    monitored.measure("decay", "x.")  # republished
    monitored.later = timedelta(hours=1, minutes=1)
    assert monitored.tick("decay") == []
    assert "2023-04, within the limit" in monitored.skipped("decay")


def test_a_failed_retraining_is_not_requested_again_for_the_same_month(monitored):
    monitored.measure("decay", "xx")
    (request,) = monitored.tick("decay")
    run = monitored.launched(request, **{"dagster/failure_reason": "STEP_FAILURE"})
    monitored.project.instance.report_run_failed(run)
    monitored.later = COOL_DOWN * 2
    assert monitored.tick("decay") == []
    assert "already retrained for 2023-04" in monitored.skipped("decay")


def test_a_damaged_record_is_reported_and_read_again(monitored):
    monitored.measure("drift", "xx")
    monitored.store.records().write("feature_drift", Reference(
        version="1", month="", relative_error=0, newest_fitted=""))  # fmt: skip
    assert monitored.tick("drift") == []
    assert "cannot be read as DriftRecord" in monitored.skipped("drift")
    monitored.measure("drift", "xx")
    assert len(monitored.tick("drift")) == 1
