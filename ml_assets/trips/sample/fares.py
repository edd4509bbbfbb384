"""Fares: meter, surcharges, tolls and tips, as the columns of amounts in dollars.

Tariffs are those of the Taxi and Limousine Commission: initial charge 3.00 and 0.70 per unit since
19 December 2022, 2.50 and 0.50 before; the state's congestion surcharge since February 2019; the
congestion relief zone's charge since January 2025. Units per mile and minute, flat parts and tips
were fitted to the published green months of 2023.
"""

import numpy as np

from ml_assets.trips.month import Month
from ml_assets.trips.sample.city import ZONES, City, weekdays
from ml_assets.trips.sample.data_errors import DataErrors
from ml_assets.trips.sample.draws import Booleans, Draws, Floats, Integers
from ml_assets.trips.sample.rides import Trips
from ml_assets.trips.zones import JFK_AIRPORT_ZONE, LAGUARDIA_AIRPORT_ZONE, NEWARK_AIRPORT_ZONE

CREDIT_CARD, CASH, NO_CHARGE, DISPUTE = 1, 2, 3, 4
STANDARD_RATE, JFK_RATE, NEWARK_RATE, NEGOTIATED_RATE = 1, 2, 3, 5
_TARIFF_OF_2022 = Month(2023, 1)
_CONGESTION_SURCHARGE = Month(2019, 2)
CONGESTION_RELIEF = Month(2025, 1)
_UNITS_A_MILE, _UNITS_A_MINUTE, _UNITS_WAIVED = 3.83, 0.687, 1.0
_LONGEST_BILLED_MILES = 60.0
_LONGEST_BILLED_SECONDS = 7_200

Amounts = dict[str, Floats]


def rate_codes(city: City, trips: Trips, errors: DataErrors) -> Integers:
    """Return ``RatecodeID``: negotiated, flat fare between JFK and Manhattan, Newark, or meter."""
    pickup, dropoff = trips.pickup_zone, trips.dropoff_zone
    manhattan = np.append(city.borough == "Manhattan", [False] * 3)
    flat = (pickup == JFK_AIRPORT_ZONE) & manhattan[dropoff - 1]
    flat |= (dropoff == JFK_AIRPORT_ZONE) & manhattan[pickup - 1]
    code = np.where(flat, JFK_RATE, STANDARD_RATE)
    code = np.where(dropoff == NEWARK_AIRPORT_ZONE, NEWARK_RATE, code)
    return np.where(errors.negotiated, NEGOTIATED_RATE, code)


def payment_types(errors: DataErrors, draws: Draws) -> Integers:
    """Draw ``payment_type``: card, cash, no charge, dispute; refunds have the last two."""
    count = len(errors.miles)
    regular = draws.choose([CREDIT_CARD, CASH, NO_CHARGE, DISPUTE], [655, 338, 5, 1.2], count)
    unpaid = draws.choose([NO_CHARGE, DISPUTE], [74, 26], count)
    return np.where(errors.refunded, unpaid, regular)


def charge(
    month: Month, taxi: str, city: City, trips: Trips, errors: DataErrors
) -> tuple[Amounts, dict[str, Integers]]:
    """Compute the amounts of every trip.

    Returns:
        The columns of amounts in dollars, by published name (``airport_fee`` for yellow only), and
        the codes ``payment_type`` and ``RatecodeID``; arrays of shape (trips,).
    """
    draws = Draws("fares", month.year, month.number, taxi)
    rate = rate_codes(city, trips, errors)
    payment = payment_types(errors, draws)
    metered = rate != NEGOTIATED_RATE
    hailed = ~trips.dispatched
    fare = _fares(month, trips, errors, rate, draws)
    amounts = {
        "fare_amount": fare,
        "extra": np.where(hailed & metered, _extras(month, trips), 0.0),
        "mta_tax": np.where(hailed & metered, 0.5, 0.0),
        "tolls_amount": _tolls(trips, draws),
        "improvement_surcharge": np.full(len(fare), 1.0 if month >= _TARIFF_OF_2022 else 0.3),
        "congestion_surcharge": _area_charge(
            month >= _CONGESTION_SURCHARGE, 2.75 if taxi == "green" else 2.5, city.below_96th, trips
        ),
    }
    if taxi == "yellow":
        pickup_airport = np.isin(trips.pickup_zone, (JFK_AIRPORT_ZONE, LAGUARDIA_AIRPORT_ZONE))
        amounts["airport_fee"] = np.where(pickup_airport & hailed, 1.75, 0.0)
    if month >= CONGESTION_RELIEF:
        amounts["cbd_congestion_fee"] = _area_charge(True, 0.75, city.below_60th, trips)
    tip = _tips(fare, trips.dispatched | (payment == CREDIT_CARD), draws)
    total = sum(amounts.values(), start=tip)
    amounts |= {"tip_amount": tip, "total_amount": np.round(total, 2)}
    if taxi == "yellow":  # in yellow files, an unreported payment has the code 0
        payment = np.where(trips.dispatched, 0, payment)
    return amounts, {"payment_type": payment, "RatecodeID": rate}


