"""A model family is added by one entry, and an optional one is enabled by a variable."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from ml_assets.training.families import OPTIONAL_FAMILIES


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Any:
    """What a training of both families makes in the graph."""
    command = [sys.executable, "-W", "ignore", "-m", "ml_assets_tests.graph.with_more_families"]
    done = subprocess.run(
        [*command, str(tmp_path_factory.mktemp("home"))],
        env={**os.environ, "ML_ASSETS_EXTRA_FAMILIES": "lightgbm"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["success"]
    return found


def test_one_entry_adds_asset_checks_leaderboard_row_and_charts(found):
    assert "ridge_model" in found["assets"]
    checks = {check for check in found["checks"] if check.startswith("ridge_model.")}
    assert {check.partition(".")[2] for check in checks} == {
        "better_than_baselines",
        "fit_time_within_budget",
        "interval_coverage",
        "serialization_round_trip",
        "no_test_leakage",
        "predictions_in_range",
    }
    assert "ridge" in found["rows"]
    assert {"predicted_versus_actual", "error_by_hour", "slices"} < set(found["metadata"])


def test_an_enabled_family_is_trained_promoted_and_predicts_the_same_in_the_service(found):
    assert (found["promoted"], found["champion"]) == (True, "lightgbm")
    checks = found["checks"]
    assert checks["champion_model.serving_parity"]
    assert checks["lightgbm_model.serialization_round_trip"]
    assert checks["lightgbm_model.no_test_leakage"]
    assert {"lightgbm", "trees", "mlflow"} == set(found["kinds"])
    assert OPTIONAL_FAMILIES["lightgbm"].description in found["description"]
    assert found["features"][0]["share"] > 0
    assert all(feature["description"].endswith(".") for feature in found["features"])
