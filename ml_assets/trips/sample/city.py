"""The sample's city: its zones with their demand and travel speeds, and how both vary over time.

``zone_profile.csv`` holds, for each of the 263 zones,

- ``x_miles``, ``y_miles``: coordinates (east and north of midtown), fitted so that 1.4 times the
  straight line matches the median metered distance of each pair of zones;
- ``green_pickups``, ``yellow_pickups``: pick-ups per thousand;
- ``attraction``: weight of drop-offs in a gravity model;
- the leans: log ratio of the zone's morning (6 to 10) to afternoon (15 to 19) trips, and of its
  night (22 to 5) to day trips, each relative to the city's.

All but ``yellow_pickups`` were estimated from the published green months January to September 2023
(public records of the Taxi and Limousine Commission); ``yellow_pickups`` is set manually from the
shares of 2023. Further effects of zones and pairs are drawn from the seed. The tables of hours,
weekdays and months are of the same green months; the seasonal values of the other three months are
assumptions.
"""

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib import resources

import numpy as np

from ml_assets.trips.month import Month
from ml_assets.trips.sample.draws import Booleans, Draws, Floats, Integers
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
# Trips per thousand by hour: weekdays, weekends, and dispatched trips.
HOURLY_TRIPS = np.array(
    [
        [14, 9, 5, 4, 4, 5, 17, 43, 55, 57, 55, 53, 53, 53, 62, 69, 76, 80, 81, 63, 47, 40, 32, 24],
        [34, 26, 21, 16, 11, 7, 10, 16, 24, 33, 44, 55, 61, 60, 66, 70, 69, 69, 72, 61, 53, 47, 40]
        + [34],
        [21, 12, 9, 8, 11, 12, 24, 45, 72, 80, 71, 69, 69, 66, 63, 58, 54, 62, 53, 37, 28, 26, 27]
        + [23],
    ],
    dtype=np.float64,
)
# Log of minutes per mile relative to the average hour: weekdays, weekends.
HOURLY_PACE = np.array(
    [
        [-0.20, -0.19, -0.17, -0.17, -0.21, -0.28, -0.21, -0.05, 0.07, 0.03, 0.03, 0.06]
        + [0.05, 0.06, 0.13, 0.15, 0.13, 0.10, 0.03, -0.05, -0.09, -0.12, -0.14, -0.16],
        [-0.12, -0.14, -0.14, -0.15, -0.17, -0.26, -0.30, -0.31, -0.26, -0.19, -0.14, -0.09]
        + [-0.04, 0.00, 0.02, 0.04, 0.04, 0.03, 0.00, -0.02, -0.04, -0.08, -0.10, -0.12],
    ]
)
_WEEKDAY_TRIPS = np.array([0.95, 1.00, 1.06, 1.09, 1.07, 0.90, 0.79])
_MONTH_TRIPS = np.array([1.00, 1.05, 1.05, 1.00, 1.01, 1.00, 0.91, 0.90, 1.00, 1.03, 0.99, 0.96])
_MONTH_PACE = np.array([-20, -16, 0, 2, 20, 14, -18, -20, 38, 30, 18, 14]) / 1000
_DAILY_TRIPS = {"green": 310.0, "yellow": 400.0}
_HOLIDAY_TRIPS = 0.66
_HOLIDAY_PACE = -0.14
_WEATHER_PACE = 0.05


def months_since_2023(month: Month) -> int:
    """Return the number of months since January 2023, on which all drift depends."""
    return (month.year - 2023) * 12 + month.number - 1


def slow_wave(month: Month, period_months: float, phase: float | Floats = 0.0) -> Floats:
    """A sine wave between -1 and 1: permanent but bounded drift."""
    return np.sin(2.0 * np.pi * months_since_2023(month) / period_months + phase)


def city_pace(month: Month) -> float:
    """Log minutes per mile, citywide: season, and congestion, which rises by 5 % a year in 2023."""
    return float(_MONTH_PACE[month.number - 1] + 0.06 * slow_wave(month, 84.0))


def expected_trips(month: Month, taxi: str) -> float:
    """Expected number of trips of a month, by season and slow drift of demand."""
    days = (month.end - month.start).days
    trend = 1.0 + 0.04 * slow_wave(month, 72.0, 1.0)
    return float(_DAILY_TRIPS[taxi] * days * _MONTH_TRIPS[month.number - 1] * trend)


def daily_trips(month: Month, draws: Draws) -> Floats:
    """Relative demand of each day: weekday, holiday, and noise."""
    holiday = holidays(month)
    weights = _WEEKDAY_TRIPS[weekdays(month)] * np.where(holiday, _HOLIDAY_TRIPS, 1.0)
    return weights * np.exp(0.06 * draws.normal(len(weights)))


def daily_pace(month: Month, draws: Draws) -> Floats:
    """Log minutes per mile of each day relative to the average: weather and holidays."""
    holiday = holidays(month)
    return _WEATHER_PACE * draws.normal(len(holiday)) + np.where(holiday, _HOLIDAY_PACE, 0.0)


def weekdays(month: Month) -> Integers:
    """Weekday of each day of the month, 0 for Monday to 6 for Sunday."""
    days = (month.end - month.start).days
    return (np.arange(days) + month.start.weekday()) % 7


def holidays(month: Month) -> Booleans:
    """Mark the days of the month that are federal holidays with little traffic."""
    days = (month.end - month.start).days
    fixed = {(1, 1), (7, 4), (12, 25)}
    closed = np.array([(month.number, day + 1) in fixed for day in range(days)])
    floating = {1: (0, 3), 2: (0, 3), 5: (0, -1), 9: (0, 1), 11: (3, 4)}
    if month.number in floating:
        closed[_nth_weekday(month, *floating[month.number]).day - 1] = True
    return closed


def clock_change(month: Month) -> tuple[date, int] | None:
    """Return the day on which clocks change at 2 am, and the change of wall time in minutes.

    Trips in progress then are an hour too long or too short, as in the published files.
    """
    if month.number == 3:
        return _nth_weekday(month, 6, 2), 60
    if month.number == 11:
        return _nth_weekday(month, 6, 1), -60
    return None


def _nth_weekday(month: Month, weekday: int, nth: int) -> date:
    """Return the nth such weekday of the month; -1 is the last."""
    if nth < 0:
        last = (month.end - timedelta(days=1)).date()
        return last - timedelta(days=(last.weekday() - weekday) % 7)
    first = month.start.date()
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


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
