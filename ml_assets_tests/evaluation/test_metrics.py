"""Metrics equal their formulas, and invalid input raises."""

import math
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics as sklearn_metrics

from ml_assets.evaluation.leaderboard import (
    as_markdown_table,
    best_by_slice,
    cost_table,
    coverage_table,
    figures_table,
    leaderboard,
    leaderboard_table,
    slices_side_by_side,
    slices_table,
)
from ml_assets.evaluation.metrics import (
    measure,
    measure_slices,
    pair_codes,
    slice_masks,
)
from ml_assets.evaluation.records import (
    IntervalRecord,
    Leaderboard,
    MetricsRecord,
    ModelRecord,
    SliceRecord,
    UsualRecord,
)

GOOD = MetricsRecord(rmse=4.0, mae=2.5, mape=0.2, r2=0.8, share_within_5_minutes=0.85, rows=100)


def figures(rmse: float, rows: int = 100) -> MetricsRecord:
    return MetricsRecord(
        rmse=rmse, mae=rmse / 2, mape=0.25, r2=0.5, share_within_5_minutes=0.75, rows=rows
    )


def record(
    model: str,
    rmse: float,
    kind: Literal["model", "baseline"] = "model",
    predict_seconds: float = 0.5,
):
    measured = figures(rmse)
    return ModelRecord(
        model=model,
        kind=kind,
        training_set="0" * 16,
        training_months=["2023-01"],
        parameters={},
        trials=0,
        validation=measured,
        test=measured,
        slices=[],
        fit_seconds=1.5,
        tuning_seconds=0.0,
        predict_seconds=predict_seconds,
        size_bytes=12_000,
    )


def test_a_hand_calculated_case():
    measured = measure([10.0, 20.0, 30.0, 40.0], [12.0, 20.0, 24.0, 45.0])
    assert measured.rmse == pytest.approx(math.sqrt((4 + 0 + 36 + 25) / 4))
    assert measured.mae == pytest.approx((2 + 0 + 6 + 5) / 4)
    assert measured.mape == pytest.approx((2 / 10 + 0 + 6 / 30 + 5 / 40) / 4)
    assert measured.r2 == pytest.approx(1 - 65 / 500)
    assert measured.share_within_5_minutes == 0.75, "five minutes off still counts as close"
    assert measured.rows == 4


minutes = st.floats(1, 60, allow_nan=False)


@given(data=st.data(), rows=st.integers(2, 60))
def test_metrics_equal_those_of_scikit_learn(data, rows):
    actual = data.draw(npst.arrays(float, rows, elements=minutes))
    predicted = data.draw(npst.arrays(float, rows, elements=st.floats(-500, 500)))
    measured = measure(actual, predicted)
    pair = (actual, predicted)
    assert measured.rmse == pytest.approx(sklearn_metrics.root_mean_squared_error(*pair))
    assert measured.mae == pytest.approx(sklearn_metrics.mean_absolute_error(*pair))
    assert measured.mape == pytest.approx(sklearn_metrics.mean_absolute_percentage_error(*pair))
    assert measured.r2 == pytest.approx(sklearn_metrics.r2_score(*pair))
    assert measured.mae <= measured.rmse * (1 + 1e-9)
    assert 0 <= measured.share_within_5_minutes <= 1
    assert all(type(value) in (float, int) for value in measured.model_dump().values())


def test_a_single_trip_has_no_r2():
    measured = measure([10.0], [13.0])
    assert math.isnan(measured.r2)
    assert (measured.rmse, measured.rows) == (3.0, 1)


@pytest.mark.parametrize(
    ("actual", "predicted", "message"),
    [
        ([], [], "actual is empty"),
        ([1.0, 2.0], [1.0], "actual has 2 rows but predicted has 1"),
        ([1.0, math.nan], [1.0, 2.0], "actual has 1 NaN or infinite values of 2"),
        ([1.0, 2.0], [math.inf, math.nan], "predicted has 2 NaN or infinite values of 2"),
        ([[1.0], [2.0]], [1.0, 2.0], r"actual has shape \(2, 1\)"),
        ([1.0, 0.0], [1.0, 2.0], "actual has a duration of 0 minutes"),
        (["soon"], [1.0], "soon"),
    ],
)
def test_invalid_input_raises(actual, predicted, message):
    with pytest.raises(ValueError, match=message):
        measure(actual, predicted)


