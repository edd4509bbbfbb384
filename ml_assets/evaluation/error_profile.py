"""Errors of predictions in fixed bins: by zone, hour and distance, and against the actual minutes.

These are the figures behind the pictures of where a model is wrong. Bins are the same for every
model and month, so that figures kept at different times can be compared.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.metrics import measure
from ml_assets.evaluation.records import (
    DISTANCE,
    DROPOFF_ZONE,
    HOUR,
    PICKUP_ZONE,
    BinnedErrors,
    ErrorProfile,
    GroupErrors,
)
from ml_assets.trips.target import TARGET

DISTANCE_EDGES: Final = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
"""Lower edges of the distance bands, metered miles; a distance of 0 is in the first one."""

MINUTE_EDGES: Final = tuple(float(edge) for edge in range(0, 65, 5))
"""Lower edges of the bins of predicted and of actual minutes; the last one has no upper edge."""

_OUTWARDS: Final = (2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0)
RESIDUAL_EDGES: Final = (*(-edge for edge in reversed(_OUTWARDS)), 0.0, *_OUTWARDS)
"""Edges of the bins of predicted minus actual minutes; there is one bin more than edges, as the
first and the last are open."""

_DECIMALS = 4


def bin_errors(trips: pd.DataFrame, predicted: npt.ArrayLike) -> BinnedErrors:
    """Count and average the errors of predictions in fixed bins.

    Args:
        trips: Request columns and ``duration_minutes``, one row per trip; distances in miles.
        predicted: Predicted minutes in the same order, shape (rows,).

    Raises:
        ValueError: There are no trips, or not one finite prediction for each.
    """
    actual = trips[TARGET.name].to_numpy(dtype=np.float64)
    minutes = np.asarray(predicted, dtype=np.float64)
    measure(actual, minutes)  # checks that there is a finite one for each trip
    error = minutes - actual
    distance = trips["trip_distance"].to_numpy(dtype=np.float64)
    band = np.clip(np.searchsorted(DISTANCE_EDGES, distance, side="right") - 1, 0, None)
    groups = {
        PICKUP_ZONE: _group(trips["PULocationID"].to_numpy(dtype=np.int64), error),
        DROPOFF_ZONE: _group(trips["DOLocationID"].to_numpy(dtype=np.int64), error),
        HOUR: _group(trips["pickup_datetime"].dt.hour.to_numpy(), error),
        DISTANCE: _group(band, error, np.asarray(DISTANCE_EDGES)),
    }
    residuals = np.bincount(
        np.searchsorted(RESIDUAL_EDGES, error, side="right"), minlength=len(RESIDUAL_EDGES) + 1
    )
    bins = len(MINUTE_EDGES)
    cell = _minute_bin(actual) * bins + _minute_bin(minutes)
    grid = np.bincount(cell, minlength=bins * bins).reshape(bins, bins)
    return BinnedErrors(
        groups=groups,
        residuals=residuals.tolist(),
        predicted_against_actual=grid.tolist(),
    )


def profile_errors(
    trips: pd.DataFrame,
    predicted: npt.ArrayLike,
    predicted_usual: npt.ArrayLike,
    *,
    model: str,
    month: str,
    raw_sha256: str,
    run_id: str = "",
) -> ErrorProfile:
    """Bin the errors of a model on a month in both modes.

    Args:
        trips: Kept trips with their metered distances, see :func:`bin_errors`.
        predicted: Minutes with the metered distances, shape (rows,).
        predicted_usual: Minutes without distances, shape (rows,).

    Raises:
        ValueError: See :func:`bin_errors`.
    """
    return ErrorProfile(
        model=model,
        run_id=run_id,
        month=month,
        raw_sha256=raw_sha256,
        trips=len(trips),
        stated=bin_errors(trips, predicted),
        usual=bin_errors(trips, predicted_usual),
    )


def _group(
    codes: npt.NDArray[np.int64],
    error: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64] | None = None,
) -> GroupErrors:
    """Return the errors of each code that occurs; ``values`` has the value of each code."""
    trips = np.bincount(codes)
    present = np.flatnonzero(trips)
    count = trips[present]
    value = (np.arange(len(trips), dtype=np.float64) if values is None else values)[present]

    def mean(of_trip: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        means: npt.NDArray[np.float64] = np.bincount(codes, of_trip)[present] / count
        return means

    return GroupErrors(
        values=value.tolist(),
        trips=count.tolist(),
        rmse=np.sqrt(mean(error**2)).round(_DECIMALS).tolist(),
        mae=mean(np.abs(error)).round(_DECIMALS).tolist(),
        bias=mean(error).round(_DECIMALS).tolist(),
    )


def _minute_bin(minutes: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    return np.clip(np.searchsorted(MINUTE_EDGES, minutes, side="right") - 1, 0, None)
