"""Distance and duration of trips."""

import numpy as np

from ml_assets.trips.month import Month
from ml_assets.trips.sample.city import ZONES, City
from ml_assets.trips.sample.demand import DAY, HOUR, Trips
from ml_assets.trips.sample.draws import Draws, Floats, Integers
from ml_assets.trips.sample.rhythm import (
    HOURLY_PACE,
    city_pace,
    clock_change,
    daily_pace,
    slow_wave,
    weekdays,
)
from ml_assets.trips.zones import LAGUARDIA_AIRPORT_ZONE

# Median minutes by driven miles in an average hour (published green trips, 2023).
_MILES = np.array([0.05, 0.20, 0.43, 0.69, 1.01, 1.55, 2.43, 3.73, 6.29, 9.51, 14.3, 23.6, 40.0])
_MINUTES = np.array([0.9, 2.00, 3.10, 4.50, 6.40, 9.30, 13.5, 18.0, 23.1, 29.3, 38.0, 52.0, 75.0])
# Log of minutes relative to that median, by borough of pick-up; and amplitude of rush hours there.
_BOROUGH_PACE = {"Brooklyn": 0.14, "Bronx": 0.03, "Queens": -0.02, "Manhattan": -0.02}
_RUSH_AMPLITUDE = {"Manhattan": 1.15, "Bronx": 1.2, "Queens": 0.75, "Brooklyn": 1.1}
_TO_LAGUARDIA, _AIRPORT_PACE = -0.22, -0.10
_MIDTOWN_DAYTIME = 0.09
_CONGESTION_PRICING = Month(2025, 1)
_OUTSIDE_MILES = 12.5  # median of trips to zone 265


def drive_miles(month: Month, taxi: str, city: City, trips: Trips) -> Floats:
    """Draw the miles driven, to a hundredth: road distance of the zones, with detours."""
    draws = Draws("miles", month.year, month.number, taxi)
    count = len(trips.pickup)
    origin, destination = _known(trips.pickup_zone), _known(trips.dropoff_zone)
    same = origin == destination
    noise = draws.heavy_tailed(count, core=0.17, tail=0.52, tail_share=0.22)
    wandering = draws.heavy_tailed(count, core=0.45, tail=1.0, tail_share=0.30)
    miles = city.miles[origin, destination] * np.exp(np.where(same, wandering, noise))
    leaving = np.maximum(trips.pickup_zone, trips.dropoff_zone) > ZONES
    far = _OUTSIDE_MILES * np.exp(0.65 * draws.normal(count))
    return np.round(np.clip(np.where(leaving, far, miles), 0.01, 60.0), 2)


def drive_seconds(month: Month, taxi: str, city: City, trips: Trips, miles: Floats) -> Integers:
    """Draw the seconds from pick-up to drop-off: distance, hour, zones, day, season and noise."""
    draws = Draws("minutes", month.year, month.number, taxi)
    count = len(miles)
    pace = _street_pace(month, city, trips) + _place_pace(month, city, trips)
    pace += daily_pace(month, draws)[trips.day] + city_pace(month)
    pace += draws.heavy_tailed(count, core=0.175, tail=0.45, tail_share=0.17)
    log_minutes = np.interp(np.log(miles), np.log(_MILES), np.log(_MINUTES))
    minutes = np.exp(log_minutes + pace)
    waiting = draws.chance(count, 0.009)
    minutes += np.where(waiting, 28.0 * np.exp(0.8 * draws.normal(count)), 0.0)
    moving: Integers = np.round(np.clip(minutes, 0.1, 400.0) * 60.0).astype(np.int64)
    return moving


def wall_seconds(month: Month, trips: Trips, seconds: Integers) -> Integers:
    """Return trips' seconds in wall time: an hour more or less if clocks change meanwhile."""
    change = clock_change(month)
    if change is None:
        return seconds
    moment = (change[0].day - 1) * DAY + 2 * HOUR
    crosses = (trips.pickup < moment) & (trips.pickup + seconds >= moment)
    wall = seconds.copy()
    wall[crosses] += change[1] * 60
    return wall


def _street_pace(month: Month, city: City, trips: Trips) -> Floats:
    """Effect of rush hours: stronger in some boroughs, and all day in Manhattan's core."""
    origin, destination = _known(trips.pickup_zone), _known(trips.dropoff_zone)
    weekend = weekdays(month)[trips.day] >= 5
    amplitude = _by_borough(city, _RUSH_AMPLITUDE, 0.7)[origin]
    pace: Floats = amplitude * HOURLY_PACE[weekend.astype(np.int64), trips.hour]
    core = city.below_60th[origin] | city.below_60th[destination]
    busy = ~weekend & (trips.hour >= 8) & (trips.hour < 19)
    pace += np.where(core & busy, _MIDTOWN_DAYTIME, 0.0)
    if month >= _CONGESTION_PRICING:
        pace += np.where(core, -0.05, 0.0)
    return pace


def _place_pace(month: Month, city: City, trips: Trips) -> Floats:
    """Effect of zones and pairs, which can only be learned from past trips; it drifts slowly."""
    origin, destination = _known(trips.pickup_zone), _known(trips.dropoff_zone)
    drift = 0.07 * slow_wave(month, 44.0, city.phase)
    pace: Floats = (city.pickup_pace + drift)[origin] + (city.dropoff_pace + drift[::-1])[
        destination
    ]
    pace += city.pair_pace[origin, destination]
    pace += _by_borough(city, _BOROUGH_PACE, 0.0)[origin]
    airport = city.airport[origin] | city.airport[destination]
    laguardia = trips.dropoff_zone == LAGUARDIA_AIRPORT_ZONE
    pace += np.where(laguardia, _TO_LAGUARDIA, np.where(airport, _AIRPORT_PACE, 0.0))
    return pace


def _by_borough(city: City, values: dict[str, float], otherwise: float) -> Floats:
    return np.array([values.get(str(name), otherwise) for name in city.borough])


def _known(zone: Integers) -> Integers:
    """Return the index of a zone; zones beyond the map use that of the last zone on it."""
    index: Integers = np.minimum(zone, ZONES) - 1
    return index
