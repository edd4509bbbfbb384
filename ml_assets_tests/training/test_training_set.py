"""A training set records its exact inputs, and loads nothing else."""

import polars as pl
import pytest

from ml_assets.config.code_version import model_code_version
from ml_assets.evaluation.records import Role
from ml_assets.storage.trip_store import MonthNotFound
from ml_assets.training.training_set import TrainingSetError, build_training_set, load_trips
from ml_assets.training.windows import choose_window
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET
from ml_assets_tests.storage.stored_months import put_features, put_month, put_tables, store_at

MONTHS = [Month(2023, number) for number in (1, 2, 3, 4)]
ROLES: tuple[Role, ...] = ("train", "validation", "test")


@pytest.fixture
def store(tmp_path):
    store = store_at(tmp_path)
    for rows, month in enumerate(MONTHS, start=200):
        put_month(store, month, rows)
    return store


@pytest.fixture
def training_set(store):
    return build_training_set(store, choose_window(store.months("trip_features")))


def test_it_records_months_rows_checksums_source_and_code(store, training_set):
    assert [(use.month, use.role, use.rows) for use in training_set.months] == [
        ("2023-01", "train", 200),
        ("2023-02", "train", 201),
        ("2023-03", "validation", 202),
        ("2023-04", "test", 203),
    ]
    for use, month in zip(training_set.months, MONTHS, strict=True):
        assert use.raw_sha256 == store.raw_record(month).sha256
        assert (use.source, use.code_version) == ("somewhere", "1")
    assert training_set.code_version == model_code_version()
    assert (training_set.dataset, training_set.synthetic) == ("green", False)
    assert (training_set.caveat, training_set.gaps) == (None, [])


def test_the_fingerprint_depends_on_the_months(store, training_set):
    again = build_training_set(store, choose_window(store.months("trip_features")))
    fewer = build_training_set(store, choose_window(MONTHS[:3]))
    assert again.fingerprint == training_set.fingerprint != fewer.fingerprint


def test_it_loads_only_the_trips_of_its_months_in_order(store, training_set):
    for roles, months in ((("train",), MONTHS[:2]), (("test",), MONTHS[3:]), (ROLES, MONTHS)):
        loaded = load_trips(store, training_set, *roles)
        assert list(loaded.columns) == [*REQUEST_COLUMNS, TARGET.name]
        stored = pl.concat(store.read_table("trip_features", month) for month in months)
        assert pl.from_pandas(loaded).equals(stored.select(*REQUEST_COLUMNS, TARGET.name))


def test_beyond_a_bound_it_loads_a_sample_of_each_month(store, training_set):
    loaded = load_trips(store, training_set, *ROLES, max_rows=80, seed=3)
    again = load_trips(store, training_set, *ROLES, max_rows=80, seed=3)
    assert loaded.equals(again)
    assert not loaded.equals(load_trips(store, training_set, *ROLES, max_rows=80, seed=4))
    by_month = loaded["pickup_datetime"].dt.month.value_counts().sort_index()
    assert by_month.to_dict() == {1: 20, 2: 20, 3: 20, 4: 20}
    everything = load_trips(store, training_set, *ROLES)
    assert len(everything.merge(loaded.drop_duplicates())) >= len(loaded)
    assert load_trips(store, training_set, *ROLES, max_rows=len(everything)).equals(everything)


def test_missing_passengers_are_nan_for_models(store):
    raw = store.raw_record(MONTHS[0])
    trips = store.read_table("trip_features", MONTHS[0])
    passengers = pl.Series("passenger_count", [None, *[1.0] * 199], dtype=pl.Float32)
    put_features(store, trips.with_columns(passengers), raw)
    record = build_training_set(store, choose_window(MONTHS))
    loaded = load_trips(store, record, "train")["passenger_count"]
    assert loaded.isna().tolist() == [True] + [False] * (len(loaded) - 1)


def test_two_months_have_a_caveat_and_gaps_are_recorded(store):
    record = build_training_set(store, choose_window([MONTHS[0], MONTHS[3]]))
    assert record.validation_is_test
    assert record.caveat
    assert record.gaps == ["2023-02", "2023-03"]
    assert len(load_trips(store, record, *ROLES)) == 200 + 203


def test_a_republished_month_raises(store, training_set):
    put_month(store, MONTHS[1], rows=150)
    with pytest.raises(TrainingSetError) as error:
        load_trips(store, training_set, "train")
    assert "trip_features of 2023-02 was replaced since the training set was made" in str(
        error.value
    )
    assert "materialize training_set again, then the models" in str(error.value)
    assert len(load_trips(store, training_set, "test")) == 203


@pytest.mark.parametrize("rows", [150, 201, 250])
def test_a_month_cleaned_by_other_code_raises(store, training_set, rows):
    record = store.raw_record(MONTHS[1])
    trips = pl.concat([store.read_table("trip_features", MONTHS[1])] * 2).head(rows)
    put_features(store, trips.with_columns(trip_id=pl.int_range(rows)), record, code_version="2")
    with pytest.raises(TrainingSetError, match="2023-02 was replaced since"):
        load_trips(store, training_set, "train")


def test_the_same_month_stored_again_by_the_same_code_loads(store, training_set):
    before = load_trips(store, training_set, *ROLES)
    put_tables(store, MONTHS[1], store.raw_record(MONTHS[1]))
    assert load_trips(store, training_set, *ROLES).equals(before)


def test_a_removed_month_raises_with_the_command_to_ingest_it(store, training_set):
    store.remove("trip_features", [MONTHS[1]])
    with pytest.raises(MonthNotFound, match=r"trip_features has no month 2023-02.*ml-assets run"):
        load_trips(store, training_set, "train")
