"""The registry's aliases: one champion, whole, wherever a process dies that moves them."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mlflow
import pytest

from ml_assets.registry import ConcurrentPromotion
from ml_assets.registry.registry import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    promote_alias,
    register,
    repair_aliases,
    set_challenger,
    version_with_alias,
)
from ml_assets.storage.atomic import locked

NAME = "taxi-trip-duration"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    home = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{home}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(uri, registry_uri=uri), home


@pytest.fixture
def registry(store):
    """Four versions and no alias; what a test does to them is undone."""
    client, home = store
    run = client.create_run("0")
    for number in range(4):
        register(client, NAME, f"{home}/model-{number}", run.info.run_id, {})
    yield client, home
    client.delete_registered_model(NAME)


def served(client):
    found = client.get_registered_model(NAME).aliases
    return {
        alias: str(found[alias]) if alias in found else None
        for alias in (CHAMPION, PREVIOUS, CHALLENGER)
    }


def move(registry, version, expected_current):
    client, home = registry
    promote_alias(client, NAME, version, expected_current=expected_current, lock_folder=home)


def test_the_first_champion_has_none_before_it(registry):
    move(registry, "1", None)
    assert served(registry[0]) == {CHAMPION: "1", PREVIOUS: None, CHALLENGER: None}


def test_the_former_champion_becomes_previous_and_the_challenger_alias_is_cleared(registry):
    client, _ = registry
    move(registry, "1", None)
    set_challenger(client, NAME, "2")
    assert served(client)[CHALLENGER] == "2"
    move(registry, "2", "1")
    assert served(client) == {CHAMPION: "2", PREVIOUS: "1", CHALLENGER: None}


def test_a_rejected_challenger_keeps_its_alias_while_another_is_promoted(registry):
    client, _ = registry
    move(registry, "1", None)
    set_challenger(client, NAME, "3")
    move(registry, "2", "1")
    assert served(client)[CHALLENGER] == "3"


def test_a_decision_on_another_champion_changes_nothing(registry):
    client, _ = registry
    move(registry, "1", None)
    move(registry, "2", "1")
    before = served(client)
    with pytest.raises(ConcurrentPromotion, match="is version 2 now, .* it was 1: decide again"):
        move(registry, "3", "1")
    assert served(client) == before


class Died(BaseException):
    """As SIGKILL: nothing is tidied up."""


class DyingClient:
    """A registry client whose process dies just before the n-th change that it makes."""

    CHANGES = ("set_registered_model_alias", "set_model_version_tag",
               "delete_registered_model_alias")  # fmt: skip

    def __init__(self, client, dies_before):
        self._client = client
        self._left = dies_before

    def __getattr__(self, name):
        call = getattr(self._client, name)
        if name not in self.CHANGES:
            return call

        def change(*arguments):
            if self._left == 0:
                raise Died
            self._left -= 1
            return call(*arguments)

        return change


def dying(client: mlflow.MlflowClient, dies_before: int) -> Any:
    return DyingClient(client, dies_before)


@pytest.mark.parametrize("dies_before", range(4))
def test_wherever_it_dies_there_is_one_champion_and_settling_finishes(registry, dies_before):
    client, home = registry
    move(registry, "1", None)
    move(registry, "2", "1")
    set_challenger(client, NAME, "3")
    with pytest.raises(Died):
        promote_alias(dying(client, dies_before), NAME, "3", expected_current="2", lock_folder=home)
    repair_aliases(client, NAME)
    moved = dies_before == 3  # tag, previous, champion; then only the challenger's alias is left
    expected = {CHAMPION: "3", PREVIOUS: "2"} if moved else {CHAMPION: "2", PREVIOUS: "1"}
    found = served(client)
    assert {alias: found[alias] for alias in expected} == expected
    assert found[CHALLENGER] == (None if moved else "3")
    if not moved:
        move(registry, "3", "2")
    assert served(client) == {CHAMPION: "3", PREVIOUS: "2", CHALLENGER: None}


def test_a_kill_while_promoting_the_second_champion_leaves_no_previous_champion_of_itself(registry):
    client, home = registry
    move(registry, "1", None)
    with pytest.raises(Died):
        promote_alias(dying(client, 2), NAME, "2", expected_current="1", lock_folder=home)
    assert served(client)[PREVIOUS] == "1"  # itself
    repair_aliases(client, NAME)
    assert served(client) == {CHAMPION: "1", PREVIOUS: None, CHALLENGER: None}


def test_settling_what_is_in_order_changes_nothing(registry):
    client, _ = registry
    repair_aliases(dying(client, 0), NAME)  # nothing serves
    move(registry, "1", None)
    move(registry, "2", "1")
    repair_aliases(dying(client, 0), NAME)


def test_a_promotion_waits_for_one_that_is_in_progress(registry):
    client, home = registry
    with ThreadPoolExecutor(1) as threads:
        with locked(home / ".champion.lock"):
            moving = threads.submit(move, registry, "1", None)
            time.sleep(0.3)
            assert version_with_alias(client, NAME, CHAMPION) is None
        moving.result()
    assert str(version_with_alias(client, NAME, CHAMPION).version) == "1"
