"""Repeated failures of a kind are sent once per window, and every one is counted."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.deduplication import (
    EXPIRES_AFTER,
    WINDOW,
    expire,
    next_pending,
    record_delivery,
    resolve,
)
from ml_assets.alerts.deduplication import deduplicate as claim

NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def failure(at=NOW, kind="retrain: xgboost_model", job="retrain"):
    return Alert(kind, "retrain failed", "http://ui/runs/1", at, "Look.", job=job)


def deduplicate(alert, state, now, window=WINDOW, delivered=True):
    """The alert for which delivery is attempted, or None."""
    attempted = claim(alert, state, now, window)
    if attempted is not None:
        record_delivery(attempted, state, now, delivered=delivered)
    return attempted


def retry_pending(state, now, delivered=True):
    """The pending alerts for which delivery is attempted."""
    attempted = []
    while (alert := next_pending(state, now, exclude=[it.kind for it in attempted])) is not None:
        record_delivery(alert, state, now, delivered=delivered)
        attempted.append(alert)
    return attempted


@pytest.fixture
def state(tmp_path):
    return tmp_path / "alerts" / "told.json"


def test_repeats_are_suppressed_for_six_hours_and_then_sent_with_their_count(state):
    assert deduplicate(failure(), state, NOW) == failure()
    for hours in (1, 5.99):
        assert deduplicate(failure(), state, NOW + hours * HOUR) is None
    later = deduplicate(failure(), state, NOW + 6 * HOUR)
    assert "Repeated: 2 more since 2026-11-25 07:00 UTC, counted in this message.\n" in later.text
    assert later.subject == "[ml-assets] retrain failed (2 more)"
    assert deduplicate(failure(), state, NOW + 7 * HOUR) is None
    assert (
        "1 more since 2026-11-25 13:00 UTC" in deduplicate(failure(), state, NOW + 13 * HOUR).text
    )


def test_another_kind_is_sent_at_once(state):
    deduplicate(failure(), state, NOW)
    assert deduplicate(failure(kind="retrain: lasso_model"), state, NOW) is not None
    assert deduplicate(failure(kind="ingest_trips: raw_trips"), state, NOW) is not None


def test_a_success_of_the_job_resolves_its_failures_and_no_others(state):
    deduplicate(failure(), state, NOW)
    deduplicate(failure(kind="ingest", job="ingest_trips"), state, NOW)
    succeeded = NOW + HOUR
    assert resolve("retrain", state, succeeded, succeeded) == ["retrain: xgboost_model"]
    assert resolve("retrain", state, succeeded, succeeded) == []
    assert deduplicate(failure(NOW + 2 * HOUR), state, NOW + 2 * HOUR).folded == 0
    assert deduplicate(failure(kind="ingest", job="ingest_trips"), state, NOW + 2 * HOUR) is None


def test_a_success_before_the_failure_does_not_resolve_it(state):
    deduplicate(failure(), state, NOW)
    deduplicate(failure(NOW + 2 * HOUR), state, NOW + 2 * HOUR)
    assert resolve("retrain", state, NOW + HOUR, NOW + 3 * HOUR) == []
    assert deduplicate(failure(NOW + 3 * HOUR), state, NOW + 3 * HOUR) is None


def test_undelivered_alerts_are_counted_in_the_next_one_which_is_sent_at_once(state):
    for number in range(3):
        assert deduplicate(failure(), state, NOW + number * HOUR, delivered=False).folded == number
    assert "3 more since 2026-11-25 07:00 UTC" in deduplicate(failure(), state, NOW + 4 * HOUR).text
    assert deduplicate(failure(), state, NOW + 5 * HOUR) is None


def test_an_undelivered_alert_is_resent_whole_without_a_further_failure(state):
    first = deduplicate(failure(), state, NOW, delivered=False)
    assert retry_pending(state, NOW + HOUR, delivered=False) == [first]
    assert retry_pending(state, NOW + 2 * HOUR) == [first]
    assert retry_pending(state, NOW + 3 * HOUR) == []


def test_the_newest_undelivered_alert_is_resent_and_the_others_are_counted(state):
    for number in range(3):
        deduplicate(failure(NOW + number * HOUR), state, NOW + number * HOUR, delivered=False)
    (alert,) = retry_pending(state, NOW + 3 * HOUR)
    assert "Since: 2026-11-25 09:00 UTC" in alert.text
    assert "Repeated: 2 more since 2026-11-25 07:00 UTC, counted in this message.\n" in alert.text


def test_suppressed_repeats_are_sent_at_the_end_of_the_window_without_a_further_failure(state):
    deduplicate(failure(), state, NOW)
    for hours in (1, 2):
        deduplicate(failure(NOW + hours * HOUR), state, NOW + hours * HOUR)
    assert retry_pending(state, NOW + 5.99 * HOUR) == []
    (alert,) = retry_pending(state, NOW + 6 * HOUR)
    assert alert.subject == "[ml-assets] retrain failed (2 more)"
    assert "Since: 2026-11-25 09:00 UTC" in alert.text
    assert "Repeated: 2 more since 2026-11-25 07:00 UTC; this is the newest of them." in alert.text
    assert retry_pending(state, NOW + 13 * HOUR) == []


def test_repeats_are_suppressed_again_after_a_summary_was_sent(state):
    for hours in (0, 1):
        deduplicate(failure(), state, NOW + hours * HOUR)
    retry_pending(state, NOW + 6 * HOUR)
    assert deduplicate(failure(), state, NOW + 7 * HOUR) is None
    (alert,) = retry_pending(state, NOW + 12 * HOUR)
    assert "1 more since 2026-11-25 13:00 UTC" in alert.text


def test_an_alert_of_a_process_that_died_before_sending_is_sent_at_the_end_of_the_window(state):
    claim(failure(), state, NOW)
    assert retry_pending(state, NOW + HOUR) == []
    assert [alert.what for alert in retry_pending(state, NOW + 6 * HOUR)] == ["retrain failed"]


def test_an_alert_undelivered_for_days_is_dropped(state):
    deduplicate(failure(), state, NOW, delivered=False)
    late = NOW + EXPIRES_AFTER
    retry_pending(state, late - HOUR, delivered=False)
    assert expire(state, late - HOUR) == []
    assert expire(state, late) == [failure()]
    assert retry_pending(state, late) == []


def test_a_new_outage_has_its_own_expiry(state):
    deduplicate(failure(), state, NOW, delivered=False)
    retry_pending(state, NOW + HOUR)
    later = NOW + EXPIRES_AFTER
    deduplicate(failure(), state, later, delivered=False)
    assert expire(state, later + HOUR) == []


def test_a_success_does_not_drop_an_undelivered_failure(state):
    deduplicate(failure(), state, NOW, delivered=False)
    assert resolve("retrain", state, NOW + HOUR, NOW + HOUR) == ["retrain: xgboost_model"]
    assert len(retry_pending(state, NOW + 2 * HOUR)) == 1


def test_text_that_no_file_can_hold_is_stored_as_it_is_sent(state):
    alert = Alert("kind", "what \udcff\x1b[2J", "http://ui", NOW, "Look.", ("a\nb" * 9999,))
    deduplicate(alert, state, NOW, delivered=False)
    assert len(state.read_text()) < 5000
    assert [sent.text for sent in retry_pending(state, NOW)] == [alert.text]


def test_a_window_of_zero_suppresses_nothing(state):
    for _ in range(3):
        assert deduplicate(failure(), state, NOW, timedelta(0)).folded == 0


def test_a_clock_that_was_set_back_suppresses_nothing(state):
    deduplicate(failure(), state, NOW)
    assert deduplicate(failure(), state, NOW - HOUR) is not None


DAMAGES = [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"retrain: xgboost_model": 1}']


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_state_counts_as_never_sent_and_is_repaired(state, damage):
    state.parent.mkdir()
    state.write_bytes(damage)
    assert deduplicate(failure(), state, NOW) == failure()
    assert deduplicate(failure(), state, NOW) is None


@settings(deadline=None, max_examples=30)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=3))
def test_a_damaged_entry_does_not_affect_others(tmp_path_factory, damage):
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
def test_every_failure_is_sent_or_counted_and_messages_are_at_least_a_window_apart(
    tmp_path_factory, steps
):
    """A step is a failure of a kind or a retry (None), and whether a channel is available."""
    state = tmp_path_factory.mktemp("state") / "told.json"
    now, sent_at, pending = NOW, {}, {"a": 0, "b": 0}
    for minutes, kind, delivered in steps:
        now += timedelta(minutes=minutes)
        if kind is None:
            attempts = retry_pending(state, now, delivered)
            due = {
                kind
                for kind in "ab"
                if pending[kind] and now - sent_at.get(kind, now - WINDOW) >= WINDOW
            }
            assert {alert.kind for alert in attempts} == due
        else:
            pending[kind] += 1
            attempted = deduplicate(failure(now, kind), state, now, delivered=delivered)
            attempts = [attempted] if attempted else []
            assert attempts or now - sent_at[kind] < WINDOW
        for alert in attempts:
            assert alert.occurrences == pending[alert.kind]
            assert now - sent_at.get(alert.kind, now - WINDOW) >= WINDOW
            if delivered:
                sent_at[alert.kind], pending[alert.kind] = now, 0
            else:
                sent_at.pop(alert.kind, None)


def _fail(state):
    return deduplicate(failure(), state, NOW) is not None


def test_of_many_concurrent_failures_one_is_sent_and_all_are_counted(state):
    # Not a Pool: it ends its processes with SIGTERM, which they ignore if this process does.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        sent = list(pool.map(_fail, [state] * 40))
    assert sum(sent) == 1
    assert deduplicate(failure(), state, NOW + 6 * HOUR).folded == 39
