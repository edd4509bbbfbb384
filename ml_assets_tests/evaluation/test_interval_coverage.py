"""Coverage of prediction intervals on the test month: tolerance, message, chart."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ml_assets.evaluation.interval_coverage import (
    interval_coverage,
    interval_table,
    measure_intervals,
)
from ml_assets.evaluation.records import IntervalRecord, IntervalSlice
from ml_assets.pipeline.conformal_intervals import attach_intervals, calibrate, interval_bounds
from ml_assets.reporting.model_charts import interval_chart
from ml_assets.training.families import FAMILIES
from ml_assets.trips.cleaning import kept_trips, read_published
from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import Verdict
from ml_assets_tests.training.sample_trips import train_trips, trips_of, validation_trips


def measured(coverage: float, rows: int = 60_000, calibrated_rows: int = 60_000) -> IntervalRecord:
    slices = [
        IntervalSlice(slice="hour/night 0-6", coverage=coverage + 0.01, mean_width=6.0, rows=900),
        IntervalSlice(slice="distance/zero", coverage=coverage - 0.1, mean_width=12.0, rows=300),
    ]
    return IntervalRecord(
        nominal=0.8, coverage=coverage, mean_width=8.0, rows=rows,
        calibrated_rows=calibrated_rows, slices=slices,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("coverage", "verdict"),
    [
        (0.8, Verdict.PASS),
        (0.771, Verdict.PASS),
        (0.829, Verdict.PASS),
        (0.769, Verdict.WARN),
        (0.831, Verdict.WARN),
        (float("nan"), Verdict.WARN),
    ],
)
def test_up_to_three_points_from_nominal_pass(coverage, verdict):
    found = interval_coverage(measured(coverage))
    assert found.verdict == verdict
    assert (found.lower, found.upper) == pytest.approx((0.77, 0.83))
    assert "standard errors" not in found.sentence


def test_few_trips_have_a_larger_tolerance():
    found = interval_coverage(measured(0.75, rows=400, calibrated_rows=400))
    # sqrt(0.8 * 0.2 * (1/400 + 1/400)) is 0.0283.
    assert found.verdict == Verdict.PASS
    assert found.upper == pytest.approx(0.8566, abs=1e-4)
    assert "400 test trips" in found.sentence and "2 standard errors" in found.sentence
    assert interval_coverage(measured(0.74, rows=400, calibrated_rows=400)).verdict == Verdict.WARN


def test_the_message_has_coverage_width_and_the_farthest_slice():
    sentence = interval_coverage(measured(0.8)).sentence
    assert "the 80% intervals cover 80.0% of 60,000 test trips" in sentence
    assert "a mean width of 8.0 minutes" in sentence
    assert "the farthest slice is distance/zero with 70.0% of 300 trips" in sentence


def test_an_optimistic_coverage_is_marked():
    assert "optimistic" in interval_coverage(measured(0.8), trained_on_test_month=True).sentence
    assert "optimistic" not in interval_coverage(measured(0.8)).sentence


def test_a_model_without_intervals_warns():
    found = interval_coverage(None)
    assert found.verdict == Verdict.WARN
    assert "train models again" in found.sentence


def fitted(train: pd.DataFrame, tune: pd.DataFrame, family: str = "linear_svr"):
    pipeline = FAMILIES[family].make_pipeline().fit(train, train["duration_minutes"])
    attach_intervals(pipeline, calibrate(pipeline.predict(tune), tune["duration_minutes"]))
    return pipeline


def test_each_slice_is_measured_on_its_own_trips():
    pipeline, test = fitted(train_trips(), validation_trips()), trips_of(4)
    predicted = pipeline.predict(test)
    found = measure_intervals(pipeline, test, predicted, train_trips())
    assert found is not None
    bounds = interval_bounds(pipeline, predicted)
    assert bounds is not None
    lower, upper = bounds
    held = test["duration_minutes"].between(lower, upper)
    by_name = {part.slice: part for part in found.slices}
    night = test["pickup_datetime"].dt.hour < 6
    part = by_name["hour/night 0-6"]
    assert part.rows == night.sum()
    assert part.coverage == pytest.approx(held[night].mean())
    assert part.mean_width == pytest.approx((upper - lower)[night].mean())
    assert by_name["pair/seen"].rows + by_name["pair/unseen"].rows == found.rows == len(test)
    assert interval_table(found)[0] == {
        "slice": "all trips",
        "trips": len(test),
        "held_percent": round(100 * held.mean(), 1),
        "mean_width": round(np.mean(upper - lower), 2),
    }


def test_without_training_trips_there_are_no_pair_slices():
    pipeline, test = fitted(train_trips(), validation_trips()), trips_of(4)
    found = measure_intervals(pipeline, test, pipeline.predict(test))
    assert found.slices
    assert not [part for part in found.slices if part.slice.startswith("pair/")]


def test_a_model_without_intervals_is_not_measured():
    trips = trips_of(4)
    pipeline = FAMILIES["lasso"].make_pipeline().fit(trips, trips["duration_minutes"])
    assert measure_intervals(pipeline, trips, pipeline.predict(trips), trips) is None


def test_the_chart_is_a_small_png():
    png = interval_chart(measured(0.8), [Month(2023, 4)], model="lasso", synthetic=True)
    assert Image.open(io.BytesIO(png)).size[0] == 800
    assert len(png) < 60_000


def test_on_real_months_the_coverage_is_nominal_for_short_and_long_rides(
    real_trips,
):
    """Fitted on January, calibrated on February, tested on March."""
    months = [_kept(real_trips, number) for number in (1, 2, 3)]
    pipeline, test = fitted(months[0], months[1], "xgboost"), months[2]
    predicted = pipeline.predict(test)
    found = measure_intervals(pipeline, test, predicted, months[0])
    assert found.coverage == pytest.approx(0.8, abs=0.03)
    assert interval_coverage(found).verdict == Verdict.PASS
    bounds = interval_bounds(pipeline, predicted)
    assert bounds is not None
    lower, upper = bounds
    held = test["duration_minutes"].between(lower, upper).to_numpy()
    for fifth in np.array_split(np.argsort(predicted, kind="stable"), 5):
        assert held[fifth].mean() == pytest.approx(0.8, abs=0.04)


def _kept(folder, number: int) -> pd.DataFrame:
    month = Month(2023, number)
    path = folder / f"green_tripdata_{month}.parquet"
    with path.open("rb") as file:
        return kept_trips(read_published(file, "green", month, str(path)), month).to_pandas()
