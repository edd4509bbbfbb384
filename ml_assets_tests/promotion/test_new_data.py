"""Whether there is something to retrain on: exactly what the last training did not know."""

import pytest

from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.new_data import (
    data_fingerprint,
    last_applied,
    new_data_since,
    next_training,
)
from ml_assets.training.training_set import (
    TrainingSetError,
    build_training_set,
    rejected_months,
)
from ml_assets.training.windows import choose_window
from ml_assets.trips.month import Month
from ml_assets_tests.promotion.made_decisions import decision_on
from ml_assets_tests.storage.stored_months import put_features, put_month, store_at

MONTHS = [Month(2023, number) for number in (1, 2, 3, 4)]


@pytest.fixture
def store(tmp_path):
    store = store_at(tmp_path)
    for month in MONTHS[:3]:
        put_month(store, month, 200)
    return store


def ahead_of(store):
    found = next_training(store).training_set
    assert found is not None
    return found


def test_before_the_first_training_every_month_is_new(store):
    news = new_data_since(ahead_of(store), None)
    assert str(news) == "new: 2023-01 to 2023-03"


def test_what_was_trained_on_is_no_news_and_a_later_month_is(store):
    last = decision_on(ahead_of(store))
    assert not new_data_since(ahead_of(store), last)
    put_month(store, MONTHS[3])
    assert str(new_data_since(ahead_of(store), last)) == "new: 2023-04"


def test_a_republished_month_is_news_and_the_same_content_again_is_not(store):
    last = decision_on(ahead_of(store))
    put_month(store, MONTHS[1], 200)
    assert not new_data_since(ahead_of(store), last)
    put_month(store, MONTHS[1], 201)
    assert str(new_data_since(ahead_of(store), last)) == "republished: 2023-02"


def test_other_code_is_no_news_of_data_but_another_training_set(store):
    before = ahead_of(store)
    last = decision_on(before)
    record = store.raw_record(MONTHS[1])
    trips = store.read_table("trip_features", MONTHS[1])
    put_features(store, trips, record, code_version="2")
    after = ahead_of(store)
    assert not new_data_since(after, last)
    assert after.fingerprint != last.training_set


def test_a_persons_narrower_training_is_not_undone_at_once(store):
    narrow = ahead_of(store).model_copy(update={"months": ahead_of(store).months[1:]})
    assert not new_data_since(ahead_of(store), decision_on(narrow))


def test_the_same_data_have_the_same_name_until_they_were_trained_on(store):
    ahead = ahead_of(store)
    last = decision_on(ahead)
    names = {data_fingerprint(ahead, None), data_fingerprint(ahead, last)}
    assert len(names) == 2
    assert data_fingerprint(ahead_of(store), last) in names
    put_month(store, MONTHS[1], 201)
    assert data_fingerprint(ahead_of(store), last) not in names


def test_a_refused_month_is_left_out_and_named(store):
    put_month(store, MONTHS[3], 200)
    empty = store.read_table("trip_features", MONTHS[3]).clear()
    put_features(store, empty, store.raw_record(MONTHS[3]))
    ahead = next_training(store)
    assert [*ahead.rejected] == [MONTHS[3]]
    assert ahead.rejection_summary.startswith("2023-04 is rejected: ")
    assert ahead.training_set.months_in("test") == [MONTHS[2]]


@pytest.mark.parametrize("computed_before", [False, True])
def test_a_training_set_with_a_rejected_month_is_refused(store, computed_before):
    put_month(store, MONTHS[3], 200)
    empty = store.read_table("trip_features", MONTHS[3]).clear()
    put_features(store, empty, store.raw_record(MONTHS[3]))
    rejected = rejected_months(store, MONTHS) if computed_before else None
    with pytest.raises(TrainingSetError, match="unusable for training: 2023-04"):
        build_training_set(store, choose_window(MONTHS), rejected)


def test_a_damaged_month_is_left_out_and_the_others_are_evaluated_without_it(store, tmp_path):
    put_month(store, MONTHS[3], 200)
    (tmp_path / "trip_features" / "green" / f"{MONTHS[1]}.parquet").write_bytes(b"PAR1")
    refused = rejected_months(store, MONTHS)
    assert [*refused] == [MONTHS[1]]
    assert "cannot be read" in refused[MONTHS[1]]
    assert next_training(store).training_set.gaps == ["2023-02"]


def test_too_few_months_are_reported(tmp_path):
    store = store_at(tmp_path)
    assert "there are no months of trips" in next_training(store).fault
    put_month(store, MONTHS[0])
    found = next_training(store)
    assert found.training_set is None
    assert "only 2023-01 is available" in found.fault


def test_the_last_training_is_the_last_that_was_carried_out_and_no_persons_decision(
    store, tmp_path
):
    ahead = ahead_of(store)
    log = DecisionLog(str(tmp_path), "green")
    assert last_applied(log) is None
    hours = iter(range(10))
    for changed in (
        {"decision_id": "applied"},
        {"decision_id": "broken off", "applied": False},
        {"decision_id": "by hand", "kind": "rollback"},
    ):
        at = f"2026-11-01T0{next(hours)}:00:00+0000"
        log.write(decision_on(ahead, decided_at=at, **changed))
    assert last_applied(log).decision_id == "applied"
