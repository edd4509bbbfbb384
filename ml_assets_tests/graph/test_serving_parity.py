"""The champion predicts the same over every channel, and a fault in any of them is reported."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from ml_assets.evaluation.records import TrainingSet
from ml_assets.pipeline import features
from ml_assets.pipeline.conformal_intervals import get_intervals
from ml_assets.promotion import candidate_service, serving_parity
from ml_assets.promotion.serving_parity import (
    PAGE_PATH,
    TRIPS_PER_SINGLE_REQUEST,
    compare,
    sample_requests,
)
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.loading import load_model
from ml_assets.registry.registry import Registry
from ml_assets.requests.batch import predict_file
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.training_set import load_trips
from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import Verdict
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.conftest import inherited_environment
from ml_assets_tests.project import SERVICE_CHECK as CHECK
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

NAME = "taxi-trip-duration"
CHANNELS = ("batch_parquet", "batch_csv", "http_list", "http_single", "page", "features")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A champion of three small months, the run that made it, and what is left of its service."""
    folder, temporary = tmp_path_factory.mktemp("published"), tmp_path_factory.mktemp("temporary")
    before = set(running(candidate_service.PROCESS_MODULE))
    for month in ("2023-01", "2023-02", "2023-03"):
        publish(folder, Month.parse(month), published_month(Month.parse(month), 1500))
    with open_project(settings_for(tmp_path_factory.mktemp("home"), folder)) as project:
        assert project.ingest("2023-01", "2023-03").success
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(temporary))
            patch.setenv("ML_ASSETS_API_TOKEN", "of the real service")  # the candidate's has none
            patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
            run = project.train(["xgboost"], service=True)
        assert run.success
        left = set(running(candidate_service.PROCESS_MODULE)) - before, [*temporary.iterdir()]
        yield project, run, left


@pytest.fixture(scope="module")
def champion(made):
    """The champion, and the test month."""
    settings = made[0].settings
    training_set = RecordStore(settings.home, "green").read("training_set", TrainingSet)
    test_trips = load_trips(TripStore(settings.home, "green", False), training_set, "test")
    return load_model(Registry.of(settings)), test_trips


@pytest.fixture(scope="module")
def post(made, champion):
    """A service for all tests of this module."""
    version = Registry.of(made[0].settings).champion()
    assert version is not None
    with candidate_service.candidate_service(version, NAME) as service:
        yield service.post


