"""Prediction intervals: their coverage, their order, and that they are stored with a model."""

import subprocess
import sys

import numpy as np
import pytest
import skops.io
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml_assets.pipeline.conformal_intervals import (
    MAX_MARGIN,
    MIN_RESIDUALS,
    attach_intervals,
    attach_seen_pairs,
    calibrate,
    calibrate_pairs,
    drift_margin,
    get_intervals,
    interval_bounds,
    seen_pairs,
)
from ml_assets.pipeline.serialization import trusted_types
from ml_assets.training.families import FAMILIES
from ml_assets.training.fit import encode_trips, fit_encoded, refit
from ml_assets_tests.training.sample_trips import (
    odd_requests,
    train_trips,
    trips_of,
    validation_trips,
)

ANY_MINUTES = st.floats(-1e308, 1e308, allow_nan=False)
POSSIBLE_MINUTES = st.floats(1, 60)


def trips(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and actual minutes with errors that grow with the duration and are skewed."""
    predicted = random.uniform(2, 40, count)
    late = random.gamma(2.0, 0.1 * predicted) - 0.15 * predicted
    return predicted, np.clip(predicted + late, 1, 60)


def coverage(intervals, predicted, actual) -> float:
    lower, upper = intervals.bounds(predicted)
    return float(np.mean((lower <= actual) & (actual <= upper)))


def test_the_margin_is_how_much_coverage_varies_between_weeks():
    predicted, actual = trips(np.random.default_rng(1), 24_000)
    weeks = np.repeat(np.arange(4), 6000)
    assert drift_margin(predicted, actual, weeks) < 0.008
    scale = np.repeat([0.97, 1.03, 0.97, 1.03], 6000)
    uneven = predicted + scale * (actual - predicted)
    margin = drift_margin(predicted, uneven, weeks)
    assert 0.012 < margin < MAX_MARGIN
    narrow, wide = calibrate(predicted, uneven), calibrate(predicted, uneven, margin=margin)
    gained = coverage(wide, predicted, uneven) - coverage(narrow, predicted, uneven)
    assert gained == pytest.approx(margin, abs=0.005) and wide.nominal == narrow.nominal == 0.8
    assert drift_margin(predicted, predicted + scale**9 * (actual - predicted), weeks) == MAX_MARGIN
    few = slice(None, None, 5)
    assert drift_margin(predicted[few], uneven[few], weeks[few]) == 0, "mostly chance"


@given(seed=st.integers(0, 2**32 - 1), nominal=st.sampled_from([0.5, 0.8, 0.9]))
@settings(max_examples=30)
def test_the_coverage_of_exchangeable_trips_is_nominal_for_short_and_long_rides(seed, nominal):
    random = np.random.default_rng(seed)
    intervals = calibrate(*trips(random, 4000), nominal)
    predicted, actual = trips(random, 8000)
    # Ranks of 200 residuals a bin are rounded outwards; the rest is noise, to five sigma.
    rounding, variance = 2 / 201, nominal * (1 - nominal)
    chance = 5 * np.sqrt(variance / 4000 + variance / 8000)
    covered = coverage(intervals, predicted, actual)
    assert nominal - chance <= covered <= nominal + rounding + chance
    chance *= np.sqrt(5)
    for fifth in np.split(np.argsort(predicted), 5):
        covered = coverage(intervals, predicted[fifth], actual[fifth])
        assert nominal - chance <= covered <= nominal + rounding + chance


def test_a_single_bin_over_covers_short_rides_and_under_covers_long_ones():
    """The reason for the bins: without them the coverage differs by duration."""
    random = np.random.default_rng(1)
    intervals = calibrate(*trips(random, 4000), bins=1)
    predicted, actual = trips(random, 8000)
    short, long = predicted < 10, predicted > 30
    assert coverage(intervals, predicted[short], actual[short]) > 0.95
    assert coverage(intervals, predicted[long], actual[long]) < 0.7


@given(
    calibrated=st.lists(st.tuples(ANY_MINUTES, ANY_MINUTES), min_size=1, max_size=300),
    minutes=arrays(np.float64, st.integers(0, 20), elements=ANY_MINUTES),
)
def test_bounds_enclose_any_prediction(calibrated, minutes):
    with np.errstate(
        over="ignore"
    ):  # two of the numbers may differ by more than the largest double
        predicted, actual = zip(*calibrated, strict=True)
        intervals = calibrate(predicted, actual)
    lower, upper = intervals.bounds(minutes)
    assert lower.shape == upper.shape == minutes.shape
    assert (lower <= minutes).all() and (minutes <= upper).all()


@given(
    calibrated=st.lists(st.tuples(POSSIBLE_MINUTES, POSSIBLE_MINUTES), min_size=1, max_size=300),
    minutes=arrays(np.float64, 5, elements=POSSIBLE_MINUTES),
)
def test_bounds_of_a_prediction_in_range_are_in_range(calibrated, minutes):
    predicted, actual = zip(*calibrated, strict=True)
    lower, upper = calibrate(predicted, actual).bounds(minutes)
    assert lower.min() >= 1 and upper.max() <= 60


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30))
@example([90, 20, 90])
def test_each_bin_has_enough_trips_and_equal_predictions_share_a_bin(trips_with_equal_minutes):
    predicted = np.repeat(
        np.arange(1.0, len(trips_with_equal_minutes) + 1), trips_with_equal_minutes
    )
    intervals = calibrate(predicted, predicted + 1)
    assert intervals.residuals.sum() == len(predicted)
    assert intervals.residuals.min() >= min(MIN_RESIDUALS, len(predicted))
    assert not set(intervals.edges) & set(predicted)  # none lies on the edge of two
    assert (np.diff(intervals.edges) > 0).all()


@pytest.mark.parametrize(
    ("rows", "bins"), [(10, 1), (99, 1), (100, 2), (730, 14), (1000, 20), (5000, 20)]
)
def test_bins_have_equal_counts_and_are_fewer_for_few_trips(rows, bins):
    predicted = np.random.default_rng(3).permutation(np.linspace(1, 60, rows))
    counts = calibrate(predicted, predicted).residuals
    assert len(counts) == bins
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("count", "low", "high"), [(9, 1, 9), (49, 5, 45), (50, 5, 46), (58, 5, 54), (99, 10, 90)]
)
def test_bounds_have_the_finite_sample_rank(count, low, high):
    middle = (count + 1) / 20
    errors = np.random.default_rng(4).permutation(np.arange(1, count + 1) / 10 - middle)
    intervals = calibrate(np.full(count, 20.0), 20.0 + errors)
    lower, upper = intervals.bounds(20.0)
    assert lower == pytest.approx(20 - middle + low / 10)
    assert upper == pytest.approx(20 - middle + high / 10)


def test_too_few_trips_give_the_full_range():
    lower, upper = calibrate(np.full(8, 20.0), np.full(8, 21.0)).bounds([20.0, 5.0])
    assert lower.tolist() == [1, 1] and upper.tolist() == [60, 60]


def test_bounds_of_a_biased_model_enclose_its_prediction():
    predicted = np.linspace(10, 20, 200)
    lower, upper = calibrate(predicted, predicted + 4).bounds([15.0])
    assert (lower[0], upper[0]) == (15, pytest.approx(19))


@pytest.mark.parametrize(
    ("predicted", "actual", "options", "message"),
    [
        ([], [], {}, "no trip to calibrate"),
        ([1.0], [1.0, 2.0], {}, "same trips"),
        ([[1.0]], [[1.0]], {}, "one number per trip"),
        ([1.0, np.nan], [1.0, 2.0], {}, "NaN or infinity"),
        ([1.0], [np.inf], {}, "NaN or infinity"),
        ([1.0], [1.0], {"nominal": 1.0}, "nominal is 1.0"),
        ([1.0], [1.0], {"nominal": np.nan}, "nominal is nan"),
        ([1.0], [1.0], {"bins": 0}, "bins is 0"),
    ],
)
def test_invalid_calibration_input_raises(predicted, actual, options, message):
    with pytest.raises(ValueError, match=message):
        calibrate(predicted, actual, **options)


def pairs_of_two_kinds(unseen: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, durations and whether the pair was seen: errors of other pairs are threefold."""
    generator = np.random.default_rng(0)
    seen = np.arange(20_000) >= unseen
    predicted = generator.uniform(5, 40, len(seen))
    actual = predicted + generator.normal(0, np.where(seen, 2.0, 6.0))
    return predicted, np.clip(actual, 1, 60), seen


def test_pairs_without_training_trips_are_covered_as_often_as_others():
    predicted, actual, seen = pairs_of_two_kinds(unseen=1_000)
    together = calibrate(predicted, actual).bounds(predicted)
    apart = calibrate_pairs(predicted, actual, seen).bounds(predicted, seen)
    covered = [(lower <= actual) & (actual <= upper) for lower, upper in (together, apart)]
    assert covered[0][~seen].mean() < 0.45
    assert covered[1][~seen].mean() == pytest.approx(0.8, abs=0.03)
    assert covered[1][seen].mean() == pytest.approx(0.8, abs=0.01)


def test_with_few_trips_of_other_pairs_all_are_calibrated_together():
    predicted, actual, seen = pairs_of_two_kinds(unseen=199)
    intervals = calibrate_pairs(predicted, actual, seen)
    assert intervals.unseen is None
    expected = calibrate(predicted, actual).bounds(predicted)
    np.testing.assert_array_equal(intervals.bounds(predicted, seen), expected)


@pytest.fixture(scope="module")
def fitted():
    """A forest with intervals, fitted on two sample months and calibrated on the third."""
    family = FAMILIES["extra_trees"]
    encoded = encode_trips(family, train_trips(), validation_trips())
    fitted = fit_encoded(family, encoded, {**family.defaults, "n_estimators": 5}, 1, 1)
    predicted = fitted.pipeline.predict(validation_trips())
    attach_intervals(fitted.pipeline, calibrate(predicted, validation_trips()["duration_minutes"]))
    return fitted


def test_a_stored_pipeline_has_the_same_bounds(fitted):
    stored = skops.io.dumps(fitted.pipeline)
    loaded = skops.io.loads(stored, trusted=trusted_types(fitted.pipeline))
    predicted = loaded.predict(trips_of(4))
    np.testing.assert_array_equal(
        interval_bounds(loaded, predicted), interval_bounds(fitted.pipeline, predicted)
    )


def test_a_stored_pipeline_knows_its_pairs(fitted):
    pipeline, zones = fitted.pipeline, (np.array([74, 74, 265]), np.array([75, 76, 264]))
    assert seen_pairs(pipeline, *zones) is None, "as in models that were stored before"
    kept = get_intervals(pipeline)
    predicted, actual, seen = pairs_of_two_kinds(unseen=1_000)
    attach_intervals(pipeline, calibrate_pairs(predicted, actual, seen))
    attach_seen_pairs(pipeline, np.array([74, 265]), np.array([75, 264]))
    loaded = skops.io.loads(skops.io.dumps(pipeline), trusted=trusted_types(pipeline))
    attach_intervals(pipeline, kept)
    pipeline[-1].seen_pairs_ = None
    known = seen_pairs(loaded, *zones)
    assert known is not None and known.tolist() == [True, False, True]
    bounds = interval_bounds(loaded, [20.0] * 3, None, known)
    assert bounds is not None
    width = bounds[1] - bounds[0]
    assert width[1] > 2 * width[0] == 2 * width[2]


def test_a_refit_keeps_the_intervals(fitted):
    again = refit(fitted, trips_of(4)).pipeline
    assert again is not fitted.pipeline
    assert get_intervals(again) is get_intervals(fitted.pipeline) is not None


def test_a_new_fit_has_no_intervals(fitted):
    from sklearn.base import clone

    fresh = clone(fitted.pipeline).fit(trips_of(4), trips_of(4)["duration_minutes"])
    attach_intervals(fresh, get_intervals(fitted.pipeline))
    fresh.fit(trips_of(4), trips_of(4)["duration_minutes"])
    assert interval_bounds(fresh, [10.0]) is None


def test_intervals_do_not_change_predictions(fitted):
    kept = get_intervals(fitted.pipeline)
    with_them = fitted.pipeline.predict(trips_of(4))
    attach_intervals(fitted.pipeline, None)
    without = fitted.pipeline.predict(trips_of(4))
    attach_intervals(fitted.pipeline, kept)
    np.testing.assert_array_equal(with_them, without)


def test_an_old_model_without_intervals_has_no_bounds():
    trips = trips_of(4)
    old = FAMILIES["lasso"].make_pipeline().fit(trips, trips["duration_minutes"])
    del old[-1].__dict__["intervals_"]  # as skops restores a model stored without it
    loaded = skops.io.loads(skops.io.dumps(old), trusted=trusted_types(old))
    assert interval_bounds(loaded, loaded.predict(trips)) is None


def test_extreme_requests_have_bounds_around_their_predictions(fitted):
    minutes = fitted.pipeline.predict(odd_requests())
    bounds = interval_bounds(fitted.pipeline, minutes)
    assert bounds is not None
    lower, upper = bounds
    assert ((lower >= 1) & (lower <= minutes) & (minutes <= upper) & (upper <= 60)).all()


def test_the_module_imports_only_numpy():
    code = (
        "import sys, ml_assets.pipeline.conformal_intervals\n"
        "print(sorted({'sklearn', 'pandas', 'dagster', 'mlflow', 'pydantic'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
