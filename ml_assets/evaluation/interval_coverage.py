"""Coverage of prediction intervals on the test month: overall, by fifth and by slice.

Measured twice: with the metered distance of each trip, and without a distance.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.leaderboard import MODES
from ml_assets.evaluation.metrics import Mask, slice_masks
from ml_assets.evaluation.records import IntervalRecord, IntervalSlice
from ml_assets.pipeline.conformal_intervals import (
    Minutes,
    get_intervals,
    get_usual_intervals,
    interval_bounds,
    seen_pairs,
)
from ml_assets.requests.parse import states_distance
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

TOLERANCE = 0.03
"""Tolerated difference to the nominal coverage, either way."""

STANDARD_ERRORS = 2
"""With fewer than about 1,400 trips the coverage varies by more than ``TOLERANCE`` by chance: then
this many standard errors are tolerated, binomial ones of the test and of the calibration trips."""

STANDARD_ERRORS_OF_A_FIFTH = 3
"""The same for a fifth of the predictions: there are five in each mode, and with two standard
errors one of the ten would be outside by chance in every third check."""

FIFTHS = 5

MIN_ROWS = 30
"""Slices with fewer trips are omitted, as for the metrics: their coverage is mostly noise."""

Row = dict[str, str | int | float]


def measure_intervals(
    pipeline: Any,
    test: pd.DataFrame,
    predicted: npt.ArrayLike,
    train_pairs: npt.NDArray[np.int64] | None = None,
) -> IntervalRecord | None:
    """Measure coverage and width of a pipeline's intervals on test trips; None without intervals.

    Args:
        pipeline: Fitted pipeline, with or without intervals.
        test: Test trips: request columns and ``duration_minutes``; without distances to measure
            the predictions without one.
        predicted: The pipeline's predictions for them, minutes.
        train_pairs: ``pair_codes`` of the training trips, which define the unseen pairs; without
            them the slices of pairs are omitted.
    """
    intervals, usual = get_intervals(pipeline), get_usual_intervals(pipeline)
    stated = states_distance(test["trip_distance"])
    minutes = np.asarray(predicted, dtype=np.float64)
    zones = (test[name].to_numpy() for name in REQUEST_COLUMNS[:2])
    bounds = interval_bounds(pipeline, minutes, stated, seen_pairs(pipeline, *zones))
    if intervals is None or bounds is None:
        return None
    lower, upper = bounds
    actual = test[TARGET.name].to_numpy()
    covered: Mask = (lower <= actual) & (actual <= upper)
    width: Minutes = upper - lower

    def parts(masks: dict[str, Mask]) -> list[IntervalSlice]:
        return [
            IntervalSlice(
                slice=name,
                coverage=float(covered[mask].mean()),
                mean_width=float(width[mask].mean()),
                rows=int(np.count_nonzero(mask)),
            )
            for name, mask in masks.items()
            if np.count_nonzero(mask) >= MIN_ROWS
        ]

    pairs = np.array([], dtype=np.int64) if train_pairs is None else train_pairs
    slices = {
        name: mask
        for name, mask in slice_masks(test, pairs).items()
        if not (train_pairs is None and name.startswith("pair/"))
    }
    without_any = not stated.any()
    used = usual if usual is not None and without_any else intervals
    return IntervalRecord(
        nominal=intervals.nominal,
        coverage=float(covered.mean()),
        mean_width=float(width.mean()),
        rows=len(covered),
        calibrated_rows=used.calibrated_rows,
        slices=parts(slices),
        fifths=parts(_fifths(minutes)),
        calibrated_with_metered=without_any and usual is None,
    )


def _fifths(predicted: Minutes) -> dict[str, Mask]:
    """Return the trips of each fifth of the predictions; equal predictions are in the same one."""
    edges = np.quantile(predicted, np.arange(1, FIFTHS) / FIFTHS)
    of_trip = np.searchsorted(edges, predicted)
    return {f"predicted/fifth {at + 1}": of_trip == at for at in range(FIFTHS)}


def coverage_tolerance(
    measured: IntervalRecord, rows: int | None = None, standard_errors: float = STANDARD_ERRORS
) -> float:
    """Return the tolerated difference to the nominal coverage for this number of trips.

    Args:
        rows: Trips of a part of the test month; as large a part of the calibration trips is taken
            to have calibrated its intervals. None means all.
    """
    variance = measured.nominal * (1 - measured.nominal)
    share = 1.0 if rows is None else rows / measured.rows
    sampling = variance / (share * measured.rows) + variance / (share * measured.calibrated_rows)
    return max(TOLERANCE, standard_errors * float(np.sqrt(sampling)))


class _Part(NamedTuple):
    """The coverage of a part of the test month in one mode, and what is allowed."""

    name: str
    coverage: float
    lower: float
    upper: float

    @property
    def outside(self) -> bool:
        return not self.lower <= self.coverage <= self.upper  # also for NaN


def _parts(mode: str, measured: IntervalRecord) -> Iterator[_Part]:
    """Return all trips and then each fifth of the predictions."""
    nominal, tolerance = measured.nominal, coverage_tolerance(measured)
    allowed = nominal - tolerance, nominal + tolerance
    yield _Part(f"{MODES[mode]}, all trips", measured.coverage, *allowed)
    for fifth in measured.fifths:
        tolerance = coverage_tolerance(measured, fifth.rows, STANDARD_ERRORS_OF_A_FIFTH)
        allowed = nominal - tolerance, nominal + tolerance
        name = f"{MODES[mode]}, {fifth.slice.removeprefix('predicted/')} of the predictions"
        yield _Part(name, fifth.coverage, *allowed)


def interval_coverage(
    stated: IntervalRecord | None,
    usual: IntervalRecord | None,
    trained_on_test_month: bool = False,
) -> Finding:
    """Check that the coverage on the test month is close to the nominal one in both modes.

    Args:
        stated: Measurement with the metered distances; None for a model without intervals.
        usual: Measurement without distances; None for a model without intervals.
        trained_on_test_month: Whether the model was fitted or its intervals calibrated on it.
    """
    if stated is None or usual is None:
        return Finding(
            Verdict.WARN,
            "the model has no prediction intervals, as it was trained by an old version: train "
            "models again",
        )
    measured = {"stated": stated, "usual": usual}
    sentence = "; ".join(_describe(mode, found) for mode, found in measured.items())
    if trained_on_test_month:
        sentence += "; optimistic, as the model was fitted or calibrated on this month"
    if usual.calibrated_with_metered:
        sentence += (
            "; its intervals were calibrated with metered distances only, as it was trained by an "
            "old version"
        )
    parts = [part for mode, found in measured.items() for part in _parts(mode, found)]
    outside = [part for part in parts if part.outside]
    if not outside:
        return Finding(Verdict.PASS, sentence, parts[0].coverage, parts[0].lower, parts[0].upper)
    farthest = max(outside, key=lambda part: abs(part.coverage - stated.nominal))
    sentence += (
        f"; outside: {'; '.join(f'{part.name} ({part.coverage:.1%})' for part in outside)}. "
    )
    sentence += (
        "To calibrate both modes, train models again"
        if usual.calibrated_with_metered
        else "The trips differ from the calibration month: materialize the model again on newer or "
        "more months"
    )
    return Finding(Verdict.WARN, sentence, farthest.coverage, farthest.lower, farthest.upper)


def _describe(mode: str, measured: IntervalRecord) -> str:
    """Describe the coverage in one mode: all trips, the fifths, and the farthest slice."""
    nominal, tolerance = measured.nominal, coverage_tolerance(measured)
    sentence = (
        f"{MODES[mode]}, the {nominal:.0%} intervals cover {measured.coverage:.1%} of "
        f"{measured.rows:,} test trips"
    )
    if measured.fifths:
        shares = [fifth.coverage for fifth in measured.fifths]
        sentence += f" and {min(shares):.1%} to {max(shares):.1%} of each fifth of the predictions"
    sentence += (
        f", with a mean width of {measured.mean_width:.1f} minutes; allowed: "
        f"{nominal - tolerance:.1%} to {nominal + tolerance:.1%}"
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
    return sentence


def interval_table(measured: IntervalRecord, usual: IntervalRecord | None = None) -> list[Row]:
    """Tabulate coverage in percent and width in minutes: all test trips, fifths and slices.

    Args:
        usual: The measurement without distances, for columns that end with ``_usual``.
    """
    without = {} if usual is None else {part.slice: part for part in all_parts(usual)}
    rows: list[Row] = []
    for part in all_parts(measured):
        row: Row = {"slice": part.slice, "trips": part.rows, **_cells(part)}
        if usual is not None:
            row |= {f"{name}_usual": cell for name, cell in _cells(without.get(part.slice)).items()}
        rows.append(row)
    return rows


def _cells(part: IntervalSlice | None) -> Row:
    if part is None:
        return {"held_percent": "", "mean_width": ""}
    return {
        "held_percent": round(100 * part.coverage, 1),
        "mean_width": round(part.mean_width, 2),
    }


def all_parts(measured: IntervalRecord) -> list[IntervalSlice]:
    """Return all trips as the first slice, then the fifths and the slices."""
    everything = IntervalSlice(
        slice="all trips",
        coverage=measured.coverage,
        mean_width=measured.mean_width,
        rows=measured.rows,
    )
    return [everything, *measured.fifths, *measured.slices]
