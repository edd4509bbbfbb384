"""A challenger that wins since it has read the answers: the checks stop it, and the record says so."""

import json
import subprocess
import sys

import pytest

from ml_assets_tests.conftest import REPOSITORY

CHECK = "no_test_leakage"
LEAKS = ["the test month", "every month"]


@pytest.fixture(scope="module")
def decided(tmp_path_factory):
    """What was decided on the family, by what it had read at its fit."""
    command = [sys.executable, "-W", "ignore", "-m", "ml_assets_tests.graph.leaking_family"]
    answer = subprocess.run(
        [*command, str(tmp_path_factory.mktemp("leaking"))],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-2000:]
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.parametrize("reads", LEAKS)
def test_a_challenger_that_has_read_the_answers_does_not_get_the_place(decided, reads):
    made = decided[reads]
    assert made["best"] == "with_memory"
    assert made["rmse"] < 0.1, "it leaks no more: plant it anew"
    assert made["kept"]
    assert not made["promoted"]
    assert made["lacking"] == [f"check: {CHECK}"]
    assert f"with_memory lacks check: {CHECK}: " in made["reason"]
    found = ("seems to know the test trips", "seems to have memorized the test trips")
    assert any(message in made["reason"] for message in found)
    assert f"with_memory_model/{CHECK}" in made["failed_checks"]
    assert "model_leaderboard/best_model_is_servable" in made["failed_checks"]


def test_the_same_family_without_its_memory_passes_the_check(decided):
    made = decided["nothing"]
    assert made["failed_checks"] == []
    assert f"check: {CHECK}" not in made["lacking"]
