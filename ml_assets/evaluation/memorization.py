"""Detection of models that memorized the test trips, by slightly perturbed requests.

A ride that begins five minutes later and is some fifty yards longer takes as long, so a model
without leakage has the same error on it. A model that memorized the labels finds them by the exact
request and fails to for the perturbed one. Unlike the error on a later month, this also detects
leakage of both the validation and the test month.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

PERTURB_MINUTES = 5
PERTURB_MILES = 0.03

MIN_ERROR_RATIO = 0.95
"""Minimum ratio of the error to that on perturbed requests. On green trips of 2023-06 and 2023-09
the ratio of all seven families, fitted on the two months before, was 0.999 to 1.005 (0.985 to 1.015
on 300 trips). Fitted on the test month 2023-04 as well, xgboost and both forests still had 0.98 to
0.99, which ``check_leakage`` detects. One memorized trip in ten gives less than 0.95."""

MIN_ERROR_RATIO_FEW_TRIPS = 0.8
FEW_TRIPS = 5_000
MAX_TRIPS_PREDICTED = 20_000
"""Enough to detect memorization; forests predict slowly."""


def check_memorization(pipeline: Any, test: pd.DataFrame, predicted: npt.ArrayLike) -> Finding:
    """Check that the error on the test trips is not lower than on perturbed requests.

    Args:
        test: Test trips: request columns and ``duration_minutes``.
        predicted: The pipeline's predictions for them, minutes.
    """
    step = max(1, -(-len(test) // MAX_TRIPS_PREDICTED))
    trips = test.iloc[::step]
    actual = trips[TARGET.name].to_numpy()
    rmse = root_mean_squared_error(actual, np.asarray(predicted)[::step])
    perturbed = root_mean_squared_error(actual, pipeline.predict(perturb_requests(trips)))
    if not perturbed:
        return Finding(Verdict.FAIL, "the error is 0 on all trips, even on perturbed requests")
    ratio = rmse / perturbed
    minimum = MIN_ERROR_RATIO_FEW_TRIPS if len(trips) < FEW_TRIPS else MIN_ERROR_RATIO
    sentence = (
        f"RMSE is {rmse:.3f} on the test trips, and {perturbed:.3f} when they begin "
        f"{PERTURB_MINUTES} minutes later and are {PERTURB_MILES} miles longer"
    )
    if ratio >= minimum:
        return Finding(Verdict.PASS, sentence, ratio, minimum)
    sentence += (
        f": a ratio of {ratio:.2f}, at least {minimum} expected, so the model seems to have "
        "memorized the test trips. Check what its features and its fit can read"
    )
    return Finding(Verdict.FAIL, sentence, ratio, minimum)


def perturb_requests(requests: pd.DataFrame) -> pd.DataFrame:
    """Make the requests slightly later and longer; unmetered distances of 0 do not change."""
    miles = requests["trip_distance"]
    return requests[list(REQUEST_COLUMNS)].assign(
        pickup_datetime=requests["pickup_datetime"] + np.timedelta64(PERTURB_MINUTES, "m"),
        trip_distance=miles.where(~(miles > 0), miles + PERTURB_MILES),
    )
