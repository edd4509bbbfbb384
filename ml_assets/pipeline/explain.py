"""Explanations: the contribution of each request field to a prediction, as Shapley values.

Exact interventional Shapley values (Štrumbelj & Kononenko 2014, "Explaining prediction models and
individual predictions with feature contributions"; Lundberg & Lee 2017, "A unified approach to
interpreting model predictions") of six players: the value of a coalition is the mean prediction for
the background sample with the coalition's fields set to those of the request. Six players have 64
coalitions, few enough to evaluate all of them in one prediction of any family.

Needs NumPy only, since the prediction service loads it.
"""

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml_assets.pipeline.background_sample import get_background_sample
from ml_assets.requests.parse import states_distance

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from ml_assets.pipeline.features import RequestColumns

PLAYERS = {
    "pickup_zone": "Zone where the trip begins.",
    "dropoff_zone": "Zone where the trip ends.",
    "trip_distance": "Stated miles; 0 when left out.",
    "time_of_day": "Time of the pick-up.",
    "day": "Date of the pick-up.",
    "passenger_count": "Number of passengers.",
}
"""The parts of a request with a contribution, each with a sentence that the API's reference shows;
the time and the date are both of ``pickup_datetime``."""

_COALITIONS = 1 << len(PLAYERS)
_IN_COALITION = np.arange(_COALITIONS)[:, None] >> np.arange(len(PLAYERS)) & 1 == 1
"""Whether each player (column) is in each coalition (row, numbered by its bits)."""


def _shapley_weights() -> npt.NDArray[np.float64]:
    """Return the weight of each coalition's value for each player, (players, coalitions)."""
    players = len(PLAYERS)
    sizes = _IN_COALITION.sum(axis=1)
    others = np.where(_IN_COALITION, sizes[:, None] - 1, sizes[:, None])
    share = np.array([1 / (players * comb(players - 1, size)) for size in range(players)])
    weights: npt.NDArray[np.float64] = np.where(_IN_COALITION, share[others], -share[others]).T
    return weights


_WEIGHTS = _shapley_weights()


@dataclass(frozen=True)
class Explanation:
    """The contributions to a prediction.

    Attributes:
        baseline_minutes: Mean prediction for the background sample (SHAP's base value).
        contributions: Minutes that each of ``PLAYERS`` adds; with ``baseline_minutes`` they sum up
            to the prediction, up to floating-point rounding.
    """

    baseline_minutes: float
    contributions: dict[str, float]


def explain(pipeline: "Pipeline", request: "RequestColumns") -> Explanation | None:
    """Explain the prediction for one request; None for a pipeline without a background sample.

    A request without a distance is compared with background requests without one, so that the
    distance contributes nothing, and its effect is that of the zones.

    Raises:
        ValueError: The columns do not have exactly one row.
    """
    background = get_background_sample(pipeline)
    if background is None:
        return None
    rows = len(request["pickup_datetime"])
    if rows != 1:
        raise ValueError(
            f"an explanation is of one request, not of {rows}: explain each separately"
        )
    others = background.columns
    if not states_distance(request["trip_distance"]).any():
        nothing = np.full(len(others["trip_distance"]), np.nan)
        request = {**request, "trip_distance": np.array([np.nan])}
        others = {**others, "trip_distance": nothing}
    mixed, row_of = _coalitions(request, others)
    values = pipeline.predict(mixed)[row_of].mean(axis=1)
    contributions = _WEIGHTS @ values
    return Explanation(float(values[0]), dict(zip(PLAYERS, contributions.tolist(), strict=True)))


def _coalitions(
    request: "RequestColumns", background: "RequestColumns"
) -> tuple["RequestColumns", npt.NDArray[np.intp]]:
    """Replace the fields of each coalition in the background sample.

    A field that has the value of the request already makes half of the rows equal to others, and
    many have: the number of passengers, or a distance that is left out.

    Returns:
        The different rows; and the row of each coalition (first axis) and background request.
    """
    own, others = _players(request), _players(background)
    differs = np.stack([_differs(own[name], others[name]) for name in PLAYERS], axis=1)
    replaced = _IN_COALITION[:, None, :] & differs
    bits = replaced @ (1 << np.arange(len(PLAYERS)))
    numbers = bits + _COALITIONS * np.arange(len(differs))
    _, first, row_of = np.unique(numbers, return_index=True, return_inverse=True)
    coalition, at = np.unravel_index(first, numbers.shape)
    mixed = {
        name: np.where(_IN_COALITION[coalition, player], own[name], others[name][at])
        for player, name in enumerate(PLAYERS)
    }
    columns = {
        "PULocationID": mixed["pickup_zone"],
        "DOLocationID": mixed["dropoff_zone"],
        "trip_distance": mixed["trip_distance"],
        "pickup_datetime": mixed["day"] + mixed["time_of_day"],
        "passenger_count": mixed["passenger_count"],
    }
    return columns, row_of.reshape(numbers.shape)


def _differs(own: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether each value is another than the request's; missing ones are equal."""
    missing = np.isnat if own.dtype.kind in "mM" else np.isnan
    differs: npt.NDArray[np.bool_] = (own != others) & ~(missing(own) & missing(others))
    return differs


def _players(columns: "RequestColumns") -> dict[str, npt.NDArray[Any]]:
    """Return the columns by player."""
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
