"""The worked example of another target: the page's own code, in a copy of the project."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from ml_assets_tests.conftest import REPOSITORY, inherited_environment
from ml_assets_tests.serving.service_process import running_service

PAGE = (REPOSITORY / "docs" / "target.md").read_text()
DEFINITION = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
OWN = "TARGET: Final = DURATION\n"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package with the page's definition, and its environment."""
    folder = tmp_path_factory.mktemp("fares")
    shutil.copytree(
        REPOSITORY / "ml_assets", folder / "ml_assets",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    target = folder / "ml_assets" / "trips" / "target.py"
    assert target.read_text().count(OWN) == 1
    target.write_text(target.read_text().replace(OWN, DEFINITION))
    environment = inherited_environment() | {
        "PYTHONPATH": str(folder),
        "ML_ASSETS_HOME": str(folder / "home"),
    }
    return folder, environment


def ml_assets(copy, *arguments):
    folder, environment = copy
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from ml_assets.cli import main; main()", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def trained(copy):
    return json.loads(
        ml_assets(copy, "run", "--first", "2023-01", "--last", "2023-03", "--trials", "0",
                  "--models", "linear_svr,xgboost", "--json")
    )  # fmt: skip


def test_two_families_are_trained_evaluated_and_promoted(copy, trained):
    best, other = trained["models"]
    assert {best["model"], other["model"]} == {"linear_svr", "xgboost"}
    assert 0 < best["test_rmse"] <= other["test_rmse"] < 6  # the fares deviate by 10 dollars
    assert trained["champion"] == best["model"]
    assert trained["registry_version"]
    assert "promoted" in ml_assets(copy, "decisions")
    assert "USD" in ml_assets(copy, "leaderboard")


def test_the_service_and_a_batch_predict_the_same_fares(copy, trained):
    folder, environment = copy
    near = {"PULocationID": 74, "DOLocationID": 75, "trip_distance": 1.5,
            "pickup_datetime": "2023-04-03T08:30:00"}  # fmt: skip
    requests = [near, near | {"DOLocationID": 138, "trip_distance": 9.0}]
    with running_service(environment, folder / "service.log", folder) as service:
        answered = service.request("POST", "/predict", requests).content["predictions"]
    assert len(answered) == 2
    lower, predicted, upper = (
        [answer[f"{kind}_dollars"] for answer in answered]
        for kind in ("lower", "predicted", "upper")
    )
    assert 3 <= predicted[0] < predicted[1] <= 120
    assert all(
        low <= value <= high for low, value, high in zip(lower, predicted, upper, strict=True)
    )
    (folder / "requests.jsonl").write_text("\n".join(map(json.dumps, requests)))
    ml_assets(copy, "predict", "requests.jsonl", "--out", "fares.jsonl")
    rows = [json.loads(line) for line in (folder / "fares.jsonl").read_text().splitlines()]
    assert [row["predicted_dollars"] for row in rows] == predicted
