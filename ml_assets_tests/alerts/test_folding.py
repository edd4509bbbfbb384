"""Repeated failures of a kind are told once in a window, and none is lost count of."""

import json
import multiprocessing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.folding import WINDOW, end_folds, fold, not_told

NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def failure(at=NOW, kind="retrain: xgboost_model", job="retrain"):
    return Alert(kind, "retrain failed", "http://ui/runs/1", at, "Look.", job=job)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "alerts" / "told.json"


def test_repeats_are_held_back_for_six_hours_and_then_told_with_their_number(state):
    assert fold(failure(), state, NOW) == failure()
    for hours in (1, 5.99):
        assert fold(failure(), state, NOW + hours * HOUR) is None
    later = fold(failure(), state, NOW + 6 * HOUR)
    assert "Repeated: 2 more since 2026-11-25 07:00 UTC, told with this one.\n" in later.text
    assert later.subject == "[ml-assets] retrain failed (2 more)"
    assert fold(failure(), state, NOW + 7 * HOUR) is None
    assert "1 more since 2026-11-25 13:00 UTC" in fold(failure(), state, NOW + 13 * HOUR).text


def test_another_kind_is_told_at_once(state):
    fold(failure(), state, NOW)
    assert fold(failure(kind="retrain: lasso_model"), state, NOW) is not None
    assert fold(failure(kind="ingest_trips: raw_trips"), state, NOW) is not None


def test_a_success_of_the_job_ends_its_folds_and_no_others(state):
    fold(failure(), state, NOW)
    fold(failure(kind="ingest", job="ingest_trips"), state, NOW)
    succeeded = NOW + HOUR
    assert end_folds("retrain", state, succeeded, succeeded) == ["retrain: xgboost_model"]
    assert end_folds("retrain", state, succeeded, succeeded) == []
    assert fold(failure(NOW + 2 * HOUR), state, NOW + 2 * HOUR).folded == 0
    assert fold(failure(kind="ingest", job="ingest_trips"), state, NOW + 2 * HOUR) is None


def test_a_success_before_the_failure_does_not_end_it(state):
    fold(failure(), state, NOW)
    fold(failure(NOW + 2 * HOUR), state, NOW + 2 * HOUR)
    assert end_folds("retrain", state, NOW + HOUR, NOW + 3 * HOUR) == []
    assert fold(failure(NOW + 3 * HOUR), state, NOW + 3 * HOUR) is None


def test_what_no_channel_took_is_told_with_the_next_one_at_once(state):
    for number in range(3):
        told = fold(failure(), state, NOW + number * HOUR)
        assert told.folded == number
        not_told(told, state, NOW + number * HOUR)
    assert "3 more since 2026-11-25 07:00 UTC" in fold(failure(), state, NOW + 4 * HOUR).text
    assert fold(failure(), state, NOW + 5 * HOUR) is None


def test_a_window_of_nothing_folds_nothing(state):
    for _ in range(3):
        assert fold(failure(), state, NOW, timedelta(0)).folded == 0


def test_a_clock_that_was_set_back_silences_nothing(state):
    fold(failure(), state, NOW)
    assert fold(failure(), state, NOW - HOUR) is not None


DAMAGES = [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"retrain: xgboost_model": 1}']


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_state_counts_as_never_told_and_is_mended(state, damage):
    state.parent.mkdir()
    state.write_bytes(damage)
    assert fold(failure(), state, NOW) == failure()
    assert fold(failure(), state, NOW) is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=3))
def test_a_damaged_entry_spoils_no_other(tmp_path_factory, damage):
    state = tmp_path_factory.mktemp("state") / "told.json"
    fold(failure(kind="good"), state, NOW)
    document = json.loads(state.read_text())
    for name in ("at", "held_back", "last", "since", "job"):
        document[f"bad {name}"] = document["good"] | {name: damage}
    document["bad"] = damage
    state.write_text(json.dumps(document))
    assert fold(failure(kind="good"), state, NOW) is None
    fold(failure(kind="bad"), state, NOW)
    assert fold(failure(kind="bad"), state, NOW) is None


@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from("ab"), st.booleans())))
def test_every_failure_is_told_or_counted_and_no_two_messages_are_closer_than_the_window(
    tmp_path_factory, failures
):
    state = tmp_path_factory.mktemp("state") / "told.json"
    now, told_at, pending = NOW, {}, {"a": 0, "b": 0}
    for minutes, kind, taken in failures:
        now += timedelta(minutes=minutes)
        told = fold(failure(now, kind), state, now)
        pending[kind] += 1
        if told is None:
            assert now - told_at[kind] < WINDOW
            continue
        assert told.folded + 1 == pending[kind]
        if taken:
            assert kind not in told_at or now - told_at[kind] >= WINDOW
            told_at[kind], pending[kind] = now, 0
        else:
            not_told(told, state, now)
            told_at.pop(kind, None)


def _fail(state):
    return fold(failure(), state, NOW) is not None


def test_of_many_at_once_one_is_told_and_all_are_counted(state):
    with multiprocessing.get_context("fork").Pool(8) as pool:
        told = pool.map(_fail, [state] * 40)
    assert sum(told) == 1
    assert fold(failure(), state, NOW + 6 * HOUR).folded == 39
