"""What is wrong with published months, in the shares in which it is published.

All shares are those of the nine green files January to September 2023 (592,643 rows); in brackets,
what a reader of a file sees of it:

- meters started and stopped at once (2.7 % of rows last under a minute, 64 % of them 0 miles, 82 %
  in one zone, 21 % in zone 264), half of them with the negotiated rate, code 5;
- no distance on whole trips (3 % of rows last 1 to 60 minutes and have 0 miles), two thirds of them
  from vendor 1;
- meters left on until the next day (0.29 % last more than 1,000 minutes, almost a day as a rule,
  none a full one), vendor 2 only;
- distances beyond all reason (0.07 %, median 10,660 miles, longest 278,990), nearly all on
  dispatched rows;
- pick-ups outside the month (3 to 38 a file): the week before, moments after, and 2008 or 2009;
- refunds (0.28 %): the trip again, just before it, with every amount negative. There are no other
  duplicates: no row equals another in every column.
"""

from dataclasses import dataclass

import numpy as np

from ml_assets.trips.month import Month
from ml_assets.trips.sample.demand import DAY, HOUR, Trips
from ml_assets.trips.sample.draws import Booleans, Draws, Floats, Integers
from ml_assets.trips.zones import UNKNOWN_ZONE

_ABORTED_SHARE = {"green": 0.0285, "yellow": 0.012}
_NO_DISTANCE_SHARE = {"green": 0.030, "yellow": 0.012}
_LEFT_ON_SHARE = 0.0031
_LONG_STOP_SHARE = 0.0010
_ENORMOUS_SHARE, _ENORMOUS_SHARE_HAILED = 0.0100, 0.00002
_REFUND_SHARE = {"green": 0.0028, "yellow": 0.0080}
_NEGOTIATED_SHARE = 0.022
_VENDOR_ONE = {"green": (0.115, 0.029), "yellow": (0.27, 0.05)}
_STRAYS = 2.0  # a month of the sample; the share in the files would be about one
_ANCIENT_SHARE = 0.3  # of months have a pick-up at a meter's first day, as three of nine files do
# Where the meter's clock stood (seconds from the start of 2009) in three of nine published files.
_ANCIENT_SECONDS = (-4_699, -3_451, 73_287)


@dataclass
class Faults:
    """By trip: what the record says instead of what happened, and what marks its kind."""

    pickup: Integers
    seconds: Integers
    miles: Floats
    vendor: Integers
    negotiated: Booleans
    aborted: Booleans
    refunded: Booleans


def spoil(month: Month, taxi: str, trips: Trips, miles: Floats, seconds: Integers) -> Faults:
    """Record the trips as badly as they are published; moves zones of aborted trips in place.

    Args:
        month: the month; pick-ups are counted in seconds from its start.
        taxi: ``green`` or ``yellow``.
        trips: the trips as they happened.
        miles: miles driven.
        seconds: seconds from pick-up to drop-off.

    Returns:
        What the published columns will say.
    """
    draws = Draws("dirt", month.year, month.number, taxi)
    count = len(miles)
    hailed = ~trips.dispatched
    no_distance = draws.chance(count, _no_distance(taxi, trips, seconds))
    hailed_one, dispatched_one = _VENDOR_ONE[taxi]
    vendor_one = draws.chance(count, np.where(trips.dispatched, dispatched_one, hailed_one))
    vendor_one |= no_distance & draws.chance(count, 0.6)
    faults = Faults(
        pickup=trips.pickup.copy(),
        seconds=seconds.copy(),
        miles=np.where(no_distance, 0.0, miles),
        vendor=np.where(vendor_one, 1, 2),
        negotiated=draws.chance(count, _NEGOTIATED_SHARE) & hailed,
        aborted=draws.chance(count, _ABORTED_SHARE[taxi]) & hailed,
        refunded=np.zeros(count, dtype=bool),
    )
    _abort(trips, faults, draws)
    _leave_meter_on(faults, hailed, draws)
    _misread_odometer(faults, trips.dispatched, draws)
    _refund(faults, hailed, _REFUND_SHARE[taxi], draws)
    _note_whole_minutes(faults, trips.dispatched)
    _stray(month, faults, hailed, draws)
    return faults


