"""Drift: normal months are within the limit, planted shifts over it; each month is read once."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.monitoring.drift import measure as drift
from ml_assets.monitoring.drift.histograms import (
    DISTANCE_BINS,
    FEATURES,
    bin_counts,
    count_month,
    quantile_bins,
    rare_values_pooled,
    sum_counts,
)
from ml_assets.monitoring.drift.measure import measure_drift
from ml_assets.monitoring.drift.records import (
    DRIFT_LIMIT,
    DriftRecord,
    drift_finding,
    drift_summary,
)
from ml_assets.reporting.monthly_charts import drift_lines
from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import Verdict
from ml_assets_tests.monitoring.watched_months import (
    PLANTED,
    SHIFTED,
    TRAINING_MONTHS,
    champion_of,
    kept_sample,
    put,
    put_published,
    put_trips,
    store_at,
)
from ml_assets_tests.planted import FAULTS

REAL = [f"2023-{number:02d}" for number in range(1, 10)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Four sample months: the champion's three training months and the next one."""
    store = store_at(tmp_path_factory.mktemp("home"))
    for month in (*TRAINING_MONTHS, "2023-04"):
        put(store, month)
    return store


@pytest.fixture(scope="module")
def real(tmp_path_factory, real_trips):
    store = store_at(tmp_path_factory.mktemp("real"), synthetic=False)
    for month in REAL:
        put_published(store, month, real_trips / f"green_tripdata_{month}.parquet")
    return store


def test_a_rejected_month_is_skipped(store):
    rejected = {Month(2023, 4): "row_count: 12 trips"}
    made = measure_drift(store, champion_of(store), rejected=rejected)
    assert made.new_months == []
    assert made.skipped == {"2023-04": "rejected by a data rule: row_count: 12 trips"}
    assert len(measure_drift(store, champion_of(store), made).new_months) == 1


def test_the_same_version_number_in_another_registry_is_another_champion(store):
    first = measure_drift(store, champion_of(store))
    other = champion_of(store, run_id="b", training_months=TRAINING_MONTHS[:1])
    moved = measure_drift(store, other, first)
    assert [entry.month for entry in moved.new_months] == [*TRAINING_MONTHS[1:], "2023-04"]
    assert [entry.psi for entry in moved.months] != [entry.psi for entry in first.months]
    others = moved.entries[: len(first.entries)]
    assert [entry.psi for entry in others] == [entry.psi for entry in first.entries]
    assert all(not entry.shares for entry in others)  # kept of the current champion only


def read_months(monkeypatch):
    """Record the months that are read from here on."""
    read = []
    requests = drift._count

    def recorded(store, month):
        read.append(str(month))
        return requests(store, month)

    monkeypatch.setattr(drift, "_count", recorded)
    return read


@pytest.mark.parametrize("fitted", [1, 3, 6, 8])
def test_real_months_are_within_the_limit(real, fitted):
    made = measure_drift(real, champion_of(real, training_months=tuple(REAL[:fitted])))
    assert [entry.month for entry in made.months] == REAL
    assert len(made.monthly_values) == 9 - fitted
    assert max(entry.worst[1] for entry in made.months) < DRIFT_LIMIT / 2
    assert drift_finding(made).verdict == Verdict.PASS


@pytest.mark.parametrize(
    ("shift", "feature"),
    [
        (pl.col("trip_distance") * 1.609, "trip_distance"),
        ((266 - pl.col("PULocationID")).alias("PULocationID"), "pickup_zone"),
        (pl.col("pickup_datetime").dt.offset_by("4h"), "hour_of_week"),
        (pl.lit(None, pl.Float32).alias("passenger_count"), "passenger_count"),
    ],
)
def test_a_shift_planted_in_a_real_month_is_over_the_limit(real, tmp_path, shift, feature):
    store = store_at(tmp_path, synthetic=False)
    for month in REAL[5:8]:
        put_trips(store, month, real.read_table("trip_features", Month.parse(month)))
    shifted = real.read_table("trip_features", Month.parse(REAL[8])).with_columns(shift)
    put_trips(store, REAL[8], shifted)
    made = measure_drift(store, champion_of(store, training_months=tuple(REAL[5:8])))
    over = {name for name, index in made.months[-1].psi.items() if index > DRIFT_LIMIT}
    assert feature in over
    assert over <= {feature, "borough_pair"}


