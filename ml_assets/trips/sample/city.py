"""The sample's city: location of the zones, their demand, and their travel speeds.

``zone_profile.csv`` holds, for each of the 263 zones,

- ``x_miles``, ``y_miles``: coordinates (east and north of midtown), fitted so that 1.4 times the
  straight line matches the median metered distance of each pair of zones;
- ``green_pickups``, ``yellow_pickups``: pick-ups per thousand;
- ``attraction``: weight of drop-offs in a gravity model;
- the leans: log ratio of the zone's morning (6 to 10) to afternoon (15 to 19) trips, and of its
  night (22 to 5) to day trips, each relative to the city's.

All but ``yellow_pickups`` were estimated from the published green months January to September 2023
(public records of the Taxi and Limousine Commission); ``yellow_pickups`` is set manually from the
shares of 2023. Further effects of zones and pairs are drawn from the seed.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from ml_assets.trips.sample.draws import Booleans, Draws, Floats
from ml_assets.trips.zones import AIRPORT_ZONES, borough_by_location

ZONES = 263
# The fitted factor is 1.41; less here, since long detours are more frequent than short cuts.
_ROAD_OVER_STRAIGHT = 1.36
_BLUR_MILES = 0.2  # zones are areas: trips between neighbours have a length too
_SAME_ZONE_MILES = 0.86
# Slope of Manhattan's avenues to the east, and the upper limits of its priced areas.
_LEAN = 0.35
_NINETY_SIXTH_STREET = 2.66
_SIXTIETH_STREET = 0.99
# Deviation of log(observed / gravity model) over published pairs with 30 or more expected trips.
_AFFINITY_DEVIATION = 0.74


@dataclass(frozen=True)
class City:
    """Constants of the city: arrays of length 263 by zone (number - 1), or 263 by 263 by pair."""

    miles: Floats
    straight_miles: Floats
    pickups: Floats
    attraction: Floats
    morning_lean: Floats
    night_lean: Floats
    dropoff_morning_lean: Floats
    affinity: Floats
    borough: np.ndarray
    airport: Booleans
    below_96th: Booleans
    below_60th: Booleans
    phase: Floats
    pair_phase: Floats
    pickup_pace: Floats
    dropoff_pace: Floats
    pair_pace: Floats


@cache
def load_city(taxi: str) -> City:
    """Load the city for this taxi (``green`` or ``yellow``)."""
    profile = _read_profile()
    borough = borough_by_location()[1 : ZONES + 1]
    airport = np.isin(np.arange(1, ZONES + 1), AIRPORT_ZONES)
    manhattan = borough == "Manhattan"
    uptown = profile["y_miles"] + _LEAN * profile["x_miles"]
    straight = np.hypot(
        profile["x_miles"][:, None] - profile["x_miles"],
        profile["y_miles"][:, None] - profile["y_miles"],
    )
    draws = Draws("city")
    pairs = (ZONES, ZONES)
    detour = np.exp(0.08 * draws.normal(ZONES * ZONES).reshape(pairs))
    miles = _ROAD_OVER_STRAIGHT * np.hypot(straight, _BLUR_MILES) * detour
    np.fill_diagonal(miles, _SAME_ZONE_MILES * np.exp(0.15 * draws.normal(ZONES)))
    return City(
        miles=miles,
        straight_miles=straight,
        pickups=profile[f"{taxi}_pickups"],
        attraction=_attraction(profile, taxi, airport),
        morning_lean=profile["morning_lean"],
        night_lean=profile["night_lean"],
        dropoff_morning_lean=profile["dropoff_morning_lean"],
        affinity=_AFFINITY_DEVIATION * draws.normal(ZONES * ZONES).reshape(pairs),
        borough=borough,
        airport=airport,
        below_96th=manhattan & (uptown < _NINETY_SIXTH_STREET),
        below_60th=manhattan & (uptown < _SIXTIETH_STREET),
        phase=2.0 * np.pi * draws.uniform(ZONES),
        pair_phase=2.0 * np.pi * draws.uniform(ZONES * ZONES).reshape(pairs),
        pickup_pace=0.07 * draws.normal(ZONES),
        dropoff_pace=0.09 * draws.normal(ZONES),
        pair_pace=0.10 * draws.normal(ZONES * ZONES).reshape(pairs),
    )


def _attraction(profile: dict[str, Floats], taxi: str, airport: Booleans) -> Floats:
    """Drop-off weights: yellow taxis drop off mostly where they pick up, except at airports."""
    if taxi == "green":
        return profile["attraction"]
    leaving = np.where(airport, 0.5, 1.0) * profile["yellow_pickups"]
    return 0.75 * leaving + 0.25 * profile["attraction"]


def _read_profile() -> dict[str, Floats]:
    text = resources.files(__package__).joinpath("zone_profile.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines()))
    values = np.array(rows[1:], dtype=np.float64)
    return dict(zip(rows[0], values.T, strict=True))
