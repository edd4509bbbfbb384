"""Detection of models that have seen the test month: by their months, their error, their memory.

A test month that is easier to predict is easier for the baselines, too: a model whose error falls
far more than theirs has seen its durations.

A ride that begins five minutes later and is some fifty yards longer takes as long, so a model
without leakage has the same error on it. A model that memorized the labels finds them by the exact
request and fails to for the perturbed one. Unlike the error on a later month, this also detects
leakage of both the validation and the test month.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.evaluation.records import ModelRecord, TrainingSet
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

FEW_TRIPS = 5_000
"""With fewer test trips than this (the measured months have 60,000), ratios are mostly noise."""

MIN_CHANGE = 0.9
"""Measured with five families on green months 2023-03 to 2023-09: from the validation to the
test month, the error of a model without leakage changed by 0.98 to 1.08 of the change of the
baselines. With the test month among three that were fitted, the ratio of xgboost and the forests
was 0.82 to 0.95; a model that has memorized the month has hardly any error left."""

MIN_CHANGE_FEW_TRIPS = 0.5

PERTURB_MINUTES = 5
PERTURB_MILES = 0.03

MIN_ERROR_RATIO = 0.95
"""Minimum ratio of the error to that on perturbed requests. On green trips of 2023-06 and 2023-09
the ratio of all seven families, fitted on the two months before, was 0.999 to 1.005 (0.985 to 1.015
on 300 trips). Fitted on the test month 2023-04 as well, xgboost and both forests still had 0.98 to
0.99, which ``check_leakage`` detects. One memorized trip in ten gives less than 0.95."""

MIN_ERROR_RATIO_FEW_TRIPS = 0.8
MAX_TRIPS_PREDICTED = 20_000
"""Enough to detect memorization; forests predict slowly."""


def check_leakage(
    training_set: TrainingSet, record: ModelRecord, baselines: Sequence[ModelRecord]
) -> Finding:
    """Check by the model's months and its error that it has not learned from the test month.

    Args:
        baselines: Baselines of the same training set.
    """
    tested = {str(month) for month in training_set.months_in("test")}
    learned = {*record.training_months}
    if not training_set.validation_is_test:
        learned |= {*record.validation_months}
    leaked = sorted(month for month in learned if month >= min(tested))
    if leaked:
        return Finding(
            Verdict.FAIL,
            f"it was fitted or tuned on {', '.join(leaked)} and is tested on "
            f"{', '.join(sorted(tested))}: train it again on earlier months",
        )
    changes = [row.test.rmse / row.validation.rmse for row in baselines if row.validation.rmse > 0]
    expected = record.validation.rmse * float(np.median(changes)) if changes else 0.0
    if training_set.validation_is_test or not expected:
        return Finding(Verdict.PASS, "it was fitted on earlier months only")
    ratio = record.test.rmse / expected
    few = min(record.test.rows, record.validation.rows) < FEW_TRIPS
    minimum = MIN_CHANGE_FEW_TRIPS if few else MIN_CHANGE
    sentence = (
        f"RMSE went from {record.validation.rmse:.3f} on the validation month to "
        f"{record.test.rmse:.3f} on the test month, {ratio:.2f} of the change of the baselines"
    )
    if ratio >= minimum:
        return Finding(Verdict.PASS, sentence, ratio, minimum)
    sentence += (
        f" (at least {minimum} expected), so the model seems to have seen the test trips. "
        "Check what its features and its fit can read"
    )
    return Finding(Verdict.FAIL, sentence, ratio, minimum)


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
