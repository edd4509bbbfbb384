"""New months are followed by a retraining: once for the same data."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from ml_assets.defs.operations.run_outcomes import RUN_KEY_TAG, is_transient
from ml_assets.defs.operations.run_tags import (
    FAILURE_TAG,
    REQUEST_KEY_TAG,
    TRANSIENT,
    run_reason_of,
)
from ml_assets.defs.training.sensors import QUIET_SECONDS, retraining_sensor
from ml_assets.ingestion.source import InvalidFile, SourceUnavailable
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.new_data import next_training
from ml_assets.registry import TrackingUnavailable
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets_tests.defs.ticks import Ticking, left_in_progress
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.promotion.made_decisions import decision_on
from ml_assets_tests.published_months import publish, published_month

MONTHS = [Month(2023, number) for number in (1, 2, 3, 4)]


class Home:
    """A project whose months are published and ingested by the test, and its sensor."""

    def __init__(self, project, folder):
        self.project = project
        self.folder = folder
        self.later = timedelta(seconds=QUIET_SECONDS)
        self.ticking = Ticking(project, retraining_sensor(lambda: datetime.now(UTC) + self.later))
        self.log = DecisionLog(project.settings.home, "green")
        self.decisions = 0

    def ingest(self, *months, rows=200):
        for month in months:
            publish(self.folder, month, published_month(month, rows))
        return self.project.ingest(str(months[0]), str(months[-1]))

    def tick(self):
        return self.ticking.tick()

    @property
    def skipped(self):
        return self.ticking.skipped

    def train(self):
        """Write the decision of a training, without its models."""
        store = TripStore(self.project.settings.home, "green", synthetic=False)
        training_set = next_training(store).training_set
        assert training_set is not None
        self.decisions += 1
        self.log.write(
            decision_on(
                training_set,
                decision_id=f"d{self.decisions}",
                decided_at=f"2026-11-01T00:00:0{self.decisions}+0000",
            )
        )

    def fail(self, request, **tags):
        """Record a failed run of the request."""
        run = left_in_progress(
            self.project,
            "retrain",
            dg.DagsterRunStatus.STARTED,
            **request.tags,
            **tags,
            **{RUN_KEY_TAG: request.run_key},
        )
        self.project.instance.report_run_failed(run)


@pytest.fixture
def empty(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    with open_project(settings_for(tmp_path / "home", folder)) as project:
        yield Home(project, folder)


@pytest.fixture
def home(ingested_home, tmp_path):
    """A home with three months, which Dagster knows of."""
    copy = ingested_home.copy(tmp_path)
    with copy.open() as project:
        for month in MONTHS[:3]:
            project.instance.report_runless_asset_event(
                dg.AssetMaterialization("trip_features", partition=str(month))
            )
        yield Home(project, copy.trips)


def test_new_months_are_followed_by_one_retraining(empty):
    assert empty.tick() == []
    assert empty.skipped == "no new month"
    assert empty.ingest(*MONTHS[:3]).success
    (request,) = empty.tick()
    assert run_reason_of(request.tags) == "new: 2023-01 to 2023-03"
    assert empty.tick() == []  # the same key again
    empty.train()
    assert empty.tick() == []
    assert "months up to 2023-03 have been trained on" in empty.skipped
    assert empty.tick() == []
    assert empty.skipped.startswith("no new month: the months up to 2023-03")
    empty.ingest(MONTHS[3])
    (request,) = empty.tick()
    assert run_reason_of(request.tags) == "new: 2023-04"


def test_a_temporarily_unreadable_home_skips_with_the_reason(home, tmp_path):
    in_the_way = tmp_path / "home" / "decisions" / "green" / "2026-11-01_d0.json"
    in_the_way.mkdir(parents=True)  # stands for any error of the file system
    assert home.tick() == []
    assert str(in_the_way) in home.skipped
    in_the_way.rmdir()
    assert len(home.tick()) == 1


def test_the_job_skips_rejected_months(home):
    assert not home.ingest(MONTHS[3], rows=0).success
    done = home.project.run("retrain", selection=["training_set"])
    assert done.success
    assert "test 2023-03" in home.project.metadata("training_set")["window"]
    (left_out,) = home.project.metadata("training_set")["left_out"].records
    assert left_out.data["month"] == "2023-04"
    assert not home.project.run("train_models", selection=["training_set"]).success


def test_reingested_unchanged_months_do_not_retrain(home):
    home.train()
    home.tick()
    home.ingest(*MONTHS[:3])
    assert home.tick() == []
    assert "have been trained on" in home.skipped


def test_it_waits_for_further_months(empty):
    empty.ingest(*MONTHS[:2])
    empty.later = timedelta(seconds=QUIET_SECONDS - 10)
    assert empty.tick() == []
    assert "waiting 45 s for more" in empty.skipped


def test_a_month_republished_repeatedly_is_trained_on_once(home):
    home.train()
    home.tick()
    requests = []
    home.later = timedelta()
    for rows in (210, 220, 230):
        home.ingest(MONTHS[1], rows=rows)
        requests += home.tick()
    home.later = timedelta(seconds=QUIET_SECONDS)
    requests += home.tick() + home.tick()
    assert [run_reason_of(request.tags) for request in requests] == ["republished: 2023-02"]


def test_a_reverted_month_is_trained_on_again(empty):
    keys = set()
    for rows in (200, 210, 200):
        empty.ingest(*MONTHS[:3], rows=rows)
        (request,) = empty.tick()
        keys.add(request.run_key)
        empty.train()
    assert len(keys) == 3


def test_one_month_is_too_few(empty):
    empty.ingest(MONTHS[0])
    assert empty.tick() == []
    assert "only 2023-01 is available" in empty.skipped


def test_a_rejected_newest_month_is_named_with_the_reason(home):
    home.train()
    home.tick()
    assert not home.ingest(MONTHS[3], rows=0).success
    assert home.tick() == []
    assert "have been trained on | 2023-04 is rejected: " in home.skipped


def test_a_failed_blocking_check_prevents_retraining(home):
    home.project.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("trip_features"),
            check_name="row_count",
            passed=False,
            severity=dg.AssetCheckSeverity.ERROR,
            description="half of the trips",
            metadata={"failed_months": "2023-02"},
        )
    )
    assert home.tick() == []
    assert "the blocking check row_count of trip_features failed: half of the tri" in home.skipped


@pytest.mark.parametrize("job", ["retrain", "train_models", "ingest_trips"])
def test_it_waits_while_a_run_trains_or_ingests(home, job):
    run = left_in_progress(home.project, job, dg.DagsterRunStatus.STARTED)
    assert home.tick() == []
    assert f"run {run.run_id[:8]} ({job}) is started" in home.skipped
    home.project.instance.delete_run(run.run_id)
    assert len(home.tick()) == 1


def test_a_failed_retraining_is_not_requested_again_until_data_change(home):
    (request,) = home.tick()
    home.fail(request, **{"dagster/failure_reason": "STEP_FAILURE"})
    assert home.tick() == []
    assert "failed: next by the weekly schedule or manually" in home.skipped
    assert home.tick() == []
    home.ingest(MONTHS[3])
    assert len(home.tick()) == 1


@pytest.mark.parametrize(
    "tags", [{}, {"dagster/failure_reason": "STEP_FAILURE", FAILURE_TAG: TRANSIENT}]
)
def test_a_retraining_that_failed_transiently_is_requested_again_later(home, tags):
    (request,) = home.tick()
    home.fail(request, **tags)
    assert home.tick() == []
    assert "next attempt in" in home.skipped
    home.later += timedelta(hours=1)
    (again,) = home.tick()
    assert again.run_key == f"{request.run_key} #2"
    assert again.tags[REQUEST_KEY_TAG] == request.tags[REQUEST_KEY_TAG]


def test_a_damaged_cursor_requests_nothing_twice(home):
    home.train()
    for cursor in ("", "{", '{"storage_id": "x"}', "17"):
        home.ticking.cursor = cursor
        assert home.tick() == []
        assert "have been trained on" in home.skipped


def test_a_damaged_decision_is_reported(home, tmp_path):
    home.train()
    (file,) = (tmp_path / "home" / "decisions" / "green").glob("*.json")
    file.write_text("{")
    assert home.tick() == []
    assert "cannot be read as a decision" in home.skipped


def test_transient_failures_are_recognized():
    def caused_by(cause):
        try:
            raise dg.Failure("the step") from cause
        except dg.Failure as error:
            return error

    for error in (SourceUnavailable("down"), TrackingUnavailable("down"), OSError(28, "full")):
        assert is_transient(caused_by(error))
        assert is_transient(error)
    assert not is_transient(caused_by(InvalidFile("a web page")))
    assert not is_transient(None)


def test_a_training_that_fails_because_mlflow_is_down_is_tagged(tmp_path):
    folder = tmp_path / "published"
    for month in MONTHS[:2]:
        publish(folder, month)
    unreachable = "http://127.0.0.1:9"
    settings = settings_for(tmp_path / "home", folder, MLFLOW_TRACKING_URI=unreachable)
    with open_project(settings) as project:
        assert project.ingest("2023-01", "2023-02").success
        keys = ["training_set", "linear_regression_model"]
        failed = project.run("retrain", selection=keys)
        assert not failed.success
        run = project.instance.get_run_by_id(failed.run_id)
        assert run.tags[FAILURE_TAG] == TRANSIENT
