"""Under load: the service ends well, changes its model cleanly, and needs neither registry nor log."""

import contextlib
import json
import shutil
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
NOTICED_SECONDS = 30
"""Until a switch is seen, on a busy machine."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return served_home(tmp_path_factory.mktemp("home") / "home")


@pytest.fixture
def service(home, tmp_path):
    home.promote("1")
    with running_service(home.variables, tmp_path / "log") as running:
        wait_until(lambda: running.version() == "1", NOTICED_SECONDS, running)
        yield running


@pytest.fixture(scope="module")
def bodies():
    """Single requests and lists by turns."""
    singles, _ = sample_requests(SINGLES)
    return [body for one in singles for body in (one, singles[:LIST])]


@pytest.fixture(scope="module")
def minutes_of(home):
    """Minutes of each version for the body of an index."""
    _, frame = sample_requests(SINGLES)
    expected_minutes = {version: home.minutes(version, frame) for version in home.pipelines}

    def minutes(version: str, at: int) -> list[float]:
        return expected_minutes[version][:LIST] if at % 2 else [expected_minutes[version][at // 2]]

    return minutes


def read(exchange: Exchange) -> tuple[set[str], list[float]]:
    """The versions that an answer names, and its minutes."""
    content = exchange.content
    each = content.get("predictions", [content])
    versions = {content["model_version"], *(one["model_version"] for one in each)}
    return versions, [one["predicted_minutes"] for one in each]


def require_all_right(load: Load, minutes_of, minimum: int = 50) -> Counter[str]:
    """Every answer is good and that of one version; returns how often each answered."""
    assert len(load.exchanges) >= minimum
    seen: Counter[str] = Counter()
    for exchange in load.exchanges:
        assert exchange.broken is None and exchange.status == 200, exchange
        (version,), minutes = read(exchange)
        assert minutes == minutes_of(version, exchange.at), exchange
        seen[version] += 1
    assert load.refused_connections == 0
    return seen


def test_every_answer_is_of_one_version_while_the_champion_changes_each_second(
    service, home, bodies, minutes_of
):
    with under_load(service, bodies) as load:
        for turn in range(10):
            home.promote(("2", "1")[turn % 2])
            time.sleep(1)
        home.promote("2")
        wait_until(lambda: service.version() == "2", NOTICED_SECONDS, service)
        so_far = len(load.exchanges)
        wait_until(lambda: load.answered(so_far + 20), 60, service)
    seen = require_all_right(load, minutes_of)
    assert set(seen) == {"1", "2"}
    assert min(seen.values()) >= 10, seen


def test_terminated_under_load_it_ends_what_it_began(service, home, bodies, minutes_of):
    """Whatever was sent on a connection that it had taken is answered in whole, and then kept."""
    with under_load(service, bodies) as load:
        wait_until(lambda: load.answered(200), 60, service)
        status = service.terminate()
        time.sleep(0.2)
    assert status == 0, service.log.read_text()[-2000:]
    assert "Traceback" not in service.log.read_text()
    answered = {one.request_id: one for one in load.exchanges if one.broken is None}
    for exchange in answered.values():
        assert exchange.status == 200
        assert read(exchange) == ({"1"}, minutes_of("1", exchange.at))
    # A new connection may have waited unaccepted when the service stopped listening.
    broken = [one for one in load.exchanges if one.broken is not None]
    assert [one for one in broken if not one.first] == []
    assert logged_ids(home) >= set(answered)
    assert logged_ids(home).isdisjoint(one.request_id for one in broken)


def test_a_registry_that_is_silent_under_load_is_not_missed(service, home, bodies, minutes_of):
    database = home.variables["ML_ASSETS_HOME"] + "/mlflow.db"
    with under_load(service, bodies) as load:
        with contextlib.closing(sqlite3.connect(database, timeout=60)) as other:
            other.execute("BEGIN EXCLUSIVE")
            wait_until(lambda: not registry_answers(service), 60, service)
            so_far = len(load.exchanges)
            wait_until(lambda: load.answered(so_far + 50), 60, service)
            other.rollback()
        wait_until(lambda: registry_answers(service), 60, service)
        home.promote("2")
        wait_until(lambda: service.version() == "2", NOTICED_SECONDS, service)
    require_all_right(load, minutes_of)


def test_a_log_that_cannot_be_written_fails_no_answer_and_is_counted(
    home, bodies, minutes_of, tmp_path
):
    """So many lists that not all of them can wait until the log can be written again."""
    folder = Path(home.variables["ML_ASSETS_HOME"]) / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("not a folder")
    home.promote("1")
    with running_service(home.variables, tmp_path / "log") as service:
        wait_until(lambda: service.version() == "1", NOTICED_SECONDS, service)
        with under_load(service, bodies, clients=4) as load:
            for _ in range(CAPACITY // 10_000 + 2):
                answer = service.ask("POST", "/predict", [bodies[0]] * 10_000)
                assert answer.status == 200, answer.body[:300]
                minutes = {one["predicted_minutes"] for one in answer.content["predictions"]}
                assert minutes == set(minutes_of("1", 0))
        assert service.metric("ml_assets_request_log_dropped_total") >= 10_000
        assert service.metric("ml_assets_request_log_written_total") == 0
        folder.unlink()
        wait_until(lambda: service.metric("ml_assets_request_log_written_total") > 0, 30, service)
        assert "Traceback" not in service.log.read_text()
    require_all_right(load, minutes_of)


def logged_ids(home) -> set[str]:
    """Requests that the log holds."""
    folder = Path(home.variables["ML_ASSETS_HOME"]) / FOLDER
    lines = [line for file in folder.rglob("*.jsonl") for line in file.read_text().splitlines()]
    return {json.loads(line)["request_id"] for line in lines}


def registry_answers(service) -> bool:
    return bool(service.ask("GET", "/ready").content["registry"]["reachable"])
