"""Why so many minutes: how much each thing that a request states adds to a typical ride.

Exact Shapley values (Štrumbelj & Kononenko 2014, "Explaining prediction models and individual
predictions with feature contributions"; Lundberg & Lee 2017, "A unified approach to interpreting
model predictions") of six players, interventional: a coalition's worth is the mean prediction for
the typical requests with the coalition's fields set to those of the request. Six players have 64
coalitions, few enough to ask them all, in one prediction, of any family.

Needs NumPy only, since the prediction service loads it.
"""

from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from ml_assets.pipeline.background_sample import get_background_sample
from ml_assets.pipeline.features import RequestColumns
from ml_assets.pipeline.zone_map import ZoneMap
from ml_assets.trips.rules import FIRST_ZONE, LAST_ZONE, ZONE_CODES

PLAYERS = (
    "pickup_zone",
    "dropoff_zone",
    "trip_distance",
    "time_of_day",
    "day",
    "passenger_count",
)
"""What an explanation tells apart: the clock and the calendar date are one field of a request."""

_COALITIONS = 1 << len(PLAYERS)
_IN_COALITION = np.arange(_COALITIONS)[:, None] >> np.arange(len(PLAYERS)) & 1 == 1
"""Whether each player (column) is in each coalition (row, numbered by its bits)."""


def _shapley_weights() -> npt.NDArray[np.float64]:
    """What each coalition's worth counts for in each player's value, (players, coalitions)."""
    players = len(PLAYERS)
    sizes = _IN_COALITION.sum(axis=1)
    others = np.where(_IN_COALITION, sizes[:, None] - 1, sizes[:, None])
    share = np.array([1 / (players * comb(players - 1, size)) for size in range(players)])
    weights: npt.NDArray[np.float64] = np.where(_IN_COALITION, share[others], -share[others]).T
    return weights


_WEIGHTS = _shapley_weights()


@dataclass(frozen=True)
class Explanation:
    """A prediction taken apart.

    Attributes:
        typical_minutes: Mean prediction for the typical requests.
        contributions: Minutes that each of ``PLAYERS`` adds; with the typical minutes they sum up
            to the prediction, but for the rounding of doubles.
    """

    typical_minutes: float
    contributions: dict[str, float]


def explain(pipeline: Pipeline, request: RequestColumns) -> Explanation | None:
    """Explain the prediction for one request.

    Args:
        pipeline: Fitted.
        request: Columns of one row.

    Returns:
        None for a pipeline without typical requests, as models registered before there were any.

    Raises:
        ValueError: when the columns have more than one row, or none.
    """
    typical = get_background_sample(pipeline)
    if typical is None:
        return None
    rows = len(request["pickup_datetime"])
    if rows != 1:
        raise ValueError(f"an explanation is of one request, not of {rows}: ask for each by itself")
    minutes = pipeline.predict(_coalitions(request, typical.columns))
    worth = minutes.reshape(_COALITIONS, -1).mean(axis=1)
    values = _WEIGHTS @ worth
    return Explanation(float(worth[0]), dict(zip(PLAYERS, values.tolist(), strict=True)))


def expected_miles(pipeline: Any, pickup_zone: int, dropoff_zone: int) -> float | None:
    """How far trips between two zones usually go, by the map that a pipeline has learned.

    Args:
        pipeline: Fitted, of any family.
        pickup_zone: 1 to 265.
        dropoff_zone: Likewise.

    Returns:
        Miles; None when a zone is none of these, or the pipeline has no map.
    """
    zones = range(FIRST_ZONE, LAST_ZONE + 1)
    zone_map = _zone_map(pipeline)
    if zone_map is None or pickup_zone not in zones or dropoff_zone not in zones:
        return None
    return float(np.exp(zone_map.usual_log_miles[pickup_zone * ZONE_CODES + dropoff_zone]))


def _zone_map(pipeline: Any) -> ZoneMap | None:
    """Of either encoder; a pipeline of others has none."""
    encoder = pipeline[-2]
    tables = getattr(encoder, "tables_", None)
    found: ZoneMap | None = (
        getattr(encoder, "zone_map_", None) if tables is None else tables.zone_map
    )
    return found


def _coalitions(request: RequestColumns, typical: RequestColumns) -> RequestColumns:
    """Each typical request under each coalition, coalition by coalition."""
    asked, others = _players(request), _players(typical)
    mixed = {
        name: np.where(_IN_COALITION[:, [at]], asked[name], others[name]).ravel()
        for at, name in enumerate(PLAYERS)
    }
    return {
        "PULocationID": mixed["pickup_zone"],
        "DOLocationID": mixed["dropoff_zone"],
        "trip_distance": mixed["trip_distance"],
        "pickup_datetime": mixed["day"] + mixed["time_of_day"],
        "passenger_count": mixed["passenger_count"],
    }


def _players(columns: RequestColumns) -> dict[str, npt.NDArray[Any]]:
    """The columns by player."""
    time = columns["pickup_datetime"].astype("datetime64[us]")
    day = time.astype("datetime64[D]")
    return {
        "pickup_zone": columns["PULocationID"],
        "dropoff_zone": columns["DOLocationID"],
        "trip_distance": columns["trip_distance"],
        "time_of_day": time - day,
        "day": day,
        "passenger_count": columns["passenger_count"],
    }
