"""Repeated failures of a kind are told once in a window, and none is lost count of."""

import json
import multiprocessing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.deduplication import (
    GIVEN_UP_AFTER,
    WINDOW,
    end_folds,
    give_up,
    next_waiting,
    settle,
)
from ml_assets.alerts.deduplication import deduplicate as claim

NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def failure(at=NOW, kind="retrain: xgboost_model", job="retrain"):
    return Alert(kind, "retrain failed", "http://ui/runs/1", at, "Look.", job=job)


def deduplicate(alert, state, now, window=WINDOW, taken=True):
    """What is told of a failure, or tried to be."""
    told = claim(alert, state, now, window)
    if told is not None:
        settle(told, state, now, taken=taken)
    return told


def retry_pending(state, now, taken=True):
    """What is told of those that wait, or tried to be."""
    told = []
    while (alert := next_waiting(state, now, but=[each.kind for each in told])) is not None:
        settle(alert, state, now, taken=taken)
        told.append(alert)
    return told


@pytest.fixture
def state(tmp_path):
    return tmp_path / "alerts" / "told.json"


def test_repeats_are_held_back_for_six_hours_and_then_told_with_their_number(state):
    assert deduplicate(failure(), state, NOW) == failure()
    for hours in (1, 5.99):
        assert deduplicate(failure(), state, NOW + hours * HOUR) is None
    later = deduplicate(failure(), state, NOW + 6 * HOUR)
    assert "Repeated: 2 more since 2026-11-25 07:00 UTC, told with this one.\n" in later.text
    assert later.subject == "[ml-assets] retrain failed (2 more)"
    assert deduplicate(failure(), state, NOW + 7 * HOUR) is None
    assert (
        "1 more since 2026-11-25 13:00 UTC" in deduplicate(failure(), state, NOW + 13 * HOUR).text
    )


def test_another_kind_is_told_at_once(state):
    deduplicate(failure(), state, NOW)
    assert deduplicate(failure(kind="retrain: lasso_model"), state, NOW) is not None
    assert deduplicate(failure(kind="ingest_trips: raw_trips"), state, NOW) is not None


def test_a_success_of_the_job_ends_its_folds_and_no_others(state):
    deduplicate(failure(), state, NOW)
    deduplicate(failure(kind="ingest", job="ingest_trips"), state, NOW)
    succeeded = NOW + HOUR
    assert end_folds("retrain", state, succeeded, succeeded) == ["retrain: xgboost_model"]
    assert end_folds("retrain", state, succeeded, succeeded) == []
    assert deduplicate(failure(NOW + 2 * HOUR), state, NOW + 2 * HOUR).folded == 0
    assert deduplicate(failure(kind="ingest", job="ingest_trips"), state, NOW + 2 * HOUR) is None


def test_a_success_before_the_failure_does_not_end_it(state):
    deduplicate(failure(), state, NOW)
    deduplicate(failure(NOW + 2 * HOUR), state, NOW + 2 * HOUR)
    assert end_folds("retrain", state, NOW + HOUR, NOW + 3 * HOUR) == []
    assert deduplicate(failure(NOW + 3 * HOUR), state, NOW + 3 * HOUR) is None


def test_what_no_channel_took_is_told_with_the_next_one_at_once(state):
    for number in range(3):
        assert deduplicate(failure(), state, NOW + number * HOUR, taken=False).folded == number
    assert "3 more since 2026-11-25 07:00 UTC" in deduplicate(failure(), state, NOW + 4 * HOUR).text
    assert deduplicate(failure(), state, NOW + 5 * HOUR) is None


def test_what_no_channel_took_is_told_whole_as_soon_as_one_does_though_nothing_follows(state):
    first = deduplicate(failure(), state, NOW, taken=False)
    assert retry_pending(state, NOW + HOUR, taken=False) == [first]
    assert retry_pending(state, NOW + 2 * HOUR) == [first]
    assert retry_pending(state, NOW + 3 * HOUR) == []


def test_of_what_no_channel_took_the_newest_is_told_and_the_others_are_counted(state):
    for number in range(3):
        deduplicate(failure(NOW + number * HOUR), state, NOW + number * HOUR, taken=False)
    (told,) = retry_pending(state, NOW + 3 * HOUR)
    assert "Since: 2026-11-25 09:00 UTC" in told.text
    assert "Repeated: 2 more since 2026-11-25 07:00 UTC, told with this one.\n" in told.text


def test_repeats_that_were_held_back_are_told_when_the_window_is_over_though_nothing_follows(state):
    deduplicate(failure(), state, NOW)
    for hours in (1, 2):
        deduplicate(failure(NOW + hours * HOUR), state, NOW + hours * HOUR)
    assert retry_pending(state, NOW + 5.99 * HOUR) == []
    (told,) = retry_pending(state, NOW + 6 * HOUR)
    assert told.subject == "[ml-assets] retrain failed (2 more)"
    assert "Since: 2026-11-25 09:00 UTC" in told.text
    assert "Repeated: 2 more since 2026-11-25 07:00 UTC; this is the newest of them." in told.text
    assert retry_pending(state, NOW + 13 * HOUR) == []


