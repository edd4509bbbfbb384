"""The rides of a month: when and between which zones, how far, and how long."""

from dataclasses import dataclass

import numpy as np

from ml_assets.trips.month import Month
from ml_assets.trips.sample.city import (
    HOURLY_PACE,
    HOURLY_TRIPS,
    ZONES,
    City,
    city_pace,
    clock_change,
    daily_pace,
    daily_trips,
    slow_wave,
    weekdays,
)
from ml_assets.trips.sample.draws import Booleans, Draws, Floats, Integers
from ml_assets.trips.zones import LAGUARDIA_AIRPORT_ZONE, OUTSIDE_ZONE, UNKNOWN_ZONE

DAY = 86_400
HOUR = 3_600
_SATURDAY = 5
# Share of dispatched trips, not hailed on the street: 6.3 to 7.9 % in published files (green,
# 2023), where they are the rows without passenger count at the end of the file.
_DISPATCHED_SHARE = {"green": 0.070, "yellow": 0.035}
# Shares of trips to or from outside the city, and of trips with unknown zones.
_TO_OUTSIDE, _TO_OUTSIDE_DISPATCHED, _FROM_OUTSIDE = 0.0039, 0.0080, 0.0009
_TO_UNKNOWN, _FROM_UNKNOWN = 0.0012, 0.0005
_MORNING, _DAYTIME, _AFTERNOON, _DISPATCH = range(4)

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


@dataclass
class Trips:
    """Trips by column, each of shape (trips,); times in seconds of wall time."""

    pickup: Integers
    """Seconds since the start of the month."""
    pickup_zone: Integers
    dropoff_zone: Integers
    dispatched: Booleans

    @property
    def day(self) -> Integers:
        """Day of the month, from 0."""
        return self.pickup // DAY

    @property
    def hour(self) -> Integers:
        """Hour of the day, 0 to 23."""
        return self.pickup % DAY // HOUR


def draw_trips(month: Month, taxi: str, city: City, count: int) -> Trips:
    """Draw ``count`` trips of a month, in no order."""
    draws = Draws("demand", month.year, month.number, taxi)
    dispatched = draws.chance(count, _DISPATCHED_SHARE[taxi])
    pickup = _draw_pickup_times(month, dispatched, draws)
    trips = Trips(pickup, np.zeros_like(pickup), np.zeros_like(pickup), dispatched)
    origin = draws.pick(_pickup_weights(month, city), trips.hour + 24 * dispatched)
    kind = _dropoff_kind(trips)
    zones = len(city.attraction)
    destination = draws.pick(_dropoff_weights(month, city), kind * zones + origin)
    trips.pickup_zone = origin + 1
    trips.dropoff_zone = destination + 1
    _send_out_of_town(trips, draws)
    return trips


def _draw_pickup_times(month: Month, dispatched: Booleans, draws: Draws) -> Integers:
    count = len(dispatched)
    day_weights = daily_trips(month, draws)
    day = draws.choose(np.arange(len(day_weights)), day_weights, count)
    weekend = weekdays(month)[day] >= _SATURDAY
    table = np.where(dispatched, 2, weekend.astype(np.int64))
    hour = draws.pick(HOURLY_TRIPS, table)
    second = np.floor(draws.uniform(count) * HOUR).astype(np.int64)
    change = clock_change(month)
    if change is not None and change[1] > 0:
        # The hour from 2 to 3 does not exist on that day.
        hour = np.where((day == change[0].day - 1) & (hour == 2), 3, hour)
    return day * DAY + hour * HOUR + second


def _pickup_weights(month: Month, city: City) -> Floats:
    """Tables (48, zones): by hour, first of hailed, then of dispatched trips, which vary more."""
    hours = np.arange(24)
    morning = np.clip((12.5 - hours) / 9.0, -0.5, 0.5) * (hours >= 5)
    night = ((hours >= 22) | (hours <= 5)).astype(np.float64)
    lean = np.outer(morning, city.morning_lean) + np.outer(night, city.night_lean)
    drift = np.exp(0.16 * slow_wave(month, 48.0, city.phase))
    hailed = city.pickups * drift * np.exp(lean)
    return np.vstack([hailed, hailed**0.75])


def _dropoff_kind(trips: Trips) -> Integers:
    """Index of the drop-off table of each trip."""
    hour = trips.hour
    kind = np.where(hour < 5, _DAYTIME, np.where(hour < 12, _MORNING, _DAYTIME))
    kind = np.where((hour >= 15) & (hour < 20), _AFTERNOON, kind)
    return np.where(trips.dispatched, _DISPATCH, kind)


def _dropoff_weights(month: Month, city: City) -> Floats:
    """Tables (4 kinds x pick-up zones, drop-off zones) of a gravity model with pair affinities.

    The decay with distance and the preference for the same borough fit the published pairs best
    among those tried: (miles + 1) to the power -1.5, 5 miles, factor 3.
    """
    affinity = city.affinity + 0.35 * slow_wave(month, 36.0, city.pair_phase)
    near = (city.straight_miles + 1.0) ** -1.5 * np.exp(-city.straight_miles / 5.0)
    far = (city.straight_miles + 1.0) ** -0.9 * np.exp(-city.straight_miles / 12.0)
    loyal = np.where(city.borough[:, None] == city.borough, 3.0, 1.0)
    airports = np.where(city.airport, 0.35 * slow_wave(month, 96.0), 0.0)
    pull = city.attraction * np.exp(airports)
    base = pull * loyal * np.exp(affinity)
    np.fill_diagonal(base, np.diagonal(base) * 0.28)
    lean = np.exp(0.5 * city.dropoff_morning_lean)
    return np.vstack([base * near * lean, base * near, base * near / lean, base * far])


def _send_out_of_town(trips: Trips, draws: Draws) -> None:
    """Move one end of some trips outside the city (265) or to the unknown zone (264)."""
    count = len(trips.pickup)
    outside = np.where(trips.dispatched, _TO_OUTSIDE_DISPATCHED, _TO_OUTSIDE)
    trips.dropoff_zone[draws.chance(count, outside)] = OUTSIDE_ZONE
    trips.pickup_zone[draws.chance(count, _FROM_OUTSIDE)] = OUTSIDE_ZONE
    hailed = ~trips.dispatched
    trips.dropoff_zone[draws.chance(count, _TO_UNKNOWN) & hailed] = UNKNOWN_ZONE
    nowhere = draws.chance(count, _FROM_UNKNOWN) & hailed
    trips.pickup_zone[nowhere] = UNKNOWN_ZONE
    trips.dropoff_zone[nowhere] = UNKNOWN_ZONE


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
