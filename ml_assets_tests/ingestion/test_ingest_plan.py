"""Planning of the ingestion: each publication once, and again only after a transient failure."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.defs.common import load_cursor
from ml_assets.ingestion.ingest_plan import (
    MAX_MONTHS_PER_RUN,
    IngestCursor,
    PendingMonth,
    RunOutcome,
    RunState,
    next_retry_at,
    pending_months,
    plan_runs,
    update_cursor,
)
from ml_assets.ingestion.source import PublishedMonth
from ml_assets.trips.month import Month, months_between
from ml_assets_tests.storage.stored_months import put_month, store_at, store_raw

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DECEMBER, JANUARY = Month(2025, 12), Month(2026, 1)
HOUR = timedelta(hours=1)


def listed(month, version="180 rows"):
    return PublishedMonth(month, "green", f"somewhere/{month}", version, None)


def pending(*months, publication="1"):
    return [PendingMonth(month, publication, "new") for month in months]


def planned(months, cursor=None, state=RunState.UNKNOWN, now=NOW, at=NOW):
    outcome = RunOutcome(state, None if state == RunState.UNKNOWN else at, "run")
    return plan_runs(months, cursor or IngestCursor(), lambda key: outcome, now)


def requested(months, plan, cursor=None, now=NOW):
    return update_cursor(cursor or IngestCursor(), months, plan, now)


def test_a_month_is_pending_when_it_is_new_republished_or_incomplete(tmp_path):
    store = store_at(tmp_path)
    months = [Month(2023, number) for number in range(1, 6)]
    for month in months[1:4]:
        put_month(store, month)
    store.remove("rejected_trips", [months[2]])
    store_raw(store, months[3], rows=300)  # fetched again, and no tables made from it yet
    found = pending_months(
        "somewhere",
        {
            months[0]: listed(months[0]),
            months[1]: listed(months[1]),
            months[2]: listed(months[2]),
            months[3]: listed(months[3], "300 rows"),
        },
        store,
    )
    assert [(each.month, each.why) for each in found] == [
        (months[0], "new"),
        (months[2], "incomplete"),
        (months[3], "incomplete"),
    ]
    again = pending_months("somewhere", {months[1]: listed(months[1], "other")}, store)
    elsewhere = pending_months("elsewhere", {months[1]: listed(months[1])}, store)
    assert [each.why for each in again + elsewhere] == ["republished"] * 2


def test_a_damaged_table_is_made_again(tmp_path):
    store = store_at(tmp_path)
    put_month(store, JANUARY)
    (tmp_path / "trip_features" / "green" / f"{JANUARY}.parquet").write_bytes(b"PAR1 no more")
    (found,) = pending_months("somewhere", {JANUARY: listed(JANUARY)}, store)
    assert found.why == "incomplete"


def test_the_key_of_a_run_is_the_month_and_its_publication():
    (request,) = planned(pending(JANUARY, publication="etag from tlc")).requests
    assert request.run_key == "2026-01@etag from tlc"


def test_consecutive_months_share_a_run_up_to_a_limit_also_across_new_year():
    months = [*months_between(Month(2024, 11), Month(2025, 12)), Month(2026, 3)]
    plan = planned(pending(*months))
    spans = [(r.months[0].month, r.months[-1].month) for r in plan.requests]
    assert spans == [
        (Month(2024, 11), Month(2025, 10)),
        (Month(2025, 11), Month(2025, 12)),
        (Month(2026, 3), Month(2026, 3)),
    ]
    assert len(plan.requests[0].months) == MAX_MONTHS_PER_RUN


def test_a_month_in_progress_is_not_requested_again():
    months = pending(JANUARY)
    cursor = requested(months, planned(months))
    plan = planned(months, cursor, RunState.ONGOING, NOW + 100 * HOUR)
    assert plan.requests == []
    assert "2026-01 (new): run" in plan.waiting[0]


def test_a_transient_failure_is_retried_after_one_hour_four_and_then_daily():
    months, now, cursor, waits, keys = pending(JANUARY), NOW, IngestCursor(), [], []
    plan = planned(months)
    for _ in range(5):
        cursor = requested(months, plan, cursor, now)
        keys.append(plan.requests[0].run_key)
        failed = now
        while not (
            plan := planned(months, cursor, RunState.TRANSIENT_FAILURE, now, failed)
        ).requests:
            assert "next attempt at" in plan.waiting[0]
            now += HOUR
        waits.append((now - failed) / HOUR)
    assert waits == [1, 4, 24, 24, 24]
    assert keys[:3] == ["2026-01@1", "2026-01@1 #2", "2026-01@1 #3"]


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
def test_a_failed_or_cancelled_month_waits_for_another_publication(state):
    months = pending(JANUARY)
    cursor = requested(months, planned(months))
    plan = planned(months, cursor, state, NOW + timedelta(days=400))
    assert plan.requests == []
    assert "republished" in plan.waiting[0]
    again = planned(pending(JANUARY, publication="2"), cursor, state)
    assert [request.run_key for request in again.requests] == ["2026-01@2"]


def test_months_that_failed_together_are_requested_one_by_one():
    months = pending(DECEMBER, JANUARY)
    cursor = requested(months, planned(months))
    apart = planned(months, cursor, RunState.FAILED)
    assert [request.run_key for request in apart.requests] == ["2025-12@1 #2", "2026-01@1 #2"]
    cursor = requested(months, apart, cursor)
    assert planned(months, cursor, RunState.FAILED, NOW + 100 * HOUR).requests == []


def test_ingested_months_are_removed_from_the_cursor():
    months = pending(DECEMBER, JANUARY)
    cursor = requested(months, planned(months))
    left = requested(months[1:], planned(months[1:], cursor, RunState.ONGOING), cursor)
    assert [*left.months] == ["2026-01"]


@pytest.mark.parametrize(
    "text", [None, "", "{", "17", '{"months": {"2026-01": 3}}', '{"months": {"x": {"at": "now"}}}']
)
def test_a_damaged_cursor_counts_as_empty(text):
    assert load_cursor(IngestCursor, text) == IngestCursor()


def test_the_cursor_is_read_as_it_was_written():
    months = pending(DECEMBER, JANUARY)
    cursor = requested(months, planned(months), IngestCursor(newest_at_first="2026-01"))
    assert load_cursor(IngestCursor, cursor.model_dump_json()) == cursor


STATES = st.sampled_from([state for state in RunState if state != RunState.SUCCEEDED])
TICK = st.tuples(
    st.lists(st.sampled_from("abc"), min_size=4, max_size=4),  # publications of four months
    STATES,
    st.integers(0, 30),  # hours until the next tick
    st.booleans(),  # whether the cursor is lost
)


@settings(max_examples=200, deadline=None)
@given(st.lists(TICK, max_size=12))
def test_no_key_is_requested_twice_and_no_new_publication_waits(ticks):
    months = list(months_between(Month(2025, 11), Month(2026, 2)))
    cursor, now, keys = IngestCursor(), NOW, []
    for publications, state, hours, lost in ticks:
        cursor = IngestCursor() if lost else load_cursor(IngestCursor, cursor.model_dump_json())
        keys = [] if lost else keys
        listing = [
            PendingMonth(month, publication, "new")
            for month, publication in zip(months, publications, strict=True)
        ]
        known = {name: before.publication for name, before in cursor.months.items()}
        plan = planned(listing, cursor, state, now, NOW)
        in_requests = [month for request in plan.requests for month in request.months]
        assert len(in_requests) == len(set(in_requests))
        assert len(in_requests) + len(plan.waiting) == len(listing)
        assert {m for m in listing if known.get(str(m.month)) != m.publication} <= {*in_requests}
        cursor = requested(listing, plan, cursor, now)
        assert {*cursor.months} == {str(month) for month in months}
        changed = [m for m in listing if known.get(str(m.month)) not in (None, m.publication)]
        keys = [] if changed else keys  # what was published before may be published once more
        keys += [request.run_key for request in plan.requests]
        assert len(keys) == len(set(keys))
        now += hours * HOUR


def test_retry_delays_are_counted_from_the_end_of_the_last_attempt():
    assert [next_retry_at(n, NOW) - NOW for n in (1, 2, 3, 9)] == [
        HOUR,
        4 * HOUR,
        24 * HOUR,
        24 * HOUR,
    ]
