"""A logged model outside this project: what it needs is named and carried, and it takes integers."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest

from ml_assets.registry import artifacts
from ml_assets.registry.artifacts import log_pipeline
from ml_assets.registry.mlflow_runs import tracked_run
from ml_assets.registry.mlflow_store import TrackingStore
from ml_assets.training.families import FAMILIES
from ml_assets_tests.conftest import inherited_environment
from ml_assets_tests.project import lay_tables_of_mlflow, settings_for
from ml_assets_tests.training.sample_trips import train_trips, validation_trips

ELSEWHERE = """
import json, sys
import mlflow, pandas as pd
from mlflow.pyfunc import scoring_server
from starlette.testclient import TestClient

model = mlflow.pyfunc.load_model(sys.argv[1])
whole = {"PULocationID": [74], "DOLocationID": [75], "trip_distance": [3],
         "pickup_datetime": [pd.Timestamp("2023-04-03 08:00")], "passenger_count": [2]}
needed = {name: whole[name] for name in list(whole)[:2]}
client = TestClient(scoring_server.init(model))
sent = {**{name: values[0] for name, values in whole.items()},
        "pickup_datetime": "2023-04-03T08:00:00"}

def invoke(record):
    answer = client.post("/invocations", json={"dataframe_records": [record]})
    return answer.json()

import ml_assets
print(json.dumps({
    "package": ml_assets.__file__,
    "whole": model.predict(pd.DataFrame(whole)).tolist(),
    "needed": model.predict(pd.DataFrame(needed)).tolist(),
    "served": invoke(sent)["predictions"],
    "left_out": [
        model.predict(pd.DataFrame(whole | {"trip_distance": [value]})).tolist()
        for value in (None, float("nan"), "", 0)
    ],
    "served_left_out": [
        invoke(request)["predictions"]
        for request in (
            {name: value for name, value in sent.items() if name != "trip_distance"},
            {**sent, "trip_distance": None},
        )
    ],
    "served_needed": invoke({name: sent[name] for name in needed})["predictions"],
    "with_offset": invoke({**sent, "pickup_datetime": "2023-04-03T08:00:00-04:00"}),
}))
"""


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A logged model: its folder, and the fitted pipeline."""
    home = tmp_path_factory.mktemp("home")
    settings = settings_for(home)
    lay_tables_of_mlflow(settings)
    store = TrackingStore(settings.tracking_uri, "elsewhere", f"{home}/artifacts", home)
    client = store.client()
    trips = train_trips()
    pipeline = FAMILIES["linear_regression"].make_pipeline().fit(trips, trips["duration_minutes"])
    with tracked_run(client, "elsewhere", "linear", {}) as run:
        uri = log_pipeline(
            run, pipeline, validation_trips().head(5).drop(columns="duration_minutes")
        )
    folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(home / "copy"))
    return Path(folder), pipeline


def test_it_loads_and_serves_from_what_it_carries(logged, tmp_path):
    folder, pipeline = logged
    lines = (folder / "requirements.txt").read_text().splitlines()
    names = {line.partition("==")[0] for line in lines}
    assert names >= {"mlflow", "scikit-learn", "pandas", "numpy", "scipy", "skops", "orjson"}
    assert "xgboost" not in names
    (wheel,) = (line for line in lines if line.startswith("wheels/"))
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target",
         tmp_path / "site", wheel],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    made = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, folder],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**inherited_environment(), "PYTHONPATH": str(tmp_path / "site")},
    )
    assert made.returncode == 0, made.stderr[-3000:]
    found = json.loads(made.stdout.splitlines()[-1])
    assert found["package"].startswith(str(tmp_path / "site"))
    frame = validation_trips().head(1).drop(columns="duration_minutes").assign(
        PULocationID=74, DOLocationID=75, trip_distance=3.0, passenger_count=2.0,
        pickup_datetime="2023-04-03 08:00",
    )  # fmt: skip
    expected = pipeline.predict(frame.astype({"pickup_datetime": "datetime64[us]"})).tolist()
    assert found["whole"] == found["served"] == expected
    left_out = frame.assign(trip_distance=np.nan).astype({"pickup_datetime": "datetime64[us]"})
    usual = pipeline.predict(left_out).tolist()
    assert usual != expected
    assert [*found["left_out"], *found["served_left_out"]] == [usual] * 6
    assert all(1 <= found[way][0] <= 60 for way in ("needed", "served_needed"))
    # MLflow takes times of New York only: one with an offset is refused, never shifted.
    assert "timezone-naive" in found["with_offset"]["message"]


def test_the_model_names_its_features_and_types(logged):
    model = mlflow.models.Model.load(logged[0])
    optional = {column.name for column in model.signature.inputs if not column.required}
    assert optional == {"trip_distance", "pickup_datetime", "passenger_count"}
    metadata = model.metadata or {}
    assert metadata["features"] == logged[1]["features"].features_
    assert metadata["indicators"] == logged[1]["encoder"].indicators_


def test_equal_code_makes_an_equal_wheel(logged, tmp_path):
    artifacts._wheel_content.cache_clear()
    (first,) = (logged[0] / "wheels").iterdir()
    assert artifacts.write_wheel(tmp_path).read_bytes() == first.read_bytes()
