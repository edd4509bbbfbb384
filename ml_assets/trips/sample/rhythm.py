"""Demand and congestion over time: hours, weekends, holidays, seasons, slow drift.

The tables were estimated from the published green months January to September 2023; the seasonal
values of the other three months are assumptions.
"""

from datetime import date, timedelta

import numpy as np

from ml_assets.trips.month import Month
from ml_assets.trips.sample.draws import Booleans, Draws, Floats, Integers

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
