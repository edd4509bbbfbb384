"""Predicting the trips of a whole month in bounded memory."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.trips.rules import REQUEST_COLUMNS

ROWS_AT_ONCE = 250_000
"""Half a kilobyte a row is needed on the way, 2 GB for a month of yellow trips in one piece."""


def predict_trips(pipeline: Any, trips: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Predicted minutes of trips, shape (n,), piece by piece: no row knows of another.

    Args:
        pipeline: Fitted, from the columns of requests to minutes.
        trips: With ``REQUEST_COLUMNS``; further columns are left aside.
    """
    requests = list(REQUEST_COLUMNS)
    pieces = [
        pipeline.predict(trips.iloc[first : first + ROWS_AT_ONCE][requests])
        for first in range(0, len(trips), ROWS_AT_ONCE)
    ]
    return np.concatenate(pieces) if pieces else np.empty(0)
