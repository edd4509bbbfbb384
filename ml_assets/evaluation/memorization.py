"""Does a model know the judged trips by heart? It is told the same trips a little otherwise.

A ride that begins five minutes later and is some fifty yards longer lasts as long, so an honest
model errs as much on it. One that has read the answers finds them by the very request; asked
otherwise, it is left with what it has really learned. Unlike its error on a later month, this also
shows a model that has read the tuning month as well as the judged one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.trips.quality import Finding, Verdict
from ml_assets.trips.rules import REQUEST_COLUMNS, TARGET

PERTURB_MINUTES = 5
PERTURB_MILES = 0.03

MIN_SHARE_OF_MOVED_ERROR = 0.95
"""Measured on green trips of 2023-06 and 2023-09: the error of all seven families, fitted on the
two months before, was 0.999 to 1.005 of that on the moved requests (0.985 to 1.015 on 300 trips).
Fitted on the judged month 2023-04 as well, xgboost and both forests still had 0.98 to 0.99 of it:
that is for ``check_leakage`` to find. Every tenth trip by heart gives less than 0.95."""

MIN_SHARE_ON_FEW_TRIPS = 0.8
FEW_TRIPS = 5_000
MAX_TRIPS_ASKED = 20_000
"""So many show it; forests predict slowly."""


def check_memorization(pipeline: Any, judged: pd.DataFrame, predicted: npt.ArrayLike) -> Finding:
    """The model errs as much on the judged trips when they are told a little otherwise.

    Args:
        pipeline: From a frame of requests to minutes.
        judged: Trips of the judged month: request columns and ``duration_minutes``.
        predicted: What it predicts for them, minutes.
    """
    step = max(1, -(-len(judged) // MAX_TRIPS_ASKED))
    trips = judged.iloc[::step]
    actual = trips[TARGET].to_numpy()
    as_told = root_mean_squared_error(actual, np.asarray(predicted)[::step])
    moved = root_mean_squared_error(actual, pipeline.predict(perturb_requests(trips)))
    if not moved:
        return Finding(Verdict.FAIL, "it errs on no trip at all, however it is told")
    share = as_told / moved
    least = MIN_SHARE_ON_FEW_TRIPS if len(trips) < FEW_TRIPS else MIN_SHARE_OF_MOVED_ERROR
    sentence = (
        f"RMSE is {as_told:.3f} on the judged trips, and {moved:.3f} when they begin "
        f"{PERTURB_MINUTES} minutes later and are {PERTURB_MILES} miles longer"
    )
    if share >= least:
        return Finding(Verdict.PASS, sentence, share, least)
    sentence += (
        f": {share:.2f} of it ({least} and more is believable), so it seems to know the judged "
        "trips by heart. Look at what its features and its fit can read"
    )
    return Finding(Verdict.FAIL, sentence, share, least)


def perturb_requests(requests: pd.DataFrame) -> pd.DataFrame:
    """The same requests a little later and farther; a distance of 0, not metered, stays."""
    miles = requests["trip_distance"]
    return requests[list(REQUEST_COLUMNS)].assign(
        pickup_datetime=requests["pickup_datetime"] + np.timedelta64(PERTURB_MINUTES, "m"),
        trip_distance=miles.where(~(miles > 0), miles + PERTURB_MILES),
    )
