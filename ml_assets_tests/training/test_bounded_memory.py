"""Of months with 112,000 trips, a bounded training holds its sample, and says on what it fitted."""

import tracemalloc

import pytest

from ml_assets.evaluation.records import TrainingSet
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.families import FAMILIES
from ml_assets.training.fit import fit_steps, target_minutes
from ml_assets.training.train_and_evaluate import TuningOptions, load_splits, train_and_evaluate
from ml_assets.training.training_set import build_training_set, load_trips, read_trips
from ml_assets.training.tune import TuningBudget
from ml_assets.training.windows import choose_window
from ml_assets.trips.month import Month
from ml_assets_tests.storage.stored_months import put_month, store_at

MONTHS = [Month(2023, number) for number in range(1, 9)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = store_at(tmp_path_factory.mktemp("home"))
    for month in MONTHS:
        put_month(store, month, 14_000)
    return store


def training_set(store: TripStore, months: int) -> TrainingSet:
    return build_training_set(store, choose_window(MONTHS[-months:]))


def traced_peak(store: TripStore, months: int, max_rows: int | None) -> int:
    record = training_set(store, months)
    tracemalloc.start()
    try:
        load_splits(store, record, max_rows)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_more_months_need_no_more_memory_with_a_bound(store):
    traced_peak(store, 3, 3_000)  # imports and caches
    # What is known of each month (pairs, checksums) takes a little; all rows would be 2.7 times.
    assert traced_peak(store, 8, 3_000) < 1.5 * traced_peak(store, 3, 3_000)
    assert traced_peak(store, 8, None) > 2 * traced_peak(store, 3, None)  # so it can be seen


def test_tables_of_more_months_need_no_more_memory(store):
    def peak(months: int) -> int:
        record = training_set(store, months)
        steps = FAMILIES["extra_trees"].make_pipeline()[:-1]
        sample = load_trips(store, record, "train", max_rows=1_000)

        def past():
            return read_trips(store, record, "train", batch_rows=5_000)

        tracemalloc.start()
        try:
            fit_steps(steps, sample, target_minutes(sample, "training"), past)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(3)  # imports and caches
    assert peak(8) < 1.1 * peak(3)


def test_a_bounded_fit_of_many_trips_states_its_rows(store):
    record = training_set(store, 8)
    splits = load_splits(store, record, 3_000)
    options = TuningOptions(TuningBudget(trials=0))
    found = train_and_evaluate(FAMILIES["linear_svr"], record, splits, options).record
    assert found.rows is not None
    assert (found.rows.fitted, found.rows.available) == (3_000, 98_000)
    assert found.test.rows == 14_000
