"""Decay: months are scored once, compared with the test month, and kept across champions."""

import numpy as np
import pytest

from ml_assets.monitoring.performance import measure as performance
from ml_assets.monitoring.performance.measure import ScoringFailed, make_score, measure_performance
from ml_assets.monitoring.performance.records import (
    MIN_NOISE_MONTHS,
    TOLERANCE,
    PerformanceRecord,
    noise_tolerance,
    performance_finding,
    performance_summary,
)
from ml_assets.pipeline import predict
from ml_assets.reporting.monthly_charts import error_lines
from ml_assets.trips.quality.finding import Verdict
from ml_assets_tests.monitoring.watched_months import (
    TRAINING_MONTHS,
    champion_of,
    put,
    put_trips,
    store_at,
)
from ml_assets_tests.planted import FAULTS

MONTHS = (*TRAINING_MONTHS, "2023-04", "2023-05")


USUAL_MILES = 2.0


class ByDistance:
    """Predicts from the distance alone, which is 2 miles if left out, and counts the calls."""

    def __init__(self, minutes_a_mile=4.0):
        self.minutes_a_mile = minutes_a_mile
        self.calls = 0

    def predict(self, requests):
        assert "duration_minutes" not in requests
        self.calls += 1
        miles = requests["trip_distance"].fillna(USUAL_MILES).to_numpy()
        return np.clip(3 + self.minutes_a_mile * miles, 1, 60)


def loaded(pipeline=None):
    return lambda: pipeline or ByDistance()


def never():
    raise AssertionError("the pipeline was loaded")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = store_at(tmp_path_factory.mktemp("home"))
    for month in MONTHS:
        put(store, month)
    return store


@pytest.fixture(scope="module")
def measured(store):
    return measure_performance(store, champion_of(store), loaded())


def test_a_score_matches_its_formulas(measured, store):
    from ml_assets.trips.month import Month

    trips = store.read_table("trip_features", Month(2023, 5)).to_pandas()
    actual = trips["duration_minutes"].to_numpy()
    error = ByDistance().predict(trips[["trip_distance"]]) - actual
    rmse = float(np.sqrt(np.mean(error**2)))
    score = measured.scores[-1]
    assert (score.month, score.version, score.trips) == ("2023-05", "1", len(trips))
    assert score.rmse == pytest.approx(rmse)
    assert score.mae == pytest.approx(np.abs(error).mean())
    mean_only = np.sqrt(np.mean((actual - actual.mean()) ** 2))
    assert score.relative_error == pytest.approx(rmse / mean_only)
    usual = 3 + 4.0 * USUAL_MILES - actual
    assert score.rmse_usual == pytest.approx(np.sqrt(np.mean(usual**2)))
    assert score.mae_usual == pytest.approx(np.abs(usual).mean())
    assert score.relative_error_usual == pytest.approx(score.rmse_usual / mean_only)
    assert f"and {score.rmse_usual:.2f} min without a distance" in performance_summary(measured)


def test_scores_of_an_old_version_are_read_and_made_again_with_both_modes(measured, store):
    fields = {"rmse_usual", "mae_usual", "relative_error_usual"}
    stored = measured.model_dump()
    for score in stored["scores"]:
        for name in fields:
            del score[name]
    old = PerformanceRecord.model_validate(stored)
    assert old.scores[-1].rmse_usual is None
    assert "without a distance" not in performance_summary(old)
    assert performance_finding(old).verdict == performance_finding(measured).verdict
    assert error_lines(old) != error_lines(measured)
    again = measure_performance(store, champion_of(store), loaded(), old)
    assert again.scores == measured.scores


def test_months_seen_in_training_are_marked(measured):
    assert [score.seen for score in measured.scores] == [True, True, True, False, False]
    assert [str(value.month) for value in measured.monthly_values] == ["2023-04", "2023-05"]


