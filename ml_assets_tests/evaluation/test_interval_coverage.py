"""Coverage of prediction intervals on the test month: tolerance, message, chart."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ml_assets.evaluation.interval_coverage import (
    interval_coverage,
    interval_table,
    measure_intervals,
)
from ml_assets.evaluation.metrics import pair_codes
from ml_assets.evaluation.records import IntervalRecord, IntervalSlice
from ml_assets.pipeline.conformal_intervals import (
    attach_intervals,
    calibrate,
    get_intervals,
    interval_bounds,
)
from ml_assets.pipeline.predict import without_distance
from ml_assets.reporting.model_charts import interval_chart
from ml_assets.training.families import FAMILIES
from ml_assets.trips.cleaning import kept_trips, read_published
from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import Verdict
from ml_assets_tests.training.sample_trips import train_trips, trips_of, validation_trips


def measured(
    coverage: float,
    rows: int = 60_000,
    calibrated_rows: int = 60_000,
    fifths: Sequence[float] = (),
    **fields: Any,
) -> IntervalRecord:
    slices = [
        IntervalSlice(slice="hour/night 0-6", coverage=coverage + 0.01, mean_width=6.0, rows=900),
        IntervalSlice(slice="distance/zero", coverage=coverage - 0.1, mean_width=12.0, rows=300),
    ]
    return IntervalRecord(
        nominal=0.8, coverage=coverage, mean_width=8.0, rows=rows, calibrated_rows=calibrated_rows,
        slices=slices, fifths=[
            IntervalSlice(slice=f"predicted/fifth {at}", coverage=share, mean_width=8.0, rows=rows // 5)
            for at, share in enumerate(fifths, 1)
        ], **fields,
    )  # fmt: skip


GOOD = measured(0.8, fifths=[0.79, 0.8, 0.8, 0.8, 0.81])


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
def test_up_to_three_points_from_nominal_pass_in_either_mode(coverage, verdict):
    for found in (
        interval_coverage(measured(coverage), GOOD),
        interval_coverage(GOOD, measured(coverage)),
    ):
        assert found.verdict == verdict
        assert (found.lower, found.upper) == pytest.approx((0.77, 0.83))
        assert "standard errors" not in found.sentence


def test_the_finding_names_the_mode_and_the_fifth_that_is_outside():
    found = interval_coverage(GOOD, measured(0.79, fifths=[0.8, 0.8, 0.8, 0.8, 0.76]))
    assert found.verdict == Verdict.WARN
    assert found.value == 0.76
    outside = found.sentence.partition("outside: ")[2]
    assert outside.startswith("without a distance, fifth 5 of the predictions (76.0%)")
    assert "with the metered distance" not in outside
    found = interval_coverage(measured(0.7, fifths=[0.7, 0.8, 0.8, 0.8, 0.8]), GOOD)
    outside = found.sentence.partition("outside: ")[2]
    assert "with the metered distance, all trips (70.0%)" in outside
    assert "fifth 1" in outside and "without a distance" not in outside


def test_few_trips_have_a_larger_tolerance():
    few = measured(0.75, rows=400, calibrated_rows=400)
    found = interval_coverage(few, few)
    # sqrt(0.8 * 0.2 * (1/400 + 1/400)) is 0.0283.
    assert found.verdict == Verdict.PASS
    assert found.upper == pytest.approx(0.8566, abs=1e-4)
    assert "400 test trips" in found.sentence and "2 standard errors" in found.sentence
    fewer = measured(0.74, rows=400, calibrated_rows=400)
    assert interval_coverage(fewer, few).verdict == Verdict.WARN


def test_a_fifth_has_the_tolerance_of_its_number_of_trips():
    """Three standard errors, as there are ten of them: sqrt(0.16 * 2 / 2000) is 0.0126."""
    shares = [0.8, 0.8, 0.8, 0.8]
    within = measured(0.8, 10_000, 10_000, [*shares, 0.765])
    outside = measured(0.8, 10_000, 10_000, [*shares, 0.761])
    assert interval_coverage(within, within).verdict == Verdict.PASS
    assert interval_coverage(within, outside).verdict == Verdict.WARN


def test_the_message_has_coverage_width_and_the_farthest_slice():
    sentence = interval_coverage(GOOD, measured(0.8)).sentence
    assert "with the metered distance, the 80% intervals cover 80.0% of 60,000 test" in sentence
    assert "79.0% to 81.0% of each fifth of the predictions" in sentence
    assert "a mean width of 8.0 minutes" in sentence
    assert "the farthest slice is distance/zero with 70.0% of 300 trips" in sentence
    assert "; without a distance, " in sentence


def test_an_optimistic_coverage_is_marked():
    assert "optimistic" in interval_coverage(GOOD, GOOD, trained_on_test_month=True).sentence
    assert "optimistic" not in interval_coverage(GOOD, GOOD).sentence


def test_a_model_without_intervals_warns():
    found = interval_coverage(None, None)
    assert found.verdict == Verdict.WARN
    assert "train models again" in found.sentence


def fitted(train: pd.DataFrame, tune: pd.DataFrame, family: str = "linear_svr"):
    pipeline = FAMILIES[family].make_pipeline().fit(train, train["duration_minutes"])
    attach_intervals(pipeline, calibrate(pipeline.predict(tune), tune["duration_minutes"]))
    return pipeline


def test_each_slice_is_measured_on_its_own_trips():
    pipeline, test = fitted(train_trips(), validation_trips()), trips_of(4)
    predicted = pipeline.predict(test)
    found = measure_intervals(pipeline, test, predicted, pair_codes(train_trips()))
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
    ordered = np.argsort(predicted, kind="stable")
    assert [part.slice for part in found.fifths] == [f"predicted/fifth {at}" for at in range(1, 6)]
    for fifth, part in zip(np.array_split(ordered, 5), found.fifths, strict=True):
        assert part.rows == pytest.approx(len(fifth), abs=2)
        assert part.coverage == pytest.approx(held.to_numpy()[fifth].mean(), abs=0.01)


def test_predictions_without_a_distance_are_measured_with_their_own_intervals():
    pipeline, test = fitted(train_trips(), validation_trips()), without_distance(trips_of(4))
    predicted = pipeline.predict(test)
    old = measure_intervals(pipeline, test, predicted)
    assert old.calibrated_with_metered
    found = interval_coverage(GOOD, old.model_copy(update={"coverage": 0.6}))
    assert "calibrated with metered distances only" in found.sentence
    assert "train models again" in found.sentence
    few = validation_trips().head(700)
    usual = calibrate(pipeline.predict(without_distance(few)), few["duration_minutes"])
    attach_intervals(pipeline, get_intervals(pipeline), usual)
    apart = measure_intervals(pipeline, test, predicted)
    assert not apart.calibrated_with_metered
    assert apart.calibrated_rows == 700
    assert apart.coverage > old.coverage


def test_the_table_has_both_modes_side_by_side():
    rows = {row["slice"]: row for row in interval_table(GOOD, measured(0.7, fifths=[0.6]))}
    assert rows["all trips"]["held_percent"] == 80
    assert rows["all trips"]["held_percent_usual"] == 70
    assert rows["predicted/fifth 1"]["held_percent_usual"] == 60
    assert rows["predicted/fifth 2"]["held_percent_usual"] == ""


def test_a_record_without_fifths_and_modes_is_still_read():
    stored = GOOD.model_dump(exclude={"fifths", "calibrated_with_metered"})
    assert IntervalRecord.model_validate(stored).fifths == []


def test_without_training_trips_there_are_no_pair_slices():
    pipeline, test = fitted(train_trips(), validation_trips()), trips_of(4)
    found = measure_intervals(pipeline, test, pipeline.predict(test))
    assert found.slices
    assert not [part for part in found.slices if part.slice.startswith("pair/")]


def test_a_model_without_intervals_is_not_measured():
    trips = trips_of(4)
    pipeline = FAMILIES["lasso"].make_pipeline().fit(trips, trips["duration_minutes"])
    assert measure_intervals(pipeline, trips, pipeline.predict(trips), pair_codes(trips)) is None


def test_the_chart_is_a_small_png():
    for usual in (None, GOOD):
        png = interval_chart(GOOD, [Month(2023, 4)], usual=usual, model="lasso", synthetic=True)
        assert Image.open(io.BytesIO(png)).size[0] == 800
        assert len(png) < 60_000


def test_on_real_months_the_coverage_is_nominal_for_short_and_long_rides(
    real_trips,
):
    """Fitted on January, calibrated on February, tested on March."""
    train, validation, test = (_kept(real_trips, number) for number in (1, 2, 3))
    pipeline = FAMILIES["xgboost"].make_pipeline().fit(train, train["duration_minutes"])
    actual = validation["duration_minutes"]
    modes = (validation, without_distance(validation))
    attach_intervals(pipeline, *(calibrate(pipeline.predict(mode), actual) for mode in modes))
    stated, usual = (
        measure_intervals(pipeline, mode, pipeline.predict(mode), pair_codes(train))
        for mode in (test, without_distance(test))
    )
    assert interval_coverage(stated, usual).verdict == Verdict.PASS
    for mode in (stated, usual):
        assert mode.coverage == pytest.approx(0.8, abs=0.03)
        assert len(mode.fifths) == 5
        for fifth in mode.fifths:
            assert fifth.coverage == pytest.approx(0.8, abs=0.04)


def _kept(folder, number: int) -> pd.DataFrame:
    month = Month(2023, number)
    path = folder / f"green_tripdata_{month}.parquet"
    with path.open("rb") as file:
        return kept_trips(read_published(file, "green", month, str(path)), month).to_pandas()
