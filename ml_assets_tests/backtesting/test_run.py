"""The backtest: training months lie before the test month, and nothing is computed twice."""

import hashlib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.backtesting import inputs
from ml_assets.backtesting.inputs import Fold, SampledMonths, folds
from ml_assets.backtesting.records import CHAMPION
from ml_assets.backtesting.run import (
    BacktestError,
    BacktestOptions,
    ChampionParameters,
    run_backtest,
)
from ml_assets.evaluation.records import MetricsRecord, ModelRecord
from ml_assets.pipeline.predict import without_distance
from ml_assets.storage.model_version import ModelVersion
from ml_assets.training.families import FAMILIES
from ml_assets.trips.month import Month
from ml_assets_tests.storage.stored_months import put_features, put_month, store_at

FIRST = Month(2023, 1)
MONTHS = [FIRST.shift(at) for at in range(6)]
BASELINES = ["global_mean", "median_per_pair", "distance_line"]
OPTIONS = BacktestOptions(train_months=2, families=("linear_svr",))


def served(number, parameters, validation_months):
    """A champion whose parameters a month had a say in."""
    version = ModelVersion(version=number, model="xgboost", validation_months=(validation_months,))
    return ChampionParameters(version, parameters)


SERVED = served("7", {"n_estimators": 8, "max_depth": 3}, "2023-04")


@pytest.fixture
def store(tmp_path):
    """Six months of 200 trips each."""
    store = store_at(tmp_path)
    for month in MONTHS:
        put_month(store, month, 200)
    return store


def change_durations(store, month):
    """Republish a month with its durations permuted."""
    trips = store.read_table("trip_features", month)
    minutes = pl.col("duration_minutes").reverse()
    record = store.raw_record(month).model_copy(
        update={"sha256": hashlib.sha256(str(month).encode()).hexdigest()}
    )
    put_features(store, trips.with_columns(minutes), record)


def predicted_for(record, month):
    """Mean prediction of each model for a month: it changes with the training data."""
    return {e.model: e.mean_predicted for e in record.entries if e.month == str(month)}


def leaks(store, month):
    """Whether the durations of a month and of later ones change its predictions."""
    before = predicted_for(run_backtest(store, OPTIONS, champion=SERVED), month)
    for later in MONTHS[MONTHS.index(month) :]:
        change_durations(store, later)
    after = predicted_for(run_backtest(store, OPTIONS, champion=SERVED), month)
    assert set(before) == set(after) == {CHAMPION, "linear_svr", *BASELINES}
    return before != pytest.approx(after, rel=1e-9)


@pytest.mark.parametrize("month", [MONTHS[2], MONTHS[4]])
def test_predictions_do_not_depend_on_the_test_month_or_later_ones(store, month):
    assert not leaks(store, month)


@pytest.mark.parametrize("later", [0, 1])
def test_a_planted_leak_is_detected(store, later, monkeypatch):
    honest = SampledMonths.train

    def leaking(months, fold):
        train = (*fold.train[1:], min(fold.test.shift(later), MONTHS[-1]))
        planted = object.__new__(Fold)  # its constructor raises
        object.__setattr__(planted, "train", train)
        object.__setattr__(planted, "test", fold.test)
        return honest(months, planted)

    monkeypatch.setattr(SampledMonths, "train", leaking)
    assert leaks(store, MONTHS[4])


@pytest.mark.parametrize("train", [(MONTHS[3],), (MONTHS[1], MONTHS[4]), ()])
def test_a_fold_cannot_train_on_its_test_month(train):
    with pytest.raises(ValueError, match="only earlier months may train"):
        Fold(train, MONTHS[3])


@given(
    st.sets(st.integers(0, 40), min_size=1, max_size=30).map(sorted),
    st.integers(1, 6),
)
def test_folds_have_all_months_before_them_and_skipped_months_name_the_gap(positions, train_months):
    months = [FIRST.shift(at) for at in positions]
    found, skipped = folds(months, train_months)
    for fold in found:
        assert fold.train == tuple(fold.test.shift(-back) for back in range(train_months, 0, -1))
        assert {*fold.train, fold.test} <= {*months}
    covered = [fold.test for fold in found] + [Month.parse(entry.month) for entry in skipped]
    assert sorted(covered) == [m for m in months if m >= months[0].shift(train_months)]
    assert [fold.test for fold in found] == sorted(fold.test for fold in found)
    for entry in skipped:
        before = [Month.parse(entry.month).shift(-back) for back in range(1, train_months + 1)]
        missing = [str(month) for month in before if month not in months]
        assert missing and all(month in entry.reason for month in missing)


