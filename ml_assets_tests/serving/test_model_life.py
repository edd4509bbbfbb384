"""The champion in a running service: loaded, replaced, and kept when the next one is unusable."""

import asyncio
import gc
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import skops.io

from ml_assets.config.settings import REGISTERED_MODEL
from ml_assets.serving.bundle import CHAMPION_FILE, SERVING_FOLDER
from ml_assets.serving.model_provider import RegistryModelProvider, _warm_up
from ml_assets_tests.serving.service_process import GOOD, free_port, running_service, wait_until
from ml_assets_tests.serving.two_versions import served_home

NOTICED = 60
"""Maximum seconds until a change is noticed on a busy machine."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return served_home(tmp_path_factory)


@pytest.fixture(scope="module")
def running(made, tmp_path_factory):
    with running_service(made.variables, tmp_path_factory.mktemp("log") / "log") as service:
        yield service


@pytest.fixture
def home(made):
    made.promote("1")
    return made


@pytest.fixture
def service(home, running):
    """A service with version 1 in use."""
    wait_until(
        lambda: reachable(running) and running.version() == "1" and not problem(running),
        NOTICED,
        running,
    )
    return running


class Foreign:
    """A type that a pipeline may not contain."""


def state(service):
    return service.request("GET", "/ready").content["registry"]


def reachable(service):
    return state(service)["reachable"]


def problem(service):
    return state(service)["problem"] or ""


def minutes(service):
    return service.request("POST", "/predict", GOOD).content["predicted_minutes"]


def serving_folder(home):
    return home.store.lock_folder / SERVING_FOLDER


def test_a_new_champion_is_loaded_and_the_previous_one_again(service, home):
    first = minutes(service)
    home.promote("2")
    wait_until(lambda: service.version() == "2", NOTICED, service)
    assert minutes(service) < first
    assert service.request("GET", "/model").content["version"] == "2"
    home.promote("1")
    wait_until(lambda: service.version() == "1", NOTICED, service)
    assert minutes(service) == first
    assert state(service)["problem"] is None


def test_the_champion_is_announced_when_it_is_loaded(service):
    lines = [line for line in service.log.read_text().splitlines() if ": page http://" in line]
    before = ("Reading the registry: ", "No model yet (the registry has not answered")
    said = [line for line in lines if not line.startswith(before)]
    assert said[0].startswith("Version 1 (xgboost on the synthetic sample) answers: page http://")


def test_an_unusable_champion_does_not_replace_the_previous_one(service, home):
    client = home.store.client()
    known = client.get_model_version(REGISTERED_MODEL, "2").tags["fingerprint"]
    shutil.rmtree(serving_folder(home), ignore_errors=True)
    client.set_model_version_tag(REGISTERED_MODEL, "2", "fingerprint", json.dumps([1.0] * 6))
    try:
        home.promote("2")
        wait_until(
            lambda: "predicts differently with this code" in problem(service), NOTICED, service
        )
        assert service.version() == "1"
        assert service.metric("ml_assets_model_load_failed") == 1
        assert minutes(service)
    finally:
        client.set_model_version_tag(REGISTERED_MODEL, "2", "fingerprint", known)
        shutil.rmtree(serving_folder(home))
    # The bundle is exported again with the correct predictions.
    wait_until(lambda: service.version() == "2", NOTICED, service)
    assert service.metric("ml_assets_model_load_failed") == 0


def test_a_champion_with_untrusted_types_is_not_loaded(service, home):
    """Write access to the folder of bundles does not allow running code in the service."""
    folder = serving_folder(home) / "3-foreign"
    good = next(serving_folder(home).glob("1-*"))
    shutil.copytree(good, folder)
    skops.io.dump(Foreign(), folder / "model.skops")
    card = json.loads((folder / "card.json").read_text())
    card["sha256"] = hashlib.sha256((folder / "model.skops").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    note = json.dumps({"version": "3", "folder": folder.name})

    def is_refused():
        # Repeatedly, since the registry watcher restores its own manifest.
        (serving_folder(home) / CHAMPION_FILE).write_text(note)
        return "needs types of other packages" in service.log.read_text()

    wait_until(is_refused, NOTICED, service)
    assert service.version() == "1"


def test_a_deleted_registry_is_reported_and_the_service_keeps_answering(service, home):
    database = home.store.lock_folder / "mlflow.db"
    away = database.with_suffix(".away")
    database.rename(away)
    try:
        wait_until(lambda: "the registry is gone" in problem(service), NOTICED, service)
        wait_until(lambda: not reachable(service), NOTICED, service)
        assert "has not answered since 20" in problem(service)
        assert service.request("GET", "/ready").status == 200
        assert minutes(service)
        assert not database.exists()  # SQLite would create a missing file
    finally:
        away.rename(database)
    wait_until(lambda: reachable(service) and not problem(service), NOTICED, service)


def test_a_replaced_database_is_read(service, home):
    database = home.store.lock_folder / "mlflow.db"
    away, other = database.with_suffix(".away"), database.with_suffix(".other")
    shutil.copyfile(database, other)
    with sqlite3.connect(other) as connection:
        connection.execute("UPDATE registered_model_aliases SET version = 2")
    connection.close()
    database.rename(away)
    other.rename(database)
    try:
        wait_until(lambda: service.version() == "2", NOTICED, service)
    finally:
        away.replace(database)


@pytest.fixture(scope="module")
def restarted(made, running, tmp_path_factory):
    """A service with the bundles of the first one, whose registry does not respond.

    The last test that uses it kills it.
    """
    made.promote("1")
    wait_until(lambda: running.version() == "1", NOTICED, running)
    folder = tmp_path_factory.mktemp("restarted")
    shutil.copytree(serving_folder(made), folder / "home" / SERVING_FOLDER)
    unreachable = {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}",
        "ML_ASSETS_HOME": str(folder / "home"),
    }
    with running_service({**made.variables, **unreachable}, folder / "log") as service:
        yield service, unreachable["MLFLOW_TRACKING_URI"]


def test_a_restart_without_a_registry_serves_the_last_champion(service, restarted):
    again, unreachable = restarted
    assert again.version() == "1"
    assert minutes(again) == minutes(service)
    wait_until(lambda: unreachable in problem(again), NOTICED, again)


def test_the_registry_watcher_ends_with_a_killed_service(restarted):
    again, _ = restarted
    watcher = child_of(again.process.pid)
    again.process.kill()
    again.process.wait()
    deadline = time.monotonic() + NOTICED
    while watcher.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_registry_without_a_champion_is_reported(service, home):
    home.promote(None)
    wait_until(lambda: "names no champion: version 1" in problem(service), NOTICED, service)
    assert minutes(service)


def test_a_corrupt_manifest_is_reported_until_it_is_replaced(service, home, tmp_path):
    """Without a registry it is not replaced: the error must not be reported as no champion."""
    models = RegistryModelProvider(tmp_path / SERVING_FOLDER)
    (tmp_path / SERVING_FOLDER).mkdir()
    note = tmp_path / SERVING_FOLDER / CHAMPION_FILE
    note.write_text("{")

    async def look(times):
        for _ in range(times):
            await models._poll()

    asyncio.run(look(3))
    assert "serving cannot be read" in models.registry.problem
    shutil.copytree(next(serving_folder(home).glob("1-*")), tmp_path / SERVING_FOLDER / "1-good")
    note.write_text('{"version": "1", "folder": "1-good"}')
    asyncio.run(look(1))
    assert models.model.card.version == "1"
    assert models.registry.problem is None


def test_a_corrupt_bundle_is_exported_again(service, home, tmp_path):
    bundle = next(serving_folder(home).glob("1-*"))
    content = (bundle / "model.skops").read_bytes()
    (bundle / "model.skops").write_bytes(content[:-100])
    with running_service(home.variables, tmp_path / "log") as another:
        assert another.version() == "1"
        assert "is damaged" in another.log.read_text()
    assert (bundle / "model.skops").read_bytes() == content


def test_two_bundles_are_kept(service, home):
    for name in ("8-old", "9-older"):
        shutil.copytree(next(serving_folder(home).glob("1-*")), serving_folder(home) / name)
    home.promote("2")
    wait_until(lambda: service.version() == "2", NOTICED, service)
    wait_until(lambda: len(list(serving_folder(home).glob("*-*"))) == 2, NOTICED, service)
    assert list(serving_folder(home).glob("2-*"))


def test_a_killed_registry_watcher_is_restarted(service, home):
    watcher = child_of(service.process.pid)
    assert b"registry.watcher" in (watcher / "cmdline").read_bytes()
    kill(watcher, signal.SIGKILL)
    home.promote("2")
    wait_until(lambda: service.version() == "2", NOTICED, service)
    assert child_of(service.process.pid) != watcher


def child_of(pid):
    """Return the folder in ``/proc`` of the only child of a process."""
    deadline = time.monotonic() + NOTICED
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return Path(f"/proc/{children[0]}")
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill(process, number):
    os.kill(int(process.name), number)


def test_a_model_is_served_when_its_fast_path_fails(caplog, monkeypatch):
    def fail(pipeline):
        raise RuntimeError("no trees")

    served: Any = SimpleNamespace(
        model=SimpleNamespace(pipeline=[object()]), card=SimpleNamespace(version="9")
    )
    _warm_up(served)
    monkeypatch.setattr("ml_assets.serving.model_provider.enable_fast_path", fail)
    _warm_up(served)
    gc.unfreeze()
    assert [record.getMessage() for record in caplog.records] == [
        "version 9 is served without its fast path"
    ]
