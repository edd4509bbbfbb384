"""Under load the service shuts down and replaces its model cleanly, without registry or log."""

import contextlib
import json
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from ml_assets.serving.request_log.files import FOLDER
from ml_assets.serving.request_log.writer import CAPACITY
from ml_assets_tests.serving.load import Exchange, Load, under_load
from ml_assets_tests.serving.service_process import running_service, wait_until
from ml_assets_tests.serving.two_versions import sample_requests, served_home

SINGLES, LIST = 40, 25
NOTICED_SECONDS = 120
"""Maximum time until a new champion is served. The first one waits for the watcher to import
MLflow and to export it: 37 s beside these clients and other work on two cores, 1 to 3 s later."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return served_home(tmp_path_factory)


@pytest.fixture(scope="module")
def running(home, tmp_path_factory):
    with running_service(home.variables, tmp_path_factory.mktemp("log") / "log") as started:
        yield started


@pytest.fixture
def service(home, running):
    """The service with version 1; the last test stops it."""
    home.promote("1")
    wait_for_version(running, "1")
    return running


@pytest.fixture(scope="module")
def bodies():
    """Alternating single requests and lists."""
    singles, _ = sample_requests(SINGLES)
    return [body for one in singles for body in (one, singles[:LIST])]


@pytest.fixture(scope="module")
def minutes_of(home):
    """Predictions of a version for the body at an index."""
    _, frame = sample_requests(SINGLES)
    expected_minutes = {version: home.minutes(version, frame) for version in home.pipelines}

    def minutes(version: str, at: int) -> list[float]:
        return expected_minutes[version][:LIST] if at % 2 else [expected_minutes[version][at // 2]]

    return minutes


def read(exchange: Exchange) -> tuple[set[str], list[float]]:
    """Return the versions and the minutes in a response."""
    content = exchange.content
    each = content.get("predictions", [content])
    versions = {content["model_version"], *(one["model_version"] for one in each)}
    return versions, [one["predicted_minutes"] for one in each]


def check_responses(load: Load, minutes_of, minimum: int = 50) -> Counter[str]:
    """Check that each response is correct and of one version; return the count of each version."""
    assert len(load.exchanges) >= minimum
    seen: Counter[str] = Counter()
    for exchange in load.exchanges:
        assert exchange.broken is None and exchange.status == 200, exchange
        (version,), minutes = read(exchange)
        assert minutes == minutes_of(version, exchange.at), exchange
        seen[version] += 1
    assert load.refused_connections == 0
    return seen


def test_each_response_is_of_one_version_while_the_champion_changes(
    service, home, bodies, minutes_of
):
    # With a pause, or the clients take the core that the registry's watcher needs to answer.
    with under_load(service, bodies, pause=0.03) as load:
        for version in ("2", "1", "2"):
            home.promote(version)
            wait_for_version(service, version)
        so_far = len(load.exchanges)
        wait_until(lambda: load.reached(so_far + 20), 60, service)
    seen = check_responses(load, minutes_of)
    assert set(seen) == {"1", "2"}
    assert min(seen.values()) >= 10, seen


def test_an_unwritable_log_does_not_affect_predictions_and_drops_are_counted(
    bodies, minutes_of, tmp_path, tmp_path_factory
):
    """With more lists than the queue of the log can hold."""
    home = served_home(tmp_path_factory)
    folder = Path(home.variables["ML_ASSETS_HOME"]) / FOLDER
    folder.write_text("not a folder")
    with running_service(home.variables, tmp_path / "log") as service:
        wait_for_version(service, "1")
        with under_load(service, bodies, clients=4) as load:
            for _ in range(CAPACITY // 10_000 + 2):
                response = service.request("POST", "/predict", [bodies[0]] * 10_000)
                assert response.status == 200, response.body[:300]
                minutes = {one["predicted_minutes"] for one in response.content["predictions"]}
                assert minutes == set(minutes_of("1", 0))
        assert service.metric("ml_assets_request_log_dropped_total") >= 10_000
        assert service.metric("ml_assets_request_log_written_total") == 0
        folder.unlink()
        wait_until(lambda: service.metric("ml_assets_request_log_written_total") > 0, 30, service)
        assert "Traceback" not in service.log.read_text()
    check_responses(load, minutes_of)


def test_an_unresponsive_registry_under_load_does_not_affect_predictions(
    service, home, bodies, minutes_of
):
    database = home.variables["ML_ASSETS_HOME"] + "/mlflow.db"
    with under_load(service, bodies, pause=0.03) as load:
        with contextlib.closing(sqlite3.connect(database, timeout=60)) as other:
            other.execute("BEGIN EXCLUSIVE")
            wait_until(lambda: not registry_reachable(service), 60, service)
            so_far = len(load.exchanges)
            wait_until(lambda: load.reached(so_far + 50), 60, service)
            other.rollback()
        wait_until(lambda: registry_reachable(service), 60, service)
        home.promote("2")
        wait_for_version(service, "2")
    check_responses(load, minutes_of)


def test_termination_under_load_finishes_accepted_requests(service, home, bodies, minutes_of):
    """All requests on accepted connections get complete responses and are logged."""
    with under_load(service, bodies) as load:
        wait_until(lambda: load.reached(200), 60, service)
        status = service.terminate()
        time.sleep(0.2)
    assert status == 0, service.log.read_text()[-2000:]
    assert "Traceback" not in service.log.read_text()
    complete = {one.request_id: one for one in load.exchanges if one.broken is None}
    for exchange in complete.values():
        assert exchange.status == 200
        assert read(exchange) == ({"1"}, minutes_of("1", exchange.at))
    # A new connection may have waited unaccepted when the service stopped listening.
    broken = [one for one in load.exchanges if one.broken is not None]
    assert [one for one in broken if not one.first] == []
    assert logged_ids(home) >= set(complete)
    assert logged_ids(home).isdisjoint(one.request_id for one in broken)


def wait_for_version(service, version: str) -> None:
    wait_until(lambda: service.version() == version, NOTICED_SECONDS, service)


def logged_ids(home) -> set[str]:
    """Return the ids of the logged requests."""
    folder = Path(home.variables["ML_ASSETS_HOME"]) / FOLDER
    lines = [line for file in folder.rglob("*.jsonl") for line in file.read_text().splitlines()]
    return {json.loads(line)["request_id"] for line in lines}


def registry_reachable(service) -> bool:
    return bool(service.request("GET", "/ready").content["registry"]["reachable"])