def test_a_gap_skips_the_months_after_it_and_the_summary_says_so(store):
    store.remove("trip_features", [MONTHS[2]])
    record = run_backtest(store, BacktestOptions(train_months=1, families=()))
    assert [str(month) for month in record.months] == ["2023-02", "2023-05", "2023-06"]
    assert [entry.month for entry in record.skipped] == ["2023-04"]
    assert "2023-04, 2023-03 missing" in record.summary


def test_a_rejected_month_neither_trains_nor_tests(store):
    record = store.raw_record(MONTHS[2]).model_copy(update={"sha256": "f" * 64})
    same = store.read_table("trip_features", MONTHS[2]).with_columns(duration_minutes=pl.lit(10.0))
    put_features(store, same, record)
    made = run_backtest(store, BacktestOptions(train_months=1, families=()))
    assert "2023-03" not in {entry.month for entry in made.entries}
    assert {entry.month for entry in made.skipped} == {"2023-03", "2023-04"}


def test_a_damaged_month_does_not_cost_the_others(store):
    damaged = Path(store.table_path("trip_features", MONTHS[2]))
    damaged.write_bytes(damaged.read_bytes()[:200])
    made = run_backtest(store, BacktestOptions(train_months=1, families=()))
    assert [str(month) for month in made.months] == ["2023-02", "2023-05", "2023-06"]
    skipped = {entry.month: entry.reason for entry in made.skipped}
    assert {*skipped} == {"2023-03", "2023-04"}
    assert "materialize" in skipped["2023-03"]


def test_too_few_months_raise_with_the_command_to_ingest_more(store):
    store.remove("trip_features", MONTHS[2:])
    with pytest.raises(BacktestError) as error:
        run_backtest(store, OPTIONS)
    for part in (
        "3 months of green in a row",
        "2023-01, 2023-02",
        "--first 2023-01 --last 2023-03",
    ):
        assert part in str(error.value)


def test_nothing_is_computed_twice(store):
    made = run_backtest(store, OPTIONS, champion=SERVED)
    assert made.computed_entries == 4 * 5
    again = run_backtest(store, OPTIONS, champion=SERVED, earlier=made)
    assert again.computed_entries == 0
    assert again.entries == made.entries


def test_a_republished_month_is_recomputed_where_it_is_used(store):
    made = run_backtest(store, OPTIONS, earlier=None)
    change_durations(store, MONTHS[3])
    again = run_backtest(store, OPTIONS, earlier=made)
    before = {(e.month, e.model): e for e in made.entries}
    moved = {e.month for e in again.entries if e != before[e.month, e.model]}
    assert moved == {"2023-04", "2023-05", "2023-06"}
    assert again.computed_entries == 3 * 4


def test_the_error_without_a_distance_is_that_of_the_same_model(store):
    made = run_backtest(store, OPTIONS)
    entries = {entry.model: entry for entry in made.entries if entry.month == str(MONTHS[5])}
    versions, _ = inputs.month_versions(store)
    fold = Fold((MONTHS[3], MONTHS[4]), MONTHS[5])
    months = SampledMonths(store, versions, OPTIONS.max_rows, OPTIONS.seed)
    train, test = months.train(fold), months.test(fold)
    pipeline = FAMILIES["linear_svr"].make_pipeline({}, OPTIONS.seed)
    pipeline.fit(train, train["duration_minutes"])
    for trips, rmse in (
        (test, entries["linear_svr"].rmse),
        (without_distance(test), entries["linear_svr"].rmse_usual),
    ):
        error = pipeline.predict(trips) - test["duration_minutes"]
        assert rmse == pytest.approx(float((error**2).mean() ** 0.5))
    mean, line = entries["global_mean"], entries["distance_line"]
    assert mean.rmse == mean.rmse_usual
    assert line.rmse != line.rmse_usual


def test_the_rounds_of_requests_without_a_distance_are_the_champion_s(store):
    parameters = {"n_estimators": 8, "n_estimators_without_distance": 1}
    made = run_backtest(store, OPTIONS, champion=served("7", parameters, "2023-04"))
    (few,), (same,) = (
        [entry for entry in record.series(CHAMPION) if entry.month == str(MONTHS[5])]
        for record in (
            made,
            run_backtest(store, OPTIONS, champion=served("7", {"n_estimators": 8}, "2023-04")),
        )
    )
    assert few.rmse_usual is not None and same.rmse_usual is not None
    assert few.rmse_usual > same.rmse_usual + 0.5
    assert few.rmse == pytest.approx(same.rmse, abs=0.5)


