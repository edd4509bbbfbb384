"""An optional family in the whole graph: enabled by a variable, promoted, and served."""

import json
import os
import subprocess
import sys

from ml_assets.training.families import OPTIONAL_FAMILIES


def test_an_enabled_family_is_trained_promoted_and_predicts_the_same_in_the_service(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "ml_assets_tests.graph.with_optional_families",
         str(tmp_path)],
        env={**os.environ, "ML_ASSETS_EXTRA_FAMILIES": "lightgbm"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["success"]
    assert (found["promoted"], found["champion"]) == (True, "lightgbm")
    checks = found["checks"]
    assert checks["champion_model/serving_parity"]
    assert checks["lightgbm_model/serialization_round_trip"]
    assert checks["lightgbm_model/no_test_leakage"]
    assert {"lightgbm", "trees", "mlflow"} == set(found["kinds"])
    assert OPTIONAL_FAMILIES["lightgbm"].description in found["description"]
    assert found["features"][0]["share"] > 0
    assert all(feature["description"].endswith(".") for feature in found["features"])
