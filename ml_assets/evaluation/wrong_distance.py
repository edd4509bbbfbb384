"""What a wrong distance costs: the error when requests state another one than the meter will show.

A router's or a driver's distance is an estimate. The service rejects no plausible one, so the error
that a wrong one causes has to be known, and how many trips its intervals, which are calibrated with
metered distances, then cover.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.interval_coverage import measure_intervals
from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.evaluation.records import DistanceError
from ml_assets.pipeline.predict import predict_trips, without_distance
from ml_assets.trips.target import TARGET

MAX_TRIPS: Final = 20_000
"""Maximum trips predicted with wrong distances, evenly over the month: forests predict slowly."""

METERED, LEFT_OUT = "metered", "left out"
FACTORS: Final = {"0.8 × metered": 0.8, "1.25 × metered": 1.25}
NOISE: Final = 0.2
"""Standard deviation of the log of the factor, and so about that of the factor."""

_NOISY: Final = f"metered with {NOISE:.0%} noise"


def measure_wrong_distances(
    pipeline: Any,
    test: pd.DataFrame,
    predicted: npt.ArrayLike,
    predicted_usual: npt.ArrayLike,
    seed: int = 0,
) -> list[DistanceError]:
    """Measure the RMSE and the coverage of a pipeline when test trips state wrong distances.

    A wrong distance that no model uses (see ``requests.parse.states_distance``) counts as left out,
    as in the service.

    Args:
        test: Test trips: request columns and ``duration_minutes``, shape (n, …).
        predicted: The pipeline's predictions with the metered distances, minutes, shape (n,).
        predicted_usual: Its predictions without distances, minutes, shape (n,).
        seed: Seed of the noise, which is log-normal with a median factor of 1.

    Returns:
        The errors with the metered distance, with wrong ones and without one, on the same trips: at
        most ``MAX_TRIPS``.
    """
    step = max(1, -(-len(test) // MAX_TRIPS))
    trips = test.iloc[::step]
    miles = trips["trip_distance"].to_numpy(dtype=np.float64)
    noise = np.random.default_rng(seed).normal(0, NOISE, len(trips))
    wrong = {name: miles * factor for name, factor in FACTORS.items()}
    wrong[_NOISY] = miles * np.exp(noise)
    requests = {
        METERED: trips,
        **{name: trips.assign(trip_distance=stated) for name, stated in wrong.items()},
        LEFT_OUT: without_distance(trips),
    }
    minutes = {
        METERED: np.asarray(predicted)[::step],
        LEFT_OUT: np.asarray(predicted_usual)[::step],
    }
    errors = []
    for name, requested in requests.items():
        found = minutes[name] if name in minutes else predict_trips(pipeline, requested)
        interval = measure_intervals(pipeline, requested, found)
        errors.append(
            DistanceError(
                distance=name,
                rmse=root_mean_squared_error(trips[TARGET.name].to_numpy(), found),
                coverage=None if interval is None else interval.coverage,
                rows=len(trips),
            )
        )
    return errors