def test_the_limit_is_the_test_error_plus_tolerance_or_measured_noise(measured, store):
    reference = measured.references["1"]
    test = measured.scores[3]
    assert (reference.month, reference.relative_error) == ("2023-04", test.relative_error)
    assert reference.relative_error_usual == test.relative_error_usual
    error = np.sqrt((test.relative_error**2 + test.relative_error_usual**2) / 2)
    assert measured.limit_of("1") == pytest.approx(error * (1 + TOLERANCE))
    noisy = measure_performance(store, champion_of(store), never, measured, allowance=0.03)
    assert noisy.limit_of("1") == pytest.approx(error + 0.03)
    stated = measure_performance(store, champion_of(store), never, measured, share_stated=1.0)
    assert stated.limit_of("1") == pytest.approx(test.relative_error * (1 + TOLERANCE))
    assert measured.limit_of("unheard of") is None


@pytest.mark.parametrize("months", [MIN_NOISE_MONTHS, 12, 24])
def test_a_champion_without_decay_is_rarely_over_the_limit(months):
    random = np.random.default_rng(months)
    test, later = random.normal(0.44, 0.01, (2, 4000))
    noise = random.normal(0.44, 0.01, (4000, months)).std(axis=1, ddof=1)
    allowed = np.array([noise_tolerance(float(found), months) for found in noise])
    over = np.mean(later > test + allowed)
    assert 0.015 < over < 0.035


def test_a_short_backtest_gives_no_noise_tolerance():
    assert noise_tolerance(0.01, MIN_NOISE_MONTHS - 1) is None
    assert noise_tolerance(None, 24) is None


def test_the_same_version_number_in_another_registry_is_another_champion(store, measured):
    pipeline = ByDistance(3.0)
    moved = measure_performance(store, champion_of(store, run_id="b"), loaded(pipeline), measured)
    assert pipeline.calls == 2 * len(MONTHS), "once in each mode"
    assert [score.rmse for score in moved.new_scores] != [s.rmse for s in measured.new_scores]
    assert moved.limit_of(moved.champion) != measured.limit_of(measured.champion)
    assert moved.scores_of(measured.champion) == measured.scores
    assert error_lines(moved) != error_lines(measured)


def test_a_rejected_month_is_not_scored(store):
    from ml_assets.trips.month import Month

    rejected = {Month(2023, 5): "row_count: 12 trips"}
    made = measure_performance(store, champion_of(store), loaded(), rejected=rejected)
    assert made.monthly_values[-1].month == Month(2023, 4)
    assert made.skipped == {"2023-05": "rejected by a data rule: row_count: 12 trips"}


def test_a_long_month_is_predicted_in_batches(store, measured, monkeypatch):
    monkeypatch.setattr(predict, "ROWS_AT_ONCE", 100)
    batches = []

    class RecordsBatches(ByDistance):
        def predict(self, requests):
            batches.append(len(requests))
            return super().predict(requests)

    made = measure_performance(store, champion_of(store), loaded(RecordsBatches()))
    assert max(batches) == 100
    assert sum(batches) == 2 * sum(score.trips for score in made.scores)
    assert made.scores == measured.scores


def test_a_month_is_scored_once_and_again_when_republished(tmp_path):
    store, pipeline = store_at(tmp_path), ByDistance()
    for month in MONTHS:
        put(store, month)
    first = measure_performance(store, champion_of(store), loaded(pipeline))
    assert pipeline.calls == 2 * len(MONTHS)
    again = measure_performance(store, champion_of(store), never, first)
    assert again.scores == first.scores
    put(store, "2023-05", FAULTS["half as long again"])
    republished = measure_performance(store, champion_of(store), loaded(pipeline), again)
    assert pipeline.calls == 2 * (len(MONTHS) + 1)
    assert len(republished.scores) == len(MONTHS)
    assert republished.scores[:-1] == first.scores[:-1]
    assert republished.scores[-1].relative_error > first.scores[-1].relative_error


