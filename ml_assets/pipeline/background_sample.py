"""A few typical requests, kept with a fitted pipeline: what an explanation compares a request with.

Systematic sampling of the training rows ordered by what the model predicts for them (Cochran 1977,
"Sampling Techniques", chapter 8): short and long rides are there in their true shares.

Measured on green trips (2023-01 to 03): the mean prediction for 32 such rows is within 0.2 minutes
of the mean for all, and within 1.5 for 32 drawn at random. Contributions to single requests were
those of 1,000 typical ones to 0.4 to 0.9 minutes (pick-up, drop-off, miles, time of day), to 0.2
(day) and to 0.04 (passengers); four times as many rows would halve that, and take four times as
long.

Needs NumPy only, since the prediction service loads it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from ml_assets.pipeline.features import RequestColumns
from ml_assets.trips.rules import REQUEST_COLUMNS

COUNT = 32
_MAX_ROWS_ASKED = 5_000


class BackgroundSample:
    """Some training rows as arrays of one length.

    A plain class of arrays, which skops stores with the pipeline and rebuilds by name.

    Args:
        PULocationID: Pick-up zones.
        DOLocationID: Drop-off zones.
        trip_distance: Miles.
        pickup_datetime: ``datetime64[us]`` on the wall clock of New York.
        passenger_count: NaN where unknown.
    """

    def __init__(
        self,
        PULocationID: npt.NDArray[np.float64],
        DOLocationID: npt.NDArray[np.float64],
        trip_distance: npt.NDArray[np.float64],
        pickup_datetime: npt.NDArray[np.datetime64],
        passenger_count: npt.NDArray[np.float64],
    ) -> None:
        self.PULocationID = PULocationID
        self.DOLocationID = DOLocationID
        self.trip_distance = trip_distance
        self.pickup_datetime = pickup_datetime
        self.passenger_count = passenger_count

    @property
    def columns(self) -> RequestColumns:
        """The rows as a pipeline takes them."""
        return {name: getattr(self, name) for name in REQUEST_COLUMNS}


def draw_background_sample(
    pipeline: Pipeline, trips: pd.DataFrame, count: int = COUNT
) -> BackgroundSample:
    """Choose among the trips that a pipeline was fitted on.

    Args:
        pipeline: Fitted.
        trips: The request columns, at least one row; further columns are left aside.
        count: How many; all of them when there are fewer.
    """
    some = trips.iloc[:: -(-len(trips) // _MAX_ROWS_ASKED)]
    columns = {
        name: some[name].to_numpy(
            dtype="datetime64[us]" if name == "pickup_datetime" else np.float64
        )
        for name in REQUEST_COLUMNS
    }
    # Equal predictions stay in the order of the trips, so the same fit chooses the same rows.
    ordered = np.argsort(pipeline.predict(some[list(REQUEST_COLUMNS)]), kind="stable")
    count = min(count, len(ordered))
    middles = (2 * np.arange(count) + 1) * len(ordered) // (2 * count)
    chosen = ordered[middles]
    return BackgroundSample(**{name: column[chosen] for name, column in columns.items()})


def get_background_sample(pipeline: Any) -> BackgroundSample | None:
    """Those that a pipeline keeps in its last step; None when it keeps none.

    Models that were registered before there were any have none, nor has a clone.
    """
    found: BackgroundSample | None = getattr(pipeline[-1], "background_sample_", None)
    return found


def attach_background_sample(pipeline: Pipeline, trips: pd.DataFrame) -> None:
    """Keep some of the trips that a pipeline was fitted on in its last step, to be stored with it.

    Args:
        pipeline: Fitted; its last step is a ``BoundedRegressor``.
        trips: As ``draw_background_sample`` takes them.
    """
    pipeline[-1].background_sample_ = draw_background_sample(pipeline, trips)
