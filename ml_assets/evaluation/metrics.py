"""Metrics of predictions, on the whole test month and by slice."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
from sklearn import metrics as sklearn_metrics

from ml_assets.evaluation.records import MetricsRecord, SliceRecord
from ml_assets.trips.target import TARGET
from ml_assets.trips.zones import AIRPORT_ZONES, borough_by_location

HOUR_BANDS = (
    ("night 0-6", 0, 6),
    ("morning 6-10", 6, 10),
    ("midday 10-16", 10, 16),
    ("evening 16-20", 16, 20),
    ("late 20-24", 20, 24),
)

Mask = npt.NDArray[np.bool_]


def root_mean_squared_error(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Compute the root mean squared error, in the unit of the arguments."""
    return float(np.sqrt(np.mean((np.asarray(actual) - np.asarray(predicted)) ** 2)))


def measure(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> MetricsRecord:
    """Compute the metrics of predictions.

    Args:
        actual: Actual durations in minutes, shape (n,), above 0.
        predicted: Predicted minutes in the same order, shape (n,).

    Raises:
        ValueError: The two differ in length, are empty or not one-dimensional, or have NaN or
            infinite values, or an actual duration is not above 0 (MAPE divides by it).
    """
    actual_minutes = _minutes("actual", actual)
    predicted_minutes = _minutes("predicted", predicted)
    if len(actual_minutes) != len(predicted_minutes):
        raise ValueError(
            f"actual has {len(actual_minutes)} rows but predicted has {len(predicted_minutes)}: "
            "both must have the same trips in the same order"
        )
    if actual_minutes.min() <= 0:
        raise ValueError(
            f"actual has a duration of {actual_minutes.min():g} minutes: durations are above 0"
        )
    error = np.abs(predicted_minutes - actual_minutes)
    pair = (actual_minutes, predicted_minutes)
    return MetricsRecord(
        rmse=float(sklearn_metrics.root_mean_squared_error(*pair)),
        mae=float(sklearn_metrics.mean_absolute_error(*pair)),
        mape=float(sklearn_metrics.mean_absolute_percentage_error(*pair)),
        r2=float(sklearn_metrics.r2_score(*pair)) if len(error) > 1 else float("nan"),
        share_within_5_minutes=float(np.mean(error <= TARGET.close)),
        rows=len(error),
    )


def pair_codes(trips: "pd.DataFrame | pl.DataFrame") -> npt.NDArray[np.int64]:
    """Encode each row's zone pair as an integer: ``PULocationID * 1000 + DOLocationID``."""
    codes: npt.NDArray[np.int64] = trips["PULocationID"].to_numpy().astype(np.int64) * 1000
    codes += trips["DOLocationID"].to_numpy().astype(np.int64)
    return codes


def zones_of_codes(
    codes: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return pick-up and drop-off zones of ``pair_codes``."""
    return codes // 1000, codes % 1000


def slice_masks(test: pd.DataFrame, train_pairs: npt.NDArray[np.int64]) -> dict[str, Mask]:
    """Return the rows of each slice of the test trips; slices overlap.

    Args:
        test: Request fields ``PULocationID``, ``DOLocationID``, ``trip_distance`` (miles) and
            ``pickup_datetime``, one row per trip.
        train_pairs: ``pair_codes`` of the training rows; may have duplicates.

    Returns:
        Masks of shape (rows,) by slice name ``group/value``. Boroughs are those of the pick-up, as
        far as they occur.
    """
    pickup = test["PULocationID"].to_numpy(dtype=np.int64)
    dropoff = test["DOLocationID"].to_numpy(dtype=np.int64)
    hour = test["pickup_datetime"].dt.hour.to_numpy()
    seen = np.isin(pair_codes(test), train_pairs)
    masks: dict[str, Mask] = {
        "pair/seen": seen,
        "pair/unseen": ~seen,
        "airport/either end": np.isin(pickup, AIRPORT_ZONES) | np.isin(dropoff, AIRPORT_ZONES),
        "distance/zero": test["trip_distance"].to_numpy() == 0,
    }
    for name, first, end in HOUR_BANDS:
        masks[f"hour/{name}"] = (hour >= first) & (hour < end)
    return masks | _borough_masks(pickup)


def _borough_masks(pickup: npt.NDArray[np.int64]) -> dict[str, Mask]:
    """Return a mask for each borough that occurs; other zones have an unknown borough."""
    names, name_of_zone = np.unique(borough_by_location(), return_inverse=True)
    in_table = (pickup >= 0) & (pickup < len(name_of_zone))
    borough = name_of_zone[np.where(in_table, pickup, 0)]
    return {f"borough/{names[code]}": borough == code for code in np.unique(borough)}


def measure_slices(
    test: pd.DataFrame,
    predicted: npt.ArrayLike,
    train_pairs: npt.NDArray[np.int64],
    min_rows: int = 30,
) -> list[SliceRecord]:
    """Compute the metrics of every slice with enough trips.

    Args:
        test: Request fields and ``duration_minutes``, one row per trip.
        predicted: Predicted minutes in the order of ``test``, shape (rows,).
        train_pairs: ``pair_codes`` of the training rows.
        min_rows: Slices with fewer trips are omitted; their RMSE is mostly noise.

    Raises:
        ValueError: See :func:`measure`.
    """
    actual = _minutes(TARGET.name, test[TARGET.name])
    predicted_minutes = _minutes("predicted", predicted)
    if len(predicted_minutes) != len(actual):
        raise ValueError(f"test has {len(actual)} rows, predicted has {len(predicted_minutes)}")
    return [
        SliceRecord(slice=name, metrics=measure(actual[mask], predicted_minutes[mask]))
        for name, mask in slice_masks(test, train_pairs).items()
        if np.count_nonzero(mask) >= max(min_rows, 1)
    ]


def _minutes(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return one-dimensional finite floats, or raise ValueError."""
    minutes = np.asarray(values, dtype=np.float64)
    if minutes.ndim != 1:
        raise ValueError(f"{name} has shape {minutes.shape}: pass one number per trip")
    if not len(minutes):
        raise ValueError(f"{name} is empty: there is nothing to measure")
    not_finite = int(np.count_nonzero(~np.isfinite(minutes)))
    if not_finite:
        raise ValueError(f"{name} has {not_finite} NaN or infinite values of {len(minutes)}")
    return minutes
