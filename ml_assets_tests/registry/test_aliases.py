"""The registry's aliases: one champion, whole, wherever a process dies that moves them."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import mlflow
import pytest

from ml_assets.registry import ConcurrentPromotion
from ml_assets.registry.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry

NAME = "taxi-trip-duration"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    home = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{home}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    return Registry(mlflow.MlflowClient(uri, registry_uri=uri), NAME, home)


@pytest.fixture
def registry(store):
    """Four versions and no alias; what a test does to them is undone."""
    run = store.client.create_run("0")
    for number in range(4):
        store.register(f"{store.lock_folder}/model-{number}", run.info.run_id, {})
    yield store
    store.client.delete_registered_model(NAME)


def served(registry):
    found = registry.client.get_registered_model(NAME).aliases
    return {
        alias: str(found[alias]) if alias in found else None
        for alias in (CHAMPION, PREVIOUS, CHALLENGER)
    }


def test_the_first_champion_has_none_before_it(registry):
    registry.promote("1", expected_current=None)
    assert served(registry) == {CHAMPION: "1", PREVIOUS: None, CHALLENGER: None}


def test_the_former_champion_becomes_previous_and_the_challenger_alias_is_cleared(registry):
    registry.promote("1", expected_current=None)
    registry.set_challenger("2")
    assert served(registry)[CHALLENGER] == "2"
    registry.promote("2", expected_current="1")
    assert served(registry) == {CHAMPION: "2", PREVIOUS: "1", CHALLENGER: None}


def test_a_rejected_challenger_keeps_its_alias_while_another_is_promoted(registry):
    registry.promote("1", expected_current=None)
    registry.set_challenger("3")
    registry.promote("2", expected_current="1")
    assert served(registry)[CHALLENGER] == "3"


def test_a_decision_on_another_champion_changes_nothing(registry):
    registry.promote("1", expected_current=None)
    registry.promote("2", expected_current="1")
    before = served(registry)
    with pytest.raises(ConcurrentPromotion, match="is version 2 now, .* it was 1: decide again"):
        registry.promote("3", expected_current="1")
    assert served(registry) == before


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


def dying(registry: Registry, dies_before: int) -> Registry:
    client: Any = DyingClient(registry.client, dies_before)
    return replace(registry, client=client)


@pytest.mark.parametrize("dies_before", range(4))
def test_wherever_it_dies_there_is_one_champion_and_settling_finishes(registry, dies_before):
    registry.promote("1", expected_current=None)
    registry.promote("2", expected_current="1")
    registry.set_challenger("3")
    with pytest.raises(Died):
        dying(registry, dies_before).promote("3", expected_current="2")
    registry.repair_aliases()
    moved = dies_before == 3  # tag, previous, champion; then only the challenger's alias is left
    expected = {CHAMPION: "3", PREVIOUS: "2"} if moved else {CHAMPION: "2", PREVIOUS: "1"}
    found = served(registry)
    assert {alias: found[alias] for alias in expected} == expected
    assert found[CHALLENGER] == (None if moved else "3")
    if not moved:
        registry.promote("3", expected_current="2")
    assert served(registry) == {CHAMPION: "3", PREVIOUS: "2", CHALLENGER: None}


def test_a_kill_while_promoting_the_second_champion_leaves_no_previous_champion_of_itself(registry):
    registry.promote("1", expected_current=None)
    with pytest.raises(Died):
        dying(registry, 2).promote("2", expected_current="1")
    assert served(registry)[PREVIOUS] == "1"  # itself
    registry.repair_aliases()
    assert served(registry) == {CHAMPION: "1", PREVIOUS: None, CHALLENGER: None}


def test_settling_what_is_in_order_changes_nothing(registry):
    dying(registry, 0).repair_aliases()  # nothing serves
    registry.promote("1", expected_current=None)
    registry.promote("2", expected_current="1")
    dying(registry, 0).repair_aliases()


def test_a_promotion_waits_for_one_that_is_in_progress(registry):
    with ThreadPoolExecutor(1) as threads:
        with registry.lock():
            moving = threads.submit(registry.promote, "1", expected_current=None)
            time.sleep(0.3)
            assert registry.champion() is None
        moving.result()
    assert registry.champion().version == "1"
