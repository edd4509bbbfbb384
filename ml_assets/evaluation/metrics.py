"""How good predictions are: on the whole judged month, by slice, and against each other."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import metrics as sklearn_metrics

from ml_assets.trips.zones import AIRPORT_ZONES, borough_by_location

CLOSE_MINUTES = 5.0
"""A prediction this near to the trip's duration counts as close."""

HOUR_BANDS = (
    ("night 0-6", 0, 6),
    ("morning 6-10", 6, 10),
    ("midday 10-16", 10, 16),
    ("evening 16-20", 16, 20),
    ("late 20-24", 20, 24),
)

Mask = npt.NDArray[np.bool_]


def root_mean_squared_error(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Square root of the mean squared difference, in the unit of its arguments."""
    return float(np.sqrt(np.mean((np.asarray(actual) - np.asarray(predicted)) ** 2)))


@dataclass(frozen=True)
class Metrics:
    """Errors over ``rows`` trips, e = predicted - actual, in minutes where a unit applies.

    Attributes:
        rmse: sqrt(mean(e²)), minutes.
        mae: mean(abs(e)), minutes.
        mape: mean(abs(e) / actual), a fraction (0.25 is 25 %).
        r2: 1 - sum(e²) / sum((actual - mean(actual))²); NaN for a single trip.
        share_within_5_minutes: mean(abs(e) <= 5), a fraction.
        rows: how many trips were compared.
    """

    rmse: float
    mae: float
    mape: float
    r2: float
    share_within_5_minutes: float
    rows: int

    def as_dict(self) -> dict[str, float]:
        """The figures by name, for tracking and metadata."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def measure(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> Metrics:
    """Compare predictions with what happened.

    Args:
        actual: durations in minutes, shape (n,), above 0.
        predicted: predicted minutes in the same order, shape (n,).

    Raises:
        ValueError: when the two differ in length, are empty or not one-dimensional, hold NaN or
            infinity, or when an actual duration is not above 0 (MAPE divides by it).
    """
    actual_minutes = _minutes("actual", actual)
    predicted_minutes = _minutes("predicted", predicted)
    if len(actual_minutes) != len(predicted_minutes):
        raise ValueError(
            f"actual has {len(actual_minutes)} rows but predicted has {len(predicted_minutes)}: "
            "both must be of the same trips, in the same order"
        )
    if actual_minutes.min() <= 0:
        raise ValueError(
            f"actual holds a duration of {actual_minutes.min():g} minutes: durations are above 0"
        )
    error = np.abs(predicted_minutes - actual_minutes)
    pair = (actual_minutes, predicted_minutes)
    return Metrics(
        rmse=float(sklearn_metrics.root_mean_squared_error(*pair)),
        mae=float(sklearn_metrics.mean_absolute_error(*pair)),
        mape=float(sklearn_metrics.mean_absolute_percentage_error(*pair)),
        r2=float(sklearn_metrics.r2_score(*pair)) if len(error) > 1 else float("nan"),
        share_within_5_minutes=float(np.mean(error <= CLOSE_MINUTES)),
        rows=len(error),
    )


def pair_codes(trips: pd.DataFrame) -> npt.NDArray[np.int64]:
    """One integer per row for its pick-up and drop-off zone: ``PULocationID * 1000 + DO…``."""
    codes: npt.NDArray[np.int64] = trips["PULocationID"].to_numpy(dtype=np.int64) * 1000
    codes += trips["DOLocationID"].to_numpy(dtype=np.int64)
    return codes


def slice_masks(judge: pd.DataFrame, train_pairs: npt.NDArray[np.int64]) -> dict[str, Mask]:
    """Which rows of the judged month belong to which slice; slices overlap.

    Args:
        judge: request fields ``PULocationID``, ``DOLocationID``, ``trip_distance`` (miles) and
            ``pickup_datetime``, one row a trip.
        train_pairs: ``pair_codes`` of the training rows; duplicates are welcome.

    Returns:
        Slice name, ``group/value``, to a mask of shape (rows,). Boroughs are of the pick-up and
        only those that occur.
    """
    pickup = judge["PULocationID"].to_numpy(dtype=np.int64)
    dropoff = judge["DOLocationID"].to_numpy(dtype=np.int64)
    hour = judge["pickup_datetime"].dt.hour.to_numpy()
    seen = np.isin(pair_codes(judge), train_pairs)
    masks: dict[str, Mask] = {
        "pair/seen": seen,
        "pair/unseen": ~seen,
        "airport/either end": np.isin(pickup, AIRPORT_ZONES) | np.isin(dropoff, AIRPORT_ZONES),
        "distance/zero": judge["trip_distance"].to_numpy() == 0,
    }
    for name, first, end in HOUR_BANDS:
        masks[f"hour/{name}"] = (hour >= first) & (hour < end)
    return masks | _borough_masks(pickup)


def _borough_masks(pickup: npt.NDArray[np.int64]) -> dict[str, Mask]:
    """One mask per borough that occurs; zones outside the table are of unknown borough."""
    names, name_of_zone = np.unique(borough_by_location(), return_inverse=True)
    in_table = (pickup >= 0) & (pickup < len(name_of_zone))
    borough = name_of_zone[np.where(in_table, pickup, 0)]
    return {f"borough/{names[code]}": borough == code for code in np.unique(borough)}


@dataclass(frozen=True)
class SliceMetrics:
    """The figures of one slice of the judged month."""

    slice: str
    metrics: Metrics


def measure_slices(
    judge: pd.DataFrame,
    predicted: npt.ArrayLike,
    train_pairs: npt.NDArray[np.int64],
    least_rows: int = 30,
) -> list[SliceMetrics]:
    """Measure every slice of the judged month that holds enough trips to say anything.

    Args:
        judge: request fields and ``duration_minutes``, one row a trip.
        predicted: predicted minutes, shape (rows,), in the order of ``judge``.
        train_pairs: ``pair_codes`` of the training rows.
        least_rows: slices with fewer trips are left out; their RMSE is mostly chance.

    Raises:
        ValueError: as :func:`measure`, and when ``predicted`` has another length than ``judge``.
    """
    actual = _minutes("duration_minutes", judge["duration_minutes"])
    predicted_minutes = _minutes("predicted", predicted)
    if len(predicted_minutes) != len(actual):
        raise ValueError(f"judge has {len(actual)} rows, predicted has {len(predicted_minutes)}")
    return [
        SliceMetrics(name, measure(actual[mask], predicted_minutes[mask]))
        for name, mask in slice_masks(judge, train_pairs).items()
        if np.count_nonzero(mask) >= max(least_rows, 1)
    ]


def _minutes(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """One-dimensional finite floats, or a ValueError that says which of these they are not."""
    minutes = np.asarray(values, dtype=np.float64)
    if minutes.ndim != 1:
        raise ValueError(f"{name} has shape {minutes.shape}: one number a trip is needed")
    if not len(minutes):
        raise ValueError(f"{name} is empty: there is nothing to measure")
    not_finite = int(np.count_nonzero(~np.isfinite(minutes)))
    if not_finite:
        raise ValueError(f"{name} holds {not_finite} NaN or infinite values of {len(minutes)}")
    return minutes