def evaluation(run: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (found,) = [e for e in run.get_asset_check_evaluations() if e.asset_check_key == CHECK]
    return found


def check_again(project) -> dg.AssetCheckEvaluation:
    job = dg.define_asset_job("parity", selection=dg.AssetSelection.checks(CHECK))
    definitions = dg.Definitions.merge(project.definitions, dg.Definitions(jobs=[job]))
    run = definitions.resolve_job_def("parity").execute_in_process(
        instance=project.instance, raise_on_error=False
    )
    return evaluation(run)


def running(word: str) -> list[int]:
    """Processes that have a word in their command, and were started here or by nobody alive.

    Other workers start the same commands.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if word.encode() in command and state != "Z" and int(parent) in (os.getpid(), 1):
            found.append(int(folder.name))
    return found


def test_a_decision_compares_the_champion_over_every_channel(made, champion):
    found = evaluation(made[1])
    assert found.passed, found.description
    assert found.severity == dg.AssetCheckSeverity.WARN
    count = len(sample_requests(champion[1]))
    assert count == 1000
    slow = len(champion[1]) // TRIPS_PER_SINGLE_REQUEST
    assert slow > 20
    counts = {name: found.metadata[name].value for name in CHANNELS}
    assert counts == dict.fromkeys(CHANNELS, count) | {"http_single": slow, "page": slow}


def test_the_sample_is_fixed_and_excludes_trips_that_are_not_valid_requests(champion):
    _, test_trips = champion
    far = pd.concat([test_trips.assign(trip_distance=5000.0).iloc[:50], test_trips])
    assert sample_requests(far, 300).trip_distance.max() <= 1000
    assert sample_requests(far, 300).trip_distance.isna().tolist() == [False, True] * 150
    assert sample_requests(test_trips, 300).equals(sample_requests(test_trips, 300))
    assert list(sample_requests(test_trips, 300).columns) == list(REQUEST_COLUMNS)


class Fault:
    """Faults that change predictions, each in one place only."""

    def __init__(self, monkeypatch, post, model):
        self.monkeypatch, self.post, self.model = monkeypatch, post, model

    def in_this_process(self):
        """The pipeline in this process has slightly wider intervals."""
        pipeline = load_pipeline(f"models:/{NAME}/{self.model.version}")
        get_intervals(pipeline).above *= 1.0 + 1e-12
        as_stored = lambda _, *files: predict_file(self.model, *files)  # noqa: E731
        self.monkeypatch.setattr(serving_parity, "predict_file", as_stored)
        return self.post, replace(self.model, pipeline=pipeline)

    def in_files(self, suffix):
        """Distances in files are rounded."""
        import polars as pl

        def rounding(model, source, target):
            if source.suffix == suffix:
                csv = suffix == ".csv"
                frame = pl.read_csv(source) if csv else pl.read_parquet(source)
                frame = frame.with_columns(pl.col("trip_distance").round(0))
                frame.write_csv(source) if csv else frame.write_parquet(source)
            return predict_file(model, source, target)

        self.monkeypatch.setattr(serving_parity, "predict_file", rounding)
        return self.post, self.model

    def in_requests(self, single, page):
        """The zone pair is replaced."""

        def dropping(body, path="/predict"):
            sent = json.loads(body)
            if isinstance(sent, dict) == single and (path == PAGE_PATH) == page:
                for one in [sent] if single else sent[-1:]:
                    one |= {"PULocationID": 264, "DOLocationID": 264}
            return self.post(json.dumps(sent).encode(), path)

        return dropping, self.model

    def in_features(self):
        """The service reads times as UTC."""
        real = features._wall_minutes

        def shifted(column):
            minutes = real(column)
            return minutes if isinstance(column, pd.Series) else minutes - 300

        self.monkeypatch.setattr(features, "_wall_minutes", shifted)
        self.monkeypatch.setattr(serving_parity, "_difference", lambda *_: None)
        return self.post, self.model

    def in_the_version(self):
        return self.post, replace(self.model, version="99")


@pytest.mark.parametrize(
    ("plant", "difference"),
    [
        (lambda fault: fault.in_this_process(), "batch_parquet: upper_minutes"),
        (lambda fault: fault.in_files(".parquet"), "batch_parquet: predicted_minutes"),
        (lambda fault: fault.in_files(".csv"), "batch_csv: predicted_minutes"),
        (lambda fault: fault.in_requests(single=False, page=False), "http_list: predicted_min"),
        (lambda fault: fault.in_requests(single=True, page=False), "http_single: predicted_m"),
        (lambda fault: fault.in_requests(single=True, page=True), "page: predicted_minutes"),
        (lambda fault: fault.in_the_version(), "http_list: model_version is '1' instead of '99'"),
        (lambda fault: fault.in_features(), "features: hour is"),
    ],
)
def test_a_fault_in_one_channel_is_reported_with_its_request(
    monkeypatch, champion, post, plant, difference
):
    model, test_trips = champion
    faulty_post, model = plant(Fault(monkeypatch, post, model))
    found = compare(model, sample_requests(test_trips, 50), faulty_post, single=50)
    assert found.finding().verdict == Verdict.FAIL
    assert found.difference.startswith(difference)
    assert '"PULocationID": ' in found.difference


def test_a_missing_prediction_is_a_difference(champion, post):
    model, test_trips = champion

    def shortened(body, path="/predict"):
        content = post(body, path)
        return {**content, "predictions": content.get("predictions", [None])[1:]}

    found = compare(model, sample_requests(test_trips, 20), shortened)
    assert found.difference == "http_list: 19 predictions for 20 requests"


def test_a_service_that_cannot_start_fails_the_check_with_its_reason(made, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = check_again(made[0])
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "the service ended with status 1" in found.description


def test_without_a_port_the_check_fails_with_its_reason(made, monkeypatch):
    def refused(address):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "create_server", refused)
    found = check_again(made[0])
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "the service cannot be started: [Errno 1] Operation not permitted" in found.description


def test_no_process_and_no_folder_is_left(made):
    assert made[2] == (set(), [])


STARTING = """
import pathlib, sys, mlflow
from ml_assets.promotion.candidate_service import candidate_service
from ml_assets.registry.registry import Registry
mlflow.set_tracking_uri(sys.argv[1])
registry = Registry(mlflow.MlflowClient(), "taxi-trip-duration", pathlib.Path())
with candidate_service(registry.champion(), registry.name) as service:
    service.post(b"[]")
    print(service.process.pid, flush=True)
    sys.stdin.read()
"""


def test_the_service_ends_when_its_parent_is_killed(made, tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", STARTING, made[0].settings.tracking_uri]
    starter = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**inherited_environment(), "TMPDIR": str(tmp_path)},
    )
    try:
        service = int(starter.stdout.readline())
        children = Path(f"/proc/{service}/task/{service}/children").read_text()
        assert children == "", "it needs no registry, and so no process that watches one"
        os.kill(starter.pid, signal.SIGKILL)
    finally:
        starter.kill()
        starter.wait()
    deadline = time.monotonic() + 60
    while service in running(candidate_service.PROCESS_MODULE):
        assert time.monotonic() < deadline
        time.sleep(0.1)
