"""A candidate that is best because it has read the test durations fails its checks."""

import json
import subprocess
import sys

import pytest

from ml_assets_tests.conftest import REPOSITORY

CHECK = "no_test_leakage"
LEAKS = {
    "the test month": "seems to have seen the test trips",
    "every month": "seems to have memorized the test trips",
}
"""The finding on a model that has read these months."""


@pytest.fixture(scope="module")
def decided(trained_home, tmp_path_factory):
    """The decision on the family, by the months that it read during the fit."""
    command = [sys.executable, "-W", "ignore", "-m", "ml_assets_tests.graph.leaking_family"]
    answer = subprocess.run(
        [*command, trained_home.home, trained_home.trips, tmp_path_factory.mktemp("leaking")],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-2000:]
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.parametrize(("reads", "finding"), LEAKS.items())
def test_a_candidate_that_has_read_the_test_durations_is_not_promoted(decided, reads, finding):
    made = decided[reads]
    assert made["best"] == "with_memory"
    assert made["rmse"] < 0.1, "it no longer leaks: plant the leak again"
    assert made["kept"]
    assert not made["promoted"]
    assert made["failed"] == [f"check: {CHECK}"]
    assert f"with_memory fails check: {CHECK}: " in made["reason"]
    assert finding in made["reason"]
    assert f"with_memory_model/{CHECK}" in made["failed_checks"]
    assert "model_leaderboard/best_model_is_servable" in made["failed_checks"]


def test_the_same_family_without_leakage_passes_the_check(decided):
    made = decided["nothing"]
    its_own = [name for name in made["failed_checks"] if not name.startswith("champion_model/")]
    # It is worse than a baseline without a distance, and therefore not servable; nothing else.
    assert sorted(its_own) == [
        "model_leaderboard/best_model_is_servable",
        "with_memory_model/better_than_baselines",
    ]
    assert f"check: {CHECK}" not in made["failed"]