@pytest.fixture
def test_trips() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "PULocationID": np.array([74, 74, 132, 1, 265], dtype="int16"),
            "DOLocationID": np.array([75, 138, 74, 264, 74], dtype="int16"),
            "trip_distance": [1.5, 0.0, 12.0, 9.0, 0.0],
            "pickup_datetime": pd.to_datetime(
                [
                    "2023-02-01 00:00:00",
                    "2023-02-01 06:00:00",
                    "2023-02-01 15:59:59",
                    "2023-02-01 16:00:00",
                    "2023-02-01 23:59:59",
                ]
            ),
            "duration_minutes": [5.0, 10.0, 40.0, 30.0, 20.0],
        }
    )


def test_slices_have_the_rows_of_their_names(test_trips):
    masks = slice_masks(test_trips, train_pairs=np.array([74075, 74075, 132074, 999]))
    rows = {name: np.flatnonzero(mask).tolist() for name, mask in masks.items()}
    assert rows["pair/seen"] == [0, 2]
    assert rows["pair/unseen"] == [1, 3, 4]
    assert rows["airport/either end"] == [1, 2, 3]
    assert rows["distance/zero"] == [1, 4]
    assert rows["hour/night 0-6"] == [0]
    assert rows["hour/morning 6-10"] == [1]
    assert rows["hour/midday 10-16"] == [2]
    assert rows["hour/evening 16-20"] == [3]
    assert rows["hour/late 20-24"] == [4]
    assert rows["borough/Manhattan"] == [0, 1], "the borough is the pick-up's"
    assert rows["borough/Queens"] == [2]
    assert rows["borough/EWR"] == [3]


def test_pair_codes_are_unique_for_narrow_types():
    trips = pd.DataFrame(
        {
            "PULocationID": np.array([1, 265, 12], dtype="int16"),
            "DOLocationID": np.array([123, 265, 3], dtype="int16"),
        }
    )
    assert pair_codes(trips).tolist() == [1123, 265265, 12003]


@given(
    pickups=st.lists(st.integers(0, 300), min_size=1, max_size=40),
    hours=st.integers(0, 23),
    known=st.lists(st.integers(1000, 266_000), max_size=20),
)
def test_slices_of_a_group_partition_the_rows(pickups, hours, known):
    trips = pd.DataFrame({"PULocationID": pickups})
    trips["DOLocationID"] = 74
    trips["trip_distance"] = 1.0
    trips["pickup_datetime"] = pd.Timestamp(2023, 2, 1, hours)
    masks = slice_masks(trips, np.array(known, dtype=np.int64))
    for group in ("pair/", "hour/", "borough/"):
        cover = sum(mask.astype(int) for name, mask in masks.items() if name.startswith(group))
        assert (cover == 1).all(), group


def test_small_slices_are_omitted(test_trips):
    many = pd.concat([test_trips] * 10 + [test_trips.head(1)] * 20, ignore_index=True)
    predicted = many["duration_minutes"] + 2.0
    seen = np.array([74075])
    by_name = {line.slice: line.metrics for line in measure_slices(many, predicted, seen)}
    assert by_name["pair/seen"].rows == 30
    assert by_name["pair/seen"].rmse == pytest.approx(2.0)
    assert by_name["pair/unseen"].rows == 40
    assert "distance/zero" not in by_name, "20 rows are below the default of 30"
    names = {line.slice for line in measure_slices(many, predicted, seen, min_rows=20)}
    assert "distance/zero" in names
    with pytest.raises(ValueError, match="test has 70 rows, predicted has 69"):
        measure_slices(many, predicted[:-1], seen)


def test_the_leaderboard_is_sorted_by_test_error():
    rows = [record("lasso", 6.0), record("global_mean", 9.1, "baseline"), record("xgboost", 4.2)]
    assert [row.model for row in leaderboard(rows)] == ["xgboost", "lasso", "global_mean"]
    table = leaderboard_table(rows)
    assert [*table[0].items()] == [
        ("test_rmse", 4.2), ("rmse_usual", ""), ("model", "xgboost"), ("kind", "model")
    ]  # fmt: skip
    assert table[2]["kind"] == "baseline"
    assert figures_table(rows)[0] == {
        "model": "xgboost", "test_mae": 2.1, "val_rmse": 4.2, "mape": 25.0, "r2": 0.5
    }  # fmt: skip
    assert cost_table(rows)[0] == {
        "model": "xgboost", "fit_seconds": 1.5, "size_kb": 12, "trips_per_s": "200"
    }  # fmt: skip


def in_both_modes(row: ModelRecord, usual: float) -> ModelRecord:
    """The row with an evaluation without distances, and intervals in both modes."""
    stated, without = (
        IntervalRecord(
            nominal=0.8, coverage=coverage, mean_width=8, rows=100, calibrated_rows=100, slices=[]
        )
        for coverage in (0.803, 0.794)
    )
    evaluated = UsualRecord(
        test=figures(usual), slices=[part("pair/unseen", usual + 1, 50)], interval=without
    )
    return row.model_copy(update={"interval": stated, "usual": evaluated})


