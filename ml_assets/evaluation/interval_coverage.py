"""Coverage of prediction intervals on the test month, overall and by slice."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.metrics import Mask, pair_codes, slice_masks
from ml_assets.evaluation.records import IntervalRecord, IntervalSlice
from ml_assets.pipeline.conformal_intervals import Minutes, get_intervals, interval_bounds
from ml_assets.requests.parse import states_distance
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.target import TARGET

TOLERANCE = 0.03
"""Tolerated difference to the nominal coverage, either way."""

STANDARD_ERRORS = 2
"""With fewer than about 1,400 trips the coverage varies by more than ``TOLERANCE`` by chance: then
this many standard errors are tolerated, binomial ones of the test and of the calibration trips."""

MIN_ROWS = 30
"""Slices with fewer trips are omitted, as for the metrics: their coverage is mostly noise."""

Row = dict[str, str | int | float]


def measure_intervals(
    pipeline: Any,
    test: pd.DataFrame,
    predicted: npt.ArrayLike,
    training_trips: pd.DataFrame | None = None,
) -> IntervalRecord | None:
    """Measure coverage and width of a pipeline's intervals on test trips; None without intervals.

    Args:
        pipeline: Fitted pipeline, with or without intervals.
        test: Test trips: request columns and ``duration_minutes``.
        predicted: The pipeline's predictions for them, minutes.
        training_trips: Determine which zone pairs are unseen; without them the slices of pairs
            are omitted.
    """
    intervals = get_intervals(pipeline)
    stated = states_distance(test["trip_distance"])
    bounds = interval_bounds(pipeline, predicted, stated)
    if intervals is None or bounds is None:
        return None
    lower, upper = bounds
    actual = test[TARGET.name].to_numpy()
    covered: Mask = (lower <= actual) & (actual <= upper)
    width: Minutes = upper - lower
    pairs = np.array([], dtype=np.int64) if training_trips is None else pair_codes(training_trips)
    slices = [
        IntervalSlice(
            slice=name,
            coverage=float(covered[mask].mean()),
            mean_width=float(width[mask].mean()),
            rows=int(np.count_nonzero(mask)),
        )
        for name, mask in slice_masks(test, pairs).items()
        if np.count_nonzero(mask) >= MIN_ROWS
        and not (training_trips is None and name.startswith("pair/"))
    ]
    return IntervalRecord(
        nominal=intervals.nominal,
        coverage=float(covered.mean()),
        mean_width=float(width.mean()),
        rows=len(covered),
        calibrated_rows=int(intervals.residuals.sum()),
        slices=slices,
    )


def coverage_tolerance(measured: IntervalRecord) -> float:
    """Return the tolerated difference to the nominal coverage for this number of trips."""
    variance = measured.nominal * (1 - measured.nominal)
    sampling = variance / measured.rows + variance / measured.calibrated_rows
    return max(TOLERANCE, STANDARD_ERRORS * float(np.sqrt(sampling)))


def interval_coverage(
    measured: IntervalRecord | None, trained_on_test_month: bool = False
) -> Finding:
    """Check that the coverage on the test month is close to the nominal one.

    Args:
        measured: Measurement on the test month; None for a model without intervals.
        trained_on_test_month: Whether the model was fitted or its intervals calibrated on it.
    """
    if measured is None:
        return Finding(
            Verdict.WARN,
            "the model has no prediction intervals, as it was trained by an old version: train "
            "models again",
        )
    nominal, share = measured.nominal, measured.coverage
    tolerance = coverage_tolerance(measured)
    lower, upper = nominal - tolerance, nominal + tolerance
    sentence = (
        f"the {nominal:.0%} intervals cover {share:.1%} of {measured.rows:,} test trips, with a "
        f"mean width of {measured.mean_width:.1f} minutes; allowed: {lower:.1%} to {upper:.1%}"
    )
    if tolerance > TOLERANCE:
        sentence += (
            f" ({STANDARD_ERRORS} standard errors instead of {100 * TOLERANCE:g} points, since "
            f"only {measured.calibrated_rows:,} trips were calibrated on)"
        )
    if measured.slices:
        farthest = max(measured.slices, key=lambda part: abs(part.coverage - nominal))
        sentence += (
            f"; the farthest slice is {farthest.slice} with {farthest.coverage:.1%} of "
            f"{farthest.rows:,} trips"
        )
    if trained_on_test_month:
        sentence += "; optimistic, as the model was fitted or calibrated on this month"
    if lower <= share <= upper:
        return Finding(Verdict.PASS, sentence, share, lower, upper)
    sentence += (
        ". The trips differ from the calibration month: materialize the model again on newer or "
        "more months"
    )
    return Finding(Verdict.WARN, sentence, share, lower, upper)


def interval_table(measured: IntervalRecord) -> list[Row]:
    """Tabulate coverage in percent and width in minutes, of all test trips and of each slice."""
    return [
        {
            "slice": part.slice,
            "trips": part.rows,
            "held_percent": round(100 * part.coverage, 1),
            "mean_width": round(part.mean_width, 2),
        }
        for part in overall_and_slices(measured)
    ]


def overall_and_slices(measured: IntervalRecord) -> list[IntervalSlice]:
    """Return all trips as the first slice, then the others."""
    everything = IntervalSlice(
        slice="all trips",
        coverage=measured.coverage,
        mean_width=measured.mean_width,
        rows=measured.rows,
    )
    return [everything, *measured.slices]
