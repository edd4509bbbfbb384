"""Fingerprint of a model: its predictions for a few fixed requests."""

import pandas as pd
from sklearn.pipeline import Pipeline

from ml_assets.trips.request_columns import REQUEST_COLUMNS

PREDICTION_TOLERANCE = 1e-6
"""Minutes within which predictions count as equal: forests may add up their trees in any order."""

_REQUESTS = (
    # pick-up zone, drop-off zone, miles, when, passengers
    (74, 75, 1.2, "2023-03-06 08:30:00", 1.0),
    (75, 138, 7.9, "2023-03-10 17:45:00", 2.0),
    (41, 42, 0.9, "2023-03-12 02:15:00", None),
    (97, 132, 14.6, "2023-07-04 12:00:00", 4.0),
    (166, 264, 0.0, "2023-11-23 23:59:00", 1.0),
    (244, 116, 2.3, "2024-02-29 06:05:00", 1.0),
)


def probe_requests() -> pd.DataFrame:
    """Return the requests: weekdays, a holiday, an airport, an unknown zone, missing values."""
    frame = pd.DataFrame(list(_REQUESTS), columns=list(REQUEST_COLUMNS))
    frame["pickup_datetime"] = pd.to_datetime(frame["pickup_datetime"]).astype("datetime64[us]")
    return frame


def probe_predictions(pipeline: Pipeline) -> list[float]:
    """Return a pipeline's predictions for the probe requests, minutes."""
    return [float(minutes) for minutes in pipeline.predict(probe_requests())]


def predictions_match(before: list[float], now: list[float]) -> bool:
    """Whether both are predictions of the same model and code."""
    return len(before) == len(now) and all(
        abs(one - other) <= PREDICTION_TOLERANCE for one, other in zip(before, now, strict=True)
    )
