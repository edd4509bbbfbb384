"""The worked example of another target: the page's own code, in a copy of the project."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ml_assets_tests.conftest import REPOSITORY, inherited_environment
from ml_assets_tests.project_copy import copy_project
from ml_assets_tests.serving.service_process import running_service

PAGE = (REPOSITORY / "docs" / "target.md").read_text()
DEFINITION = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
OWN = "TARGET: Final = DURATION\n"


COMMANDS = """
import contextlib, io, json, sys
from ml_assets.cli import main

outputs = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["ml-assets", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise
    outputs.append(output.getvalue())
print(json.dumps(outputs))
"""
"""Calls commands one after the other in a process, and prints their outputs as a list."""
NEAR = {"PULocationID": 74, "DOLocationID": 75, "trip_distance": 1.5,
        "pickup_datetime": "2023-04-03T08:30:00"}  # fmt: skip
REQUESTS = [NEAR, NEAR | {"DOLocationID": 138, "trip_distance": 9.0}]


@dataclass(frozen=True)
class Fares:
    """A copy of the package with the page's definition, in which the fares were learned."""

    folder: Path
    environment: dict[str, str]
    answer: dict[str, Any]
    decisions: str
    leaderboard: str


@pytest.fixture(scope="module")
def fares(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("fares"), "trips/target.py", OWN, DEFINITION)
    (folder / "requests.jsonl").write_text("\n".join(map(json.dumps, REQUESTS)))
    environment = inherited_environment() | {
        "PYTHONPATH": str(folder),
        "ML_ASSETS_HOME": str(folder / "home"),
    }
    commands = [
        ["run", "--first", "2023-01", "--last", "2023-03", "--trials", "0",
         "--models", "linear_svr,xgboost", "--max-rows", "5000", "--json"],
        ["decisions"],
        ["leaderboard"],
        ["predict", "requests.jsonl", "--out", "fares.jsonl"],
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMMANDS, json.dumps(commands)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    answer, decisions, leaderboard, _ = json.loads(done.stdout)
    return Fares(folder, environment, json.loads(answer), decisions, leaderboard)


def test_two_families_are_trained_evaluated_and_promoted(fares):
    best, other = fares.answer["models"]
    assert {best["model"], other["model"]} == {"linear_svr", "xgboost"}
    in_both = [each["test_rmse"] + each["test_rmse_usual"] for each in (best, other)]
    assert in_both == sorted(in_both)
    assert 0 < best["test_rmse"] < 7  # the fares deviate by 10 dollars
    assert 0 < other["test_rmse"] < 7
    assert fares.answer["champion"] == best["model"]
    assert fares.answer["registry_version"]
    assert "promoted" in fares.decisions
    assert "RMSE in dollars" in fares.leaderboard


def test_the_service_and_a_batch_predict_the_same_fares(fares):
    folder = fares.folder
    with running_service(fares.environment, folder / "service.log", folder) as service:
        answered = service.request("POST", "/predict", REQUESTS).content["predictions"]
    assert len(answered) == 2
    lower, predicted, upper = (
        [answer[f"{kind}_dollars"] for answer in answered]
        for kind in ("lower", "predicted", "upper")
    )
    assert 3 <= predicted[0] < predicted[1] <= 120
    assert all(
        low <= value <= high for low, value, high in zip(lower, predicted, upper, strict=True)
    )
    rows = [json.loads(line) for line in (folder / "fares.jsonl").read_text().splitlines()]
    assert [row["predicted_dollars"] for row in rows] == predicted