@pytest.mark.parametrize("shift", PLANTED)
def test_a_planted_shift_is_over_the_limit_and_names_its_feature(tmp_path, shift):
    store = store_at(tmp_path)
    for month in TRAINING_MONTHS:
        put(store, month)
    put(store, "2023-04", PLANTED[shift])
    made = measure_drift(store, champion_of(store))
    (value,) = made.monthly_values
    assert value.breached
    assert value.what == f"drift of {SHIFTED[shift]}"
    found = drift_finding(made)
    assert found.verdict == Verdict.WARN
    for part in ("2023-04", SHIFTED[shift], f"{made.months[-1].worst[1]:.3f}", "limit 0.25"):
        assert part in found.sentence


def test_few_trips_do_not_drift_by_chance(store, tmp_path):
    few = store_at(tmp_path)
    for month in (*TRAINING_MONTHS, "2023-04"):
        put_trips(few, month, kept_sample(month).gather_every(40))
    assert few.lineage("trip_features", Month(2023, 4))[1] < 250
    made = measure_drift(few, champion_of(few))
    assert not made.monthly_values[0].breached


def test_a_month_with_too_few_trips_is_skipped_with_the_reason(tmp_path):
    store = store_at(tmp_path)
    for month in TRAINING_MONTHS:
        put(store, month)
    put_trips(store, "2023-04", kept_sample("2023-04").head(99))
    made = measure_drift(store, champion_of(store))
    assert [entry.month for entry in made.months] == [*TRAINING_MONTHS]
    assert made.skipped == {"2023-04": "99 trips, drift needs at least 100"}
    assert drift_finding(made).verdict == Verdict.SKIP


def test_measured_months_are_not_read_again(store, monkeypatch):
    first = measure_drift(store, champion_of(store))
    read = read_months(monkeypatch)
    again = measure_drift(store, champion_of(store), first)
    assert read == []
    assert again.entries == first.entries


def test_a_republished_month_is_measured_again(tmp_path, monkeypatch):
    store = store_at(tmp_path)
    for month in (*TRAINING_MONTHS, "2023-04", "2023-05"):
        put(store, month)
    first = measure_drift(store, champion_of(store))
    put(store, "2023-05", PLANTED["kilometres for miles"])
    read = read_months(monkeypatch)
    second = measure_drift(store, champion_of(store), first)
    assert sorted(read) == [*TRAINING_MONTHS, "2023-05"]
    assert [value.breached for value in second.monthly_values] == [False, True]
    assert second.entries[:-1] == first.entries[:-1]
    # A changed reference month changes the drift of all months.
    put(store, "2023-02", PLANTED["kilometres for miles"])
    third = measure_drift(store, champion_of(store), second)
    assert third.months[-1].psi["trip_distance"] < second.months[-1].psi["trip_distance"]


def test_the_months_of_earlier_champions_are_kept(store):
    first = measure_drift(store, champion_of(store))
    other = champion_of(store, "2", training_months=TRAINING_MONTHS[:2])
    second = measure_drift(store, other, first)
    assert [entry.version for entry in second.entries] == ["1"] * 4 + ["2"] * 4
    assert second.reference == ["2023-01", "2023-02"]
    assert len(second.monthly_values) == 2
    back = measure_drift(store, champion_of(store), second)
    assert back.months == first.months


def test_only_months_newer_than_the_training_months_can_breach(tmp_path):
    store = store_at(tmp_path)
    put(store, "2023-01", PLANTED["kilometres for miles"])
    for month in ("2023-02", "2023-03", "2023-04"):
        put(store, month)
    made = measure_drift(store, champion_of(store, training_months=("2023-02", "2023-03")))
    assert made.months[0].psi["trip_distance"] > DRIFT_LIMIT
    assert [str(value.month) for value in made.monthly_values] == ["2023-04"]


def test_without_a_reference_month_the_status_says_so(store):
    made = measure_drift(store, champion_of(store, training_months=("2021-01",)))
    assert made.status == "no_reference"
    assert "ingest them again" in drift_summary(made)
    assert made.monthly_values == []
    assert drift_lines(made) is None