def test_new_champion_parameters_recompute_only_the_champion(store):
    made = run_backtest(store, OPTIONS, champion=SERVED)
    other = served("8", {"n_estimators": 4}, "2023-04")
    assert run_backtest(store, OPTIONS, champion=other, earlier=made).computed_entries == 4
    more = BacktestOptions(train_months=2, families=("linear_svr",), max_rows=50)
    assert run_backtest(store, more, champion=SERVED, earlier=made).computed_entries == 4 * 5


def test_changed_code_recomputes_everything(store, monkeypatch):
    made = run_backtest(store, OPTIONS)
    monkeypatch.setattr(inputs, "code_digest", lambda *parts: "other")
    assert run_backtest(store, OPTIONS, earlier=made).computed_entries == len(made.entries)


def test_the_time_limit_leaves_older_months_to_the_next_run(store):
    limited = BacktestOptions(train_months=2, families=("linear_svr",), seconds=1e-9)
    progress = []
    made = run_backtest(store, limited, on_fold=progress.append)
    assert [str(month) for month in made.months] == ["2023-06"]
    assert made.pending_months == ["2023-03", "2023-04", "2023-05"]
    assert "2023-03 to 2023-05" in made.summary
    assert progress == [made]
    for _ in range(3):
        made = run_backtest(store, limited, earlier=made)
    assert made.pending_months == []
    assert made.entries == run_backtest(store, OPTIONS).entries


def test_the_champion_and_its_family_have_their_own_parameters(store):
    options = BacktestOptions(train_months=2, families=("xgboost",))
    champion = served("7", FAMILIES["xgboost"].defaults, "2023-05")
    made = run_backtest(store, options, champion=champion)
    assert made.computed_entries == 4 * 5
    one, other = made.series(CHAMPION), made.series("xgboost")
    assert [entry.rmse for entry in one] == [entry.rmse for entry in other]
    assert [entry.parameters_saw_month for entry in one] == [True, True, True, False]
    assert {entry.parameters for entry in other} == {"default"}
    assert "chosen with data up to 2023-05, so 3 of these test months" in made.summary


def test_a_family_uses_its_last_parameters_only_for_later_months(store):
    figures = MetricsRecord(rmse=1, mae=1, mape=1, r2=1, share_within_5_minutes=1, rows=1)
    last = ModelRecord(
        model="linear_svr", kind="model", training_set="0", training_months=["2023-01", "2023-04"],
        validation_months=["2023-04"], parameters={"C": 1e-4, "gone": 1}, validation=figures, test=figures,
        slices=[], predict_seconds=1, size_bytes=1,
    )  # fmt: skip
    tuned = run_backtest(store, OPTIONS, last={"linear_svr": last}).series("linear_svr")
    plain = run_backtest(store, OPTIONS).series("linear_svr")
    assert [entry.parameters for entry in tuned] == ["default", "default", "tuned", "tuned"]
    assert [a.rmse == b.rmse for a, b in zip(tuned, plain, strict=True)] == [
        True, True, False, False,
    ]  # fmt: skip
    untuned = last.model_copy(update={"validation_months": []})
    assert {e.parameters for e in run_backtest(store, OPTIONS, last={"linear_svr": untuned}).series(
        "linear_svr")} == {"default"}  # fmt: skip


def test_the_row_limit_draws_the_same_sample_each_time(store):
    small = BacktestOptions(train_months=2, families=("linear_svr",), max_rows=100)
    made = run_backtest(store, small)
    assert {(entry.training_rows, entry.trips) for entry in made.entries} == {(100, 100)}
    assert made.entries == run_backtest(store, small).entries
    other = BacktestOptions(train_months=2, families=("linear_svr",), max_rows=100, seed=1)
    assert made.entries != run_backtest(store, other).entries


def test_a_relative_error_is_relative_to_the_months_own_mean(store):
    made = run_backtest(store, BacktestOptions(train_months=2, families=()))
    minutes = store.read_table("trip_features", MONTHS[2])["duration_minutes"]
    for entry in [e for e in made.entries if e.month == "2023-03"]:
        assert entry.relative_error == pytest.approx(entry.rmse / minutes.std(ddof=0))
    mean = made.series("global_mean")[0]
    assert mean.relative_error >= 1
    assert mean.mean_predicted != mean.mean_actual


def test_invalid_options_raise():
    for wrong in ({"train_months": 0}, {"max_rows": 0}, {"seconds": 0}, {"families": ("no",)}):
        with pytest.raises(ValueError, match="must be above 0|no model family"):
            BacktestOptions(**wrong)