def test_repeats_are_held_back_anew_after_they_were_told(state):
    for hours in (0, 1):
        deduplicate(failure(), state, NOW + hours * HOUR)
    retry_pending(state, NOW + 6 * HOUR)
    assert deduplicate(failure(), state, NOW + 7 * HOUR) is None
    (told,) = retry_pending(state, NOW + 12 * HOUR)
    assert "1 more since 2026-11-25 13:00 UTC" in told.text


def test_what_a_process_that_died_did_not_get_to_tell_is_told_when_the_window_is_over(state):
    claim(failure(), state, NOW)
    assert retry_pending(state, NOW + HOUR) == []
    assert [alert.what for alert in retry_pending(state, NOW + 6 * HOUR)] == ["retrain failed"]


def test_what_no_channel_takes_for_days_is_given_up(state):
    deduplicate(failure(), state, NOW, taken=False)
    late = NOW + GIVEN_UP_AFTER
    retry_pending(state, late - HOUR, taken=False)
    assert give_up(state, late - HOUR) == []
    assert give_up(state, late) == [failure()]
    assert retry_pending(state, late) == []


def test_a_new_outage_has_its_own_time_until_it_is_given_up(state):
    deduplicate(failure(), state, NOW, taken=False)
    retry_pending(state, NOW + HOUR)
    later = NOW + GIVEN_UP_AFTER
    deduplicate(failure(), state, later, taken=False)
    assert give_up(state, later + HOUR) == []


def test_a_success_does_not_silence_a_failure_that_nobody_was_told_of(state):
    deduplicate(failure(), state, NOW, taken=False)
    assert end_folds("retrain", state, NOW + HOUR, NOW + HOUR) == ["retrain: xgboost_model"]
    assert len(retry_pending(state, NOW + 2 * HOUR)) == 1


def test_words_that_no_file_can_hold_are_kept_as_they_are_shown(state):
    alert = Alert("kind", "what \udcff\x1b[2J", "http://ui", NOW, "Look.", ("a\nb" * 9999,))
    deduplicate(alert, state, NOW, taken=False)
    assert len(state.read_text()) < 5000
    assert [told.text for told in retry_pending(state, NOW)] == [alert.text]


def test_a_window_of_nothing_folds_nothing(state):
    for _ in range(3):
        assert deduplicate(failure(), state, NOW, timedelta(0)).folded == 0


def test_a_clock_that_was_set_back_silences_nothing(state):
    deduplicate(failure(), state, NOW)
    assert deduplicate(failure(), state, NOW - HOUR) is not None


DAMAGES = [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"retrain: xgboost_model": 1}']


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_state_counts_as_never_told_and_is_mended(state, damage):
    state.parent.mkdir()
    state.write_bytes(damage)
    assert deduplicate(failure(), state, NOW) == failure()
    assert deduplicate(failure(), state, NOW) is None


@settings(deadline=None, max_examples=30)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=3))
def test_a_damaged_entry_spoils_no_other(tmp_path_factory, damage):
    state = tmp_path_factory.mktemp("state") / "told.json"
    deduplicate(failure(kind="good"), state, NOW)
    document = json.loads(state.read_text())
    for name in ("at", "held_back", "last", "since", "job", "waiting", "until"):
        document[f"bad {name}"] = document["good"] | {name: damage}
    document["bad"] = damage
    state.write_text(json.dumps(document))
    assert deduplicate(failure(kind="good"), state, NOW) is None
    deduplicate(failure(kind="bad"), state, NOW)
    assert deduplicate(failure(kind="bad"), state, NOW) is None


@settings(deadline=None, max_examples=50)  # each step is written to disk, however busy that is
@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from(["a", "b", None]), st.booleans()),
        max_size=20,
    )
)
def test_every_failure_is_told_or_counted_and_no_two_messages_are_closer_than_the_window(
    tmp_path_factory, steps
):
    """A step is a failure of a kind, or a look at what waits, and whether a channel is there."""
    state = tmp_path_factory.mktemp("state") / "told.json"
    now, told_at, pending = NOW, {}, {"a": 0, "b": 0}
    for minutes, kind, taken in steps:
        now += timedelta(minutes=minutes)
        if kind is None:
            attempts = retry_pending(state, now, taken)
            due = {
                kind
                for kind in "ab"
                if pending[kind] and now - told_at.get(kind, now - WINDOW) >= WINDOW
            }
            assert {told.kind for told in attempts} == due
        else:
            pending[kind] += 1
            attempts = [
                told for told in [deduplicate(failure(now, kind), state, now, taken=taken)] if told
            ]
            assert attempts or now - told_at[kind] < WINDOW
        for told in attempts:
            assert told.counted == pending[told.kind]
            assert now - told_at.get(told.kind, now - WINDOW) >= WINDOW
            if taken:
                told_at[told.kind], pending[told.kind] = now, 0
            else:
                told_at.pop(told.kind, None)


def _fail(state):
    return deduplicate(failure(), state, NOW) is not None


def test_of_many_at_once_one_is_told_and_all_are_counted(state):
    with multiprocessing.get_context("fork").Pool(8) as pool:
        told = pool.map(_fail, [state] * 40)
    assert sum(told) == 1
    assert deduplicate(failure(), state, NOW + 6 * HOUR).folded == 39