def _fares(month: Month, trips: Trips, errors: DataErrors, rate: Integers, draws: Draws) -> Floats:
    """Compute metered, flat and negotiated fares; those of dispatched trips are to the cent."""
    count = len(rate)
    initial, unit = (3.0, 0.7) if month >= _TARIFF_OF_2022 else (2.5, 0.5)
    miles = np.where(errors.miles > _LONGEST_BILLED_MILES, 3.8, errors.miles)
    minutes = np.minimum(errors.seconds, _LONGEST_BILLED_SECONDS) / 60.0
    units = _UNITS_A_MILE * miles + _UNITS_A_MINUTE * np.maximum(minutes, 0.0) - _UNITS_WAIVED
    noise = np.exp(0.05 * draws.normal(count))
    fare = initial + unit * np.floor(np.maximum(units * noise, 0.0))
    fare = np.where(rate == JFK_RATE, initial * 70.0 / 3.0, fare)
    agreed = draws.choose([10, 15, 20, 25, 30, 40, 50], [20, 20, 20, 15, 10, 8, 7], count)
    fare = np.where(rate == NEGOTIATED_RATE, agreed, fare)
    by_app = fare * np.exp(0.12 * draws.normal(count)) + 1.5
    free = draws.chance(count, 0.0013)
    charged = np.where(free, 0.0, np.where(trips.dispatched, by_app, fare))
    return charged.astype(np.float64).round(2)


def _extras(month: Month, trips: Trips) -> Floats:
    """Surcharge from 8 pm to 6 am, and on weekdays from 4 to 8 pm."""
    night, rush = (1.0, 2.5) if month >= _TARIFF_OF_2022 else (0.5, 1.0)
    workday = weekdays(month)[trips.day] < 5
    rushing = workday & (trips.hour >= 16) & (trips.hour < 20)
    nightly = (trips.hour >= 20) | (trips.hour < 6)
    return np.where(rushing, rush, np.where(nightly, night, 0.0))


def _tolls(trips: Trips, draws: Draws) -> Floats:
    """Tolls of bridges and tunnels: frequent on trips to an airport, rare otherwise."""
    airport = np.isin(trips.dropoff_zone, (JFK_AIRPORT_ZONE, LAGUARDIA_AIRPORT_ZONE))
    paid = draws.chance(len(airport), np.where(airport, 0.30, 0.026))
    return np.where(paid, 6.55, 0.0)


def _area_charge(due: bool, amount: float, area: Booleans, trips: Trips) -> Floats:
    """Charge for each trip that begins or ends in an area of the city."""
    inside = np.append(area, [False] * 2)
    last = ZONES + 1
    touches = inside[np.minimum(trips.pickup_zone, last) - 1]
    touches = touches | inside[np.minimum(trips.dropoff_zone, last) - 1]
    return np.where(touches & due, amount, 0.0)


def _tips(fare: Floats, by_card: Booleans, draws: Draws) -> Floats:
    """Draw tips; only those paid by card are recorded."""
    share = np.clip(0.24 * np.exp(0.35 * draws.normal(len(fare))), 0.0, 1.0)
    tips = by_card & draws.chance(len(fare), 0.88)
    return np.where(tips, fare * share, 0.0).astype(np.float64).round(2)
