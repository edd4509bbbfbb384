"""Drift and decay ask for a retraining: for two bad months, once, and only if it can help."""

import shutil
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from ml_assets.defs.automation import run_reason_of
from ml_assets.defs.monitoring.retrain_sensors import degradation_sensors
from ml_assets.defs.operations.run_outcomes import RUN_KEY_TAG
from ml_assets.defs.resources import project_resources
from ml_assets.monitoring.drift.records import DriftEntry, DriftRecord
from ml_assets.monitoring.performance.records import PerformanceRecord, Reference, Score
from ml_assets.monitoring.retrain_rule import COOL_DOWN
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.retraining import next_training
from ml_assets.trips.month import Month
from ml_assets_tests.defs.ticks import Ticking, left_in_progress
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.promotion.made_decisions import decision_on
from ml_assets_tests.published_months import publish

KNOWN = [Month(2023, 1), Month(2023, 2)]
NEW = [Month(2023, number) for number in (3, 4, 5)]
ASSETS = {"drift": "feature_drift", "decay": "prediction_performance"}


class Watched:
    """A project with months of which a champion knows two, and the two sensors.

    ``measure`` writes what the assets of monitoring would: a mark for each month after those,
    ``x`` over its limit and ``.`` within.
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

    def bring(self, *months):
        for month in months:
            publish(self.folder, month)
        assert self.project.ingest(str(months[0]), str(months[-1])).success

    def made(self, asset):
        self.project.instance.report_runless_asset_event(dg.AssetMaterialization(asset))

    def decide(self):
        """What a training on all months leaves, without its models."""
        self.decisions += 1
        self.log.write(
            decision_on(
                next_training(self.store.tables()).training_set,
                decision_id=f"d{self.decisions}",
                decided_at=f"2026-11-01T00:00:0{self.decisions}+0000",
            )
        )
        self.made("champion_model")

    def measure(self, name, marks):
        record = _drift(marks) if name == "drift" else _decay(marks)
        self.store.records().write(ASSETS[name], record)
        self.made(ASSETS[name])

    def tick(self, name):
        return self.ticking[name].tick()

    def skipped(self, name):
        return self.ticking[name].skipped

    def launched(self, request, **tags):
        """The run of a request, as the daemon launches it."""
        tags = {**request.tags, **tags, RUN_KEY_TAG: request.run_key}
        return left_in_progress(self.project, "retrain", dg.DagsterRunStatus.STARTED, **tags)

    def succeed(self, request):
        """The run of a request comes to its end, and leaves the champion as it was."""
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
    """A home whose champion knows two of its four months; each test takes a copy."""
    root = tmp_path_factory.mktemp("trained")
    (root / "published").mkdir()
    with open_project(settings_for(root / "home", root / "published")) as project:
        watched = Watched(project, root / "published")
        watched.bring(*KNOWN)
        watched.decide()
        watched.bring(*NEW[:2])
    return root


@pytest.fixture
def watched(tmp_path, trained):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "published"
    with open_project(settings_for(tmp_path / "home", folder)) as project:
        watched = Watched(project, folder)
        watched.made("champion_model")
        yield watched


WHY = {
    "drift": "drift: drift of trip_distance 0.400 in 2023-04, over the limit 0.250; in all 2 of 2 "
    "months are (2023-03 to 2023-04)",
    "decay": "decay: relative error 0.900 in 2023-04, over the limit 0.550; in all 2 of 2 months "
    "are (2023-03 to 2023-04)",
}


@pytest.mark.parametrize("name", ["drift", "decay"])
def test_two_bad_months_ask_for_one_retraining_that_says_why(watched, name):
    watched.measure(name, "xx")
    (asked,) = watched.tick(name)
    assert run_reason_of(asked.tags) == WHY[name]
    assert watched.tick(name) == []  # the same key again
    watched.launched(asked)
    assert watched.tick(name) == []
    assert "waiting: run" in watched.skipped(name)


@pytest.mark.parametrize("name", ["drift", "decay"])
@pytest.mark.parametrize(
    ("marks", "why"), [(".x", "one month is noise"), ("x.", "within the limit"), ("", "no month")]
)
def test_no_retraining_for_one_bad_month_or_one_that_is_over(watched, name, marks, why):
    watched.measure(name, marks)
    assert watched.tick(name) == []
    assert why in watched.skipped(name)
    assert watched.tick(name) == []
    assert f"{ASSETS[name]} was not measured since the last look" in watched.skipped(name)


def test_nothing_is_asked_for_before_anything_was_measured(watched):
    for name, asset in ASSETS.items():
        assert watched.tick(name) == []
        assert f"{asset} was not measured" in watched.skipped(name)
    watched.made("feature_drift")  # of other trips, say
    assert watched.tick("drift") == []
    assert "feature_drift has no record of these trips" in watched.skipped("drift")


@pytest.mark.parametrize("first", ["drift", "decay"])
def test_a_retraining_for_either_cools_both_down_for_a_week(watched, first):
    watched.measure("drift", "xx")
    watched.measure("decay", "xx")
    (asked,) = watched.tick(first)
    watched.succeed(asked)
    watched.bring(NEW[2])
    for name in ASSETS:
        watched.measure(name, "xxx")
        assert watched.tick(name) == []
        assert "cooling down until" in watched.skipped(name)
    watched.later = COOL_DOWN - timedelta(minutes=1)
    assert [watched.tick(name) for name in ASSETS] == [[], []]
    watched.later = COOL_DOWN + timedelta(minutes=1)
    other = next(name for name in ASSETS if name != first)
    assert len(watched.tick(other)) == 1


def test_the_other_measure_does_not_ask_for_the_same_months(watched):
    watched.measure("drift", "xx")
    watched.measure("decay", "xx")
    (asked,) = watched.tick("drift")
    watched.succeed(asked)
    watched.later = COOL_DOWN * 2
    assert watched.tick("decay") == []
    assert "2023-04 was retrained for before" in watched.skipped("decay")


def test_a_measure_older_than_the_newest_decision_is_measured_anew_first(watched):
    watched.measure("decay", "xx")
    watched.made("champion_model")
    assert watched.tick("decay") == []
    assert "measured before the newest decision" in watched.skipped("decay")
    watched.measure("decay", "xx")
    assert len(watched.tick("decay")) == 1


def test_months_that_were_trained_on_already_are_not_trained_on_again(watched):
    watched.decide()  # and the champion stayed
    watched.measure("decay", "xx")
    assert watched.tick("decay") == []
    told = "2023-04 of version 1 is over its limit, but months and code are those of the last train"
    assert told in watched.skipped("decay")


@pytest.mark.parametrize("job", ["retrain", "ingest_trips"])
def test_it_waits_while_a_run_trains_or_brings_months(watched, job):
    watched.measure("drift", "xx")
    run = left_in_progress(watched.project, job, dg.DagsterRunStatus.STARTED)
    assert watched.tick("drift") == []
    assert f"waiting: run {run.run_id[:8]} ({job}) is started" in watched.skipped("drift")
    watched.project.instance.delete_run(run.run_id)
    assert len(watched.tick("drift")) == 1


def test_a_retraining_whose_process_was_killed_is_asked_for_again_an_hour_later(watched):
    watched.measure("decay", "xx")
    (asked,) = watched.tick("decay")
    watched.project.instance.report_run_failed(watched.launched(asked))
    assert watched.tick("decay") == []
    assert "next attempt at" in watched.skipped("decay")
    watched.later = timedelta(hours=1, minutes=1)
    (again,) = watched.tick("decay")
    assert again.run_key == f"{asked.run_key} #2"
    assert run_reason_of(again.tags) == WHY["decay"]


def test_one_whose_process_was_killed_is_not_asked_for_again_when_the_month_is_fine_by_now(watched):
    watched.measure("decay", "xx")
    (asked,) = watched.tick("decay")
    watched.project.instance.report_run_failed(watched.launched(asked))
    watched.measure("decay", "x.")  # published anew
    watched.later = timedelta(hours=1, minutes=1)
    assert watched.tick("decay") == []
    assert "2023-04, within the limit" in watched.skipped("decay")


def test_one_that_failed_for_good_is_not_asked_for_again_for_the_same_month(watched):
    watched.measure("decay", "xx")
    (asked,) = watched.tick("decay")
    run = watched.launched(asked, **{"dagster/failure_reason": "STEP_FAILURE"})
    watched.project.instance.report_run_failed(run)
    watched.later = COOL_DOWN * 2
    assert watched.tick("decay") == []
    assert "2023-04 was retrained for before" in watched.skipped("decay")


def test_a_damaged_record_is_told_and_looked_at_again(watched):
    watched.measure("drift", "xx")
    watched.store.records().write("feature_drift", Reference(
        version="1", month="", relative_error=0, newest_fitted=""))  # fmt: skip
    assert watched.tick("drift") == []
    assert "cannot be read as DriftRecord" in watched.skipped("drift")
    watched.measure("drift", "xx")
    assert len(watched.tick("drift")) == 1