def _no_distance(taxi: str, trips: Trips, seconds: Integers) -> Floats:
    """Chance of 0 miles: more on long trips, and in some zones far more than in others."""
    length = np.clip(seconds / 900.0, 0.3, 3.0)
    zone = np.where(trips.pickup_zone % 13 == 5, 3.0, 0.8)
    return _NO_DISTANCE_SHARE[taxi] * 1.22 * length * zone


def _abort(trips: Trips, faults: Faults, draws: Draws) -> None:
    count = len(faults.miles)
    aborted = faults.aborted
    brief = np.clip(np.round(8.0 * np.exp(1.2 * draws.normal(count))), 0, 59).astype(np.int64)
    faults.seconds = np.where(aborted, brief, faults.seconds)
    crept = np.round(0.06 * np.exp(1.5 * draws.normal(count)), 2)
    rolled = np.where(draws.chance(count, 0.64), 0.0, crept)
    faults.miles = np.where(aborted, rolled, faults.miles)
    faults.negotiated |= aborted & draws.chance(count, 0.5)
    stays = aborted & draws.chance(count, 0.75)
    trips.dropoff_zone[:] = np.where(stays, trips.pickup_zone, trips.dropoff_zone)
    fate = draws.uniform(count)
    trips.dropoff_zone[aborted & (fate < 0.21)] = UNKNOWN_ZONE
    trips.pickup_zone[aborted & (fate < 0.055)] = UNKNOWN_ZONE


def _leave_meter_on(faults: Faults, hailed: Booleans, draws: Draws) -> None:
    count = len(faults.miles)
    able = hailed & ~faults.aborted & (faults.vendor == 2)
    left_on = able & draws.chance(count, _LEFT_ON_SHARE)
    short_of_a_day = np.round(40.0 * 60.0 * np.exp(0.9 * draws.normal(count)))
    overnight = DAY - np.clip(short_of_a_day, 5, DAY - 1_000 * 60).astype(np.int64)
    faults.seconds = np.where(left_on, overnight, faults.seconds)
    stopped_late = able & draws.chance(count, _LONG_STOP_SHARE)
    hours = (4 * HOUR + draws.uniform(count) * 12 * HOUR).astype(np.int64)
    faults.seconds = np.where(stopped_late & ~left_on, hours, faults.seconds)


def _misread_odometer(faults: Faults, dispatched: Booleans, draws: Draws) -> None:
    count = len(faults.miles)
    share = np.where(dispatched, _ENORMOUS_SHARE, _ENORMOUS_SHARE_HAILED)
    enormous = np.clip(np.round(10_660.0 * np.exp(1.05 * draws.normal(count)), 2), 1e3, 3e5)
    faults.miles = np.where(draws.chance(count, share), enormous, faults.miles)


def _refund(faults: Faults, hailed: Booleans, share: float, draws: Draws) -> None:
    """Refund mostly what hardly began: half of refunded trips last under a minute."""
    odds = np.where(faults.seconds < 60, 18.0, np.where(faults.seconds < 300, 3.0, 0.15)) * share
    faults.refunded = hailed & draws.chance(len(odds), odds)


def _note_whole_minutes(faults: Faults, dispatched: Booleans) -> None:
    """Dispatchers report times to the minute."""
    faults.pickup = np.where(dispatched, faults.pickup // 60 * 60, faults.pickup)
    minutes = np.maximum(np.round(faults.seconds / 60.0), 1.0).astype(np.int64)
    faults.seconds = np.where(dispatched, minutes * 60, faults.seconds)


def _stray(month: Month, faults: Faults, hailed: Booleans, draws: Draws) -> None:
    """Move a handful of pick-ups out of the month."""
    count = len(faults.miles)
    month_seconds = int((month.end - month.start).total_seconds())
    moved = np.flatnonzero(draws.chance(count, _STRAYS / 9_500) & hailed)
    if len(moved) == 0:
        moved = np.flatnonzero(hailed)[:1]
    early = -(draws.uniform(len(moved)) * 6 * DAY + 1).astype(np.int64)
    late = month_seconds + (draws.uniform(len(moved)) * 5 * HOUR).astype(np.int64)
    faults.pickup[moved] = np.where(draws.chance(len(moved), 0.7), early, late)
    ancient = draws.chance(1, _ANCIENT_SHARE)[0]
    clock = int(draws.choose(_ANCIENT_SECONDS, (1, 1, 1), 1)[0])
    if ancient and len(moved):
        epoch = Month(2009, 1).start - month.start
        faults.pickup[moved[-1]] = int(epoch.total_seconds()) + clock