def test_tables_have_both_modes_side_by_side():
    rows = [in_both_modes(record("xgboost", 4.2), 5.1), record("global_mean", 9.1, "baseline")]
    assert [line["rmse_usual"] for line in leaderboard_table(rows)] == [5.1, ""]
    assert coverage_table(rows) == [
        {"model": "xgboost", "in_5_min": 75.0, "covered": 80.3, "covered_usual": 79.4},
        {"model": "global_mean", "in_5_min": 75.0, "covered": "", "covered_usual": ""},
    ]
    parts = [part("pair/unseen", 8.0, 50), part("distance/zero", 7.0, 40)]
    table = slices_table(rows[0].model_copy(update={"slices": parts}))
    assert [line["rmse_usual"] for line in table] == [5.1, 6.1, ""]


def test_the_summary_has_the_error_and_coverage_in_both_modes():
    best = in_both_modes(record("xgboost", 4.2), 5.1)
    bar = in_both_modes(record("global_mean", 8.4, "baseline"), 8.4)
    board = Leaderboard(
        training_set="0", test_month="2023-05", synthetic=False, caveat=None, rows=[best, bar]
    )
    assert board.summary.startswith(
        "xgboost is the best of 1 models on 2023-05: its error on 100 trips is 4.20 minutes (RMSE) "
        "with the metered distance and 5.10 without a distance. With the metered distance, 75% of "
        "them are off by 5 minutes or less. If 50% of requests state their distance, its error is "
        "4.67 minutes, 3.73 minutes (44.4%) less than global_mean, the best baseline. Its 80% "
        "intervals cover 80.3% of the trips with the metered distance and 79.4% without a distance."
    )


def test_the_summary_names_the_best_model_and_its_lead():
    rows = [record("xgboost", 4.2), record("lasso", 6.0), record("global_mean", 8.4, "baseline")]
    board = Leaderboard(
        training_set="0", test_month="2023-05", synthetic=True, caveat=None, rows=rows
    )
    assert board.summary == (
        "xgboost is the best of 2 models on 2023-05: its error on 100 trips is 4.20 minutes "
        "(RMSE), and 75% of them are off by 5 minutes or less. That is 1.80 minutes (30.0%) less "
        "than lasso, the next, and 4.20 minutes (50.0%) less than global_mean, the best baseline. "
        "The trips are the synthetic sample. champion_model shows whether it was promoted."
    )
    alone = board.model_copy(update={"rows": rows[:1], "synthetic": False, "caveat": "one month."})
    assert "That is" not in alone.summary and "One month. champion_model" in alone.summary
    assert board.model_copy(update={"rows": rows[2:]}).summary.startswith("No model was evaluated")


def test_an_unmeasurable_prediction_time_has_no_rate():
    row = record("global_mean", 9.0, predict_seconds=0.0)
    assert cost_table([row])[0]["trips_per_s"] == "–"


def part(name: str, rmse: float, rows: int) -> SliceRecord:
    return SliceRecord(slice=name, metrics=figures(rmse, rows))


def test_the_slice_table_starts_with_all_trips():
    measured = record("lasso", 6.0).model_copy(update={"slices": [part("distance/zero", 7, 1234)]})
    table = slices_table(measured)
    assert [(line["slice"], line["trips"], line["rmse"]) for line in table] == [
        ("all trips", 100, 6.0),
        ("distance/zero", 1234, 7.0),
    ]


def test_slices_of_all_models_are_side_by_side_best_first():
    good = record("xgboost", 4.0).model_copy(update={"slices": [part("pair/unseen", 8.0, 50)]})
    poor = record("lasso", 6.0).model_copy(update={"slices": [part("pair/unseen", 9.0, 50)]})
    bare = record("extra_trees", 7.0)
    mean = record("global_mean", 9.0, "baseline")
    assert slices_side_by_side([poor, mean, bare, good]) == [
        {"slice": "pair/unseen", "trips": 50, "xgboost": 8.0, "lasso": 9.0, "extra_trees": ""}
    ]
    assert slices_side_by_side([mean]) == []
    (line,) = best_by_slice([poor, mean, bare, good])
    assert line == {"slice": "pair/unseen", "trips": 50, "best_rmse": 8.0, "next_rmse": 9.0}
    assert best_by_slice([mean]) == []
    assert as_markdown_table([line]).splitlines() == [
        "| slice | trips | best_rmse | next_rmse |",
        "| --- | --- | --- | --- |",
        "| pair/unseen | 50 | 8.0 | 9.0 |",
    ]
