"""Rollback over a release that adds a feature: train, add, train, roll back, predict."""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import polars as pl

from ml_assets.registry.loading import load_model
from ml_assets.registry.registry import Registry
from ml_assets_tests.conftest import REPOSITORY, inherited_environment
from ml_assets_tests.training.sample_trips import trips_of

ADDED = """    Feature("night", "Whether it is before five.", lambda request: request.minute_of_day < 300),
"""


def changed_package(folder):
    """Copy the package with one more feature, as a user would add it."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "ml_assets", folder / "ml_assets", ignore=ignored)
    file = folder / "ml_assets" / "pipeline" / "features.py"
    last = '    Feature("airport_trip"'
    content = file.read_text()
    assert last in content
    file.write_text(content.replace(last, ADDED + last))
    return folder


def test_a_champion_from_before_a_feature_was_added_predicts_the_same(ingested_home, tmp_path):
    home, requests = ingested_home.copy(tmp_path), tmp_path / "requests.parquet"
    columns = ["PULocationID", "DOLocationID", "trip_distance", "pickup_datetime"]
    frame = trips_of(3)[columns].head(20).astype({"PULocationID": int, "DOLocationID": int})
    pl.from_pandas(frame).write_parquet(requests)
    with home.open() as project:
        assert project.train(("extra_trees",)).success
        before = load_model(Registry.of(project.settings)).pipeline.predict(frame).tolist()
    code = changed_package(tmp_path / "code")
    made = subprocess.run(
        [sys.executable, "-m", "ml_assets_tests.graph.with_a_new_feature", home.home, home.trips,
         requests],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**inherited_environment(), "PYTHONPATH": f"{code}{os.pathsep}{REPOSITORY}"},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-3000:]
    found = json.loads(made.stdout.splitlines()[-1])
    assert found["columns"] == [35, 36]
    assert found["champion"] == "1"
    assert found["file"] == found["service"] == before
    assert found["newer"] != before
    assert pd.Series(before).between(1, 60).all()
