"""From nothing to a prediction: train on the sample, serve, ask by page, HTTP, file and pipeline."""

import csv
import json
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ml_assets_tests.cli.calling import start
from ml_assets_tests.conftest import REPOSITORY
from ml_assets_tests.docs.pages import curl_commands
from ml_assets_tests.serving.service_process import Service, running_service

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from ml_assets_tests.browser.conftest import Pictures

pytestmark = pytest.mark.browser

REQUESTS = [
    {
        "PULocationID": 74,
        "DOLocationID": 75,
        "trip_distance": 2.5,
        "pickup_datetime": "2023-07-03T08:15",
    },
    {
        "PULocationID": 75,
        "DOLocationID": 138,
        "trip_distance": 5.75,
        "pickup_datetime": "2023-07-04T17:30",
        "passenger_count": 2,
    },
    {"PULocationID": 74, "DOLocationID": 138, "pickup_datetime": "2023-07-05T18:40"},
    {
        "PULocationID": 41,
        "DOLocationID": 265,
        "trip_distance": 0,
        "pickup_datetime": "2023-07-09T02:05",
        "passenger_count": 6,
    },
]
MINUTES = ("predicted_minutes", "lower_minutes", "upper_minutes")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An empty folder in which the README's first command has been run, for two families."""
    home = tmp_path_factory.mktemp("from_nothing")
    variables = {"ML_ASSETS_HOME": str(home / "home"), "MLFLOW_TRACKING_URI": ""}
    arguments = "run --first 2023-01 --last 2023-06 --models xgboost,linear_regression --trials 0"
    process = start([*arguments.split(), "--json"], variables)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert json.loads(out)["champion"] in ("xgboost", "linear_regression")
    return variables


@pytest.fixture(scope="module")
def service(trained: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(trained, tmp_path_factory.mktemp("log") / "serve.log") as running:
        yield running


@pytest.fixture(scope="module")
def over_http(service: Service) -> list[dict]:
    return [service.request("POST", "/predict", request).content for request in REQUESTS]


def minutes_of(answer: dict) -> tuple:
    """Return the minutes, and the distance that they are for."""
    numbers = (float(answer[name]) for name in (*MINUTES, "distance_miles"))
    return *numbers, answer["distance"]


def test_pipeline_and_http_agree_to_the_last_bit(trained, over_http, monkeypatch):
    import pandas as pd

    from ml_assets.config.settings import read_settings
    from ml_assets.registry.loading import load_model
    from ml_assets.registry.registry import Registry

    model = load_model(Registry.of(read_settings(trained)))
    frame = pd.DataFrame(REQUESTS)
    frame["pickup_datetime"] = pd.to_datetime(frame["pickup_datetime"])
    assert list(model.pipeline.predict(frame)) == [
        answer["predicted_minutes"] for answer in over_http
    ]
    assert {answer["model_version"] for answer in over_http} == {model.version}


def test_one_by_one_and_as_a_list_agree(service, over_http):
    answer = service.request("POST", "/predict", REQUESTS).content
    assert [minutes_of(found) for found in answer["predictions"]] == list(
        map(minutes_of, over_http)
    )


def test_a_file_agrees(trained, over_http, tmp_path):
    request, answered = tmp_path / "asked.csv", tmp_path / "answered.csv"
    with request.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*REQUESTS[1]])
        writer.writeheader()
        writer.writerows(REQUESTS)
    process = start(["predict", str(request), "--out", str(answered)], trained)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    with answered.open(newline="") as file:
        assert [minutes_of(row) for row in csv.DictReader(file)] == list(map(minutes_of, over_http))


def test_the_page_shows_these_minutes(service, over_http, page: "Page", pictures: "Pictures"):
    page.goto(f"http://127.0.0.1:{service.port}/")
    for request, expected in zip(REQUESTS, over_http, strict=True):
        page.locator("#pickup").fill(str(request["PULocationID"]))
        page.locator("#dropoff").fill(str(request["DOLocationID"]))
        page.locator("#miles").fill(str(request.get("trip_distance", "")))
        page.locator("#when").fill(str(request["pickup_datetime"]))
        page.locator("#passengers").fill(str(request.get("passenger_count", "")))
        with page.expect_response(lambda response: "/predict" in response.url) as heard:
            page.locator("#predict").click()
        assert minutes_of(heard.value.json()) == minutes_of(expected)
        shown = page.locator("#minutes")
        page.wait_for_function(
            "expected => Number(document.querySelector('#minutes').value) === expected",
            arg=expected["predicted_minutes"],
        )
        assert float(shown.inner_text()) == pytest.approx(expected["predicted_minutes"], abs=0.051)
    pictures.take(page, "playground")


def test_the_page_s_command_gives_them_too(service, over_http, page: "Page"):
    command = page.locator("#command").inner_text()
    done = subprocess.run(
        command, shell=True, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    assert minutes_of(json.loads(done.stdout)) == minutes_of(over_http[-1])


@pytest.mark.parametrize("command", curl_commands("/predict"))
def test_the_documented_call_is_answered(service, command):
    here = command.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}")
    done = subprocess.run(here, shell=True, capture_output=True, text=True, timeout=60, check=True)
    lower, predicted, upper = (
        json.loads(done.stdout)[name]
        for name in ("lower_minutes", "predicted_minutes", "upper_minutes")
    )
    assert 1 <= lower <= predicted <= upper <= 60