def test_a_damaged_month_is_skipped_and_named(tmp_path):
    store = store_at(tmp_path)
    for month in (*TRAINING_MONTHS, "2023-04"):
        put(store, month)
    for month in ("2023-02", "2023-04"):
        (tmp_path / "trip_features" / store.dataset / f"{month}.parquet").write_bytes(b"PAR1")
    made = measure_drift(store, champion_of(store))
    assert made.reference == ["2023-01", "2023-03"]
    assert {*made.skipped} == {"2023-02", "2023-04"}


def test_a_record_survives_serialization(store):
    made = measure_drift(store, champion_of(store))
    assert DriftRecord.model_validate_json(made.model_dump_json()) == made


def test_the_chart_renders_small_and_extreme_drift(store):
    made = measure_drift(store, champion_of(store))
    small = drift_lines(made)
    extreme = made.model_copy(deep=True)
    extreme.entries[-1].psi["pickup_zone"] = 7.6
    assert small.startswith(b"\x89PNG")
    assert drift_lines(extreme) != small


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300).map(np.array))
def test_bins_contain_every_trip_once(counts):
    for bins in (quantile_bins(counts), rare_values_pooled(counts)):
        assert len(bins) == len(counts)
        assert bin_counts(counts, bins).sum() == counts.sum()
    assert quantile_bins(counts).max() < DISTANCE_BINS
    assert np.all(np.diff(quantile_bins(counts)) >= 0)


def test_counts_of_months_add_up_to_all_trips():
    months = [count_month(kept_sample(month)) for month in TRAINING_MONTHS[:2]]
    total = sum_counts(months)
    rows = sum(kept_sample(month).height for month in TRAINING_MONTHS[:2])
    assert {name: int(counts.sum()) for name, counts in total.items()} == dict.fromkeys(
        (feature.name for feature in FEATURES), rows
    )


def test_monday_midnight_is_the_first_hour_of_the_week():
    from datetime import datetime

    trips = kept_sample("2023-01").head(2)
    times = [datetime(2023, 1, 2, 0, 59), datetime(2023, 1, 8, 23)]
    counts = count_month(trips.with_columns(pl.Series("pickup_datetime", times)))["hour_of_week"]
    assert np.flatnonzero(counts).tolist() == [0, 167]


def measure_with_fault(home, fault):
    """The drift of three training months and of a fourth month with a fault."""
    store = store_at(home)
    for month in TRAINING_MONTHS:
        put(store, month)
    put(store, "2023-04", fault)
    return measure_drift(store, champion_of(store))


def test_the_shares_then_and_now_show_how_a_feature_moved(tmp_path):
    made = measure_with_fault(tmp_path, PLANTED["kilometres for miles"])
    (entry,) = made.new_months
    assert list(entry.shares) == list(made.reference_shares)
    for name, then in made.reference_shares.items():
        assert len(then.bins) == len(set(then.bins)) == len(then.shares) == len(entry.shares[name])
        for shares in (then.shares, entry.shares[name]):
            assert sum(shares) == pytest.approx(1, abs=1e-4)
    miles = made.reference_shares["trip_distance"]
    assert miles.shares == pytest.approx([1 / DISTANCE_BINS] * DISTANCE_BINS, abs=0.02)
    assert miles.bins[-1].endswith(" or more")
    assert entry.shares["trip_distance"][-1] > 2 * miles.shares[-1]
    assert "others" in made.reference_shares["pickup_zone"].bins
    assert "Monday 0:00" in made.reference_shares["hour_of_week"].bins
    assert DriftRecord.model_validate_json(made.model_dump_json()) == made


def test_longer_trips_drift_in_their_durations_only_and_start_nothing(tmp_path):
    made = measure_with_fault(tmp_path, FAULTS["half as long again"])
    (entry,) = made.new_months
    assert entry.outcome_psi["duration_minutes"] > DRIFT_LIMIT > entry.worst[1]
    assert drift_finding(made).verdict == Verdict.PASS
    assert not made.monthly_values[0].breached


def test_entries_of_an_old_version_without_shares_are_measured_again(store):
    made = measure_drift(store, champion_of(store))
    old = made.model_copy(
        update={
            "reference_shares": {},
            "entries": [
                entry.model_copy(update={"shares": {}, "outcome_psi": {}}) for entry in made.entries
            ],
        }
    )
    again = measure_drift(store, champion_of(store), old)
    assert (again.entries, again.reference_shares) == (made.entries, made.reference_shares)
