"""A model family is added by one entry."""

import json
import subprocess
import sys


def test_one_entry_adds_asset_checks_leaderboard_row_and_charts(tmp_path):
    command = [sys.executable, "-W", "ignore", "-m", "ml_assets_tests.graph.with_a_new_family"]
    answer = subprocess.run(
        [*command, str(tmp_path)], capture_output=True, text=True, check=False, timeout=180
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    found = json.loads(answer.stdout.splitlines()[-1])
    assert "ridge_model" in found["assets"]
    checks = {check for check in found["checks"] if check.startswith("ridge_model/")}
    assert {check.partition("/")[2] for check in checks} == {
        "better_than_baselines",
        "fit_time_within_budget",
        "interval_coverage",
        "serialization_round_trip",
        "no_test_leakage",
        "predictions_in_range",
    }
    assert found["rows"][0] == "ridge"
    assert {"predicted_versus_actual", "error_by_hour", "slices"} < set(found["metadata"])