def test_a_month_with_50_percent_longer_trips_is_over_the_limit_and_named(tmp_path):
    store = store_at(tmp_path)
    for month in MONTHS[:-1]:
        put(store, month)
    put(store, "2023-05", FAULTS["half as long again"])
    made = measure_performance(store, champion_of(store), loaded())
    found = performance_finding(made)
    assert found.verdict == Verdict.WARN
    score, limit = made.scores[-1], made.limit_of("1")
    for part in ("2023-05", "version 1 (xgboost)", f"{made.error_of(score):.3f}",
                 f"over the limit {limit:.3f}"):  # fmt: skip
        assert part in found.sentence
    assert performance_finding(made.model_copy(update={"tolerance": 9.0})).verdict == Verdict.PASS


def test_scores_of_earlier_champions_are_kept_and_reused(store, measured):
    other = champion_of(
        store, "2", training_months=MONTHS[:4], validation_months=(), test_month="2023-05"
    )
    second = measure_performance(store, other, loaded(ByDistance(3.0)), measured)
    assert second.scores_of("1") == measured.scores_of("1")
    assert [score.seen for score in second.scores_of("2")] == [True] * 4 + [False]
    assert second.references["2"].month == "2023-05"
    back = measure_performance(store, champion_of(store), never, second)
    assert (back.version, back.monthly_values) == ("1", measured.monthly_values)
    assert PerformanceRecord.model_validate_json(back.model_dump_json()) == back
    assert error_lines(second) != error_lines(measured)


def test_an_existing_score_is_kept(store):
    from ml_assets.trips.month import Month

    lineage, rows = store.lineage("trip_features", Month(2023, 5))
    random = np.random.default_rng(3)
    actual, off = random.uniform(2, 59, rows), random.normal(0, 1, rows)
    modes = (actual + off, actual - 2 * off)
    score = make_score(champion_of(store), "2023-05", lineage.raw_sha256, actual, *modes)
    begun = PerformanceRecord(dataset=store.dataset, synthetic=True).add_score(score)
    made = measure_performance(store, champion_of(store), loaded(), begun)
    assert made.scores[-1] == score
    assert begun.add_score(score, score).scores == [score]


def test_a_champion_refitted_on_its_test_month_keeps_the_test_error_before_the_refit(store):
    refitted = champion_of(store, training_months=MONTHS[:4], test_rmse=6.0)
    made = measure_performance(store, refitted, loaded())
    test = made.scores[3]
    assert test.seen
    spread = test.rmse / test.relative_error
    assert made.references["1"].relative_error == pytest.approx(6.0 / spread)
    assert [str(value.month) for value in made.monthly_values] == ["2023-05"]


def test_without_the_test_month_there_is_no_limit(store):
    made = measure_performance(store, champion_of(store, test_month="2021-01"), loaded())
    assert made.limit_of("1") is None
    assert made.monthly_values == []
    assert "has no reference" in performance_summary(made)
    assert performance_finding(made).verdict == Verdict.SKIP


def test_the_test_month_is_scored_however_old(store, monkeypatch):
    monkeypatch.setattr(performance, "MAX_MONTHS", 1)
    made = measure_performance(store, champion_of(store, test_month="2023-03"), loaded())
    assert [score.month for score in made.scores] == ["2023-03", "2023-05"]


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: 1 / 0, "ZeroDivisionError"),
        (loaded(ByDistance(float("nan"))), "not all minutes are finite"),
    ],
)
def test_a_champion_that_does_not_predict_raises(store, load, message):
    with pytest.raises(ScoringFailed, match=message):
        measure_performance(store, champion_of(store), load)


def test_months_with_few_trips_or_constant_durations_are_handled(tmp_path):
    import polars as pl

    store = store_at(tmp_path)
    for month in MONTHS[:3]:
        put(store, month)
    put(store, "2023-04")
    put_trips(store, "2023-05", put(store, "2023-05").head(99))
    constant = put(store, "2023-06").with_columns(pl.lit(10.0).alias("duration_minutes"))
    put_trips(store, "2023-06", constant)
    made = measure_performance(store, champion_of(store), loaded())
    assert {*made.skipped} == {"2023-05"}
    assert np.isfinite(made.scores[-1].relative_error)
    assert made.monthly_values[-1].breached
