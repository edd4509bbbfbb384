"""Do prediction intervals hold what they promise? Measured on the judged month, also by slice."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.metrics import Mask, pair_codes, slice_masks
from ml_assets.evaluation.records import IntervalRecord, IntervalSlice
from ml_assets.pipeline.conformal_intervals import Minutes, get_intervals
from ml_assets.trips.quality import Finding, Verdict
from ml_assets.trips.rules import TARGET

TOLERANCE = 0.03
"""Up to so far from the nominal share, either way, is fine."""

STANDARD_ERRORS = 2
"""On fewer than some 1,400 trips the share moves by more than ``TOLERANCE`` by chance: then so many
of its standard errors are fine, binomial ones of the trips judged and of those calibrated on."""

MIN_ROWS = 30
"""Slices with fewer trips are left out, as for the errors: their share is mostly chance."""

Row = dict[str, str | int | float]


def measure_intervals(
    pipeline: Any,
    judged: pd.DataFrame,
    predicted: npt.ArrayLike,
    fitted_on: pd.DataFrame | None = None,
) -> IntervalRecord | None:
    """How many judged trips lie in a pipeline's intervals, and how wide these are.

    Args:
        pipeline: Fitted, with intervals or without.
        judged: Trips: request columns and ``duration_minutes``.
        predicted: What it predicts for them, minutes.
        fitted_on: Trips that it was fitted on, which tell unseen pairs of zones; without them the
            slices of pairs are left out.

    Returns:
        None for a pipeline that has no intervals.
    """
    intervals = get_intervals(pipeline)
    if intervals is None:
        return None
    lower, upper = intervals.bounds(predicted)
    actual = judged[TARGET].to_numpy()
    held: Mask = (lower <= actual) & (actual <= upper)
    width: Minutes = upper - lower
    pairs = np.array([], dtype=np.int64) if fitted_on is None else pair_codes(fitted_on)
    slices = [
        IntervalSlice(
            slice=name,
            coverage=float(held[mask].mean()),
            mean_width=float(width[mask].mean()),
            rows=int(np.count_nonzero(mask)),
        )
        for name, mask in slice_masks(judged, pairs).items()
        if np.count_nonzero(mask) >= MIN_ROWS
        and not (fitted_on is None and name.startswith("pair/"))
    ]
    return IntervalRecord(
        nominal=intervals.nominal,
        coverage=float(held.mean()),
        mean_width=float(width.mean()),
        rows=len(held),
        calibrated_rows=int(intervals.residuals.sum()),
        slices=slices,
    )


def tolerated(measured: IntervalRecord) -> float:
    """How far from nominal the share of so many trips may be, either way."""
    variance = measured.nominal * (1 - measured.nominal)
    of_chance = variance / measured.rows + variance / measured.calibrated_rows
    return max(TOLERANCE, STANDARD_ERRORS * float(np.sqrt(of_chance)))


def interval_coverage(measured: IntervalRecord | None, saw_judged_month: bool = False) -> Finding:
    """The share of judged trips that the intervals hold is near the one they are made for.

    Args:
        measured: On the judged month; None for a model without intervals.
        saw_judged_month: Whether the model was fitted, or its intervals calibrated, on that month.
    """
    if measured is None:
        return Finding(
            Verdict.WARN,
            "it has no prediction intervals, since it was trained before there were any, and "
            "answers with minutes alone: train models again",
        )
    nominal, share = measured.nominal, measured.coverage
    tolerance = tolerated(measured)
    lower, upper = nominal - tolerance, nominal + tolerance
    sentence = (
        f"the {nominal:.0%} intervals hold {share:.1%} of {measured.rows:,} judged trips and are "
        f"{measured.mean_width:.1f} minutes wide on average; {lower:.1%} to {upper:.1%} is fine"
    )
    if tolerance > TOLERANCE:
        sentence += (
            f" ({measured.calibrated_rows:,} calibrated on: so few move the share by chance, hence "
            f"{STANDARD_ERRORS} standard errors instead of {100 * TOLERANCE:g} points)"
        )
    if measured.slices:
        farthest = max(measured.slices, key=lambda part: abs(part.coverage - nominal))
        sentence += (
            f"; farthest off is {farthest.slice} with {farthest.coverage:.1%} of "
            f"{farthest.rows:,} trips"
        )
    if saw_judged_month:
        sentence += "; it was fitted or calibrated on this very month, so the share tells little"
    if lower <= share <= upper:
        return Finding(Verdict.PASS, sentence, share, lower, upper)
    sentence += (
        ". Trips are no longer as in the month that they were calibrated on: materialize the model "
        "again on newer or more months"
    )
    return Finding(Verdict.WARN, sentence, share, lower, upper)


def interval_table(measured: IntervalRecord) -> list[Row]:
    """Share held in percent and width in minutes, of all judged trips, then of each slice."""
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
    """All trips as the first slice, then the others."""
    everything = IntervalSlice(
        slice="all trips",
        coverage=measured.coverage,
        mean_width=measured.mean_width,
        rows=measured.rows,
    )
    return [everything, *measured.slices]
