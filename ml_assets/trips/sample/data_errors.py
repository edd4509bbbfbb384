"""Data errors of published months, with the shares of the published files.

All shares are those of the nine green files January to September 2023 (592,643 rows); in brackets,
how the error appears in a file:

- meters stopped right after the start (2.7 % of rows last under a minute, 64 % of them with 0
  miles, 82 % within one zone, 21 % in zone 264), half of them with the negotiated rate, code 5;
- complete trips without distance (3 % of rows last 1 to 60 minutes and have 0 miles), two thirds of
  them from vendor 1;
- meters left on until the next day (0.29 % last more than 1,000 minutes, mostly almost a day, none
  a full day), vendor 2 only;
- impossible distances (0.07 %, median 10,660 miles, longest 278,990), nearly all on dispatched
  rows;
- pick-ups outside the month (3 to 38 per file): the week before, shortly after, and 2008 or 2009;
- refunds (0.28 %): a copy of the trip, just before it, with every amount negative. There are no
  other duplicates: no row equals another in every column.
"""

from dataclasses import dataclass

import numpy as np

from ml_assets.trips.month import Month
from ml_assets.trips.sample.draws import Booleans, Draws, Floats, Integers
from ml_assets.trips.sample.rides import DAY, HOUR, Trips
from ml_assets.trips.zones import UNKNOWN_ZONE

_ABORTED_SHARE = {"green": 0.0285, "yellow": 0.012}
_NO_DISTANCE_SHARE = {"green": 0.030, "yellow": 0.012}
_LEFT_ON_SHARE = 0.0031
_LONG_STOP_SHARE = 0.0010
_IMPOSSIBLE_SHARE, _IMPOSSIBLE_SHARE_HAILED = 0.0100, 0.00002
_REFUND_SHARE = {"green": 0.0028, "yellow": 0.0080}
_NEGOTIATED_SHARE = 0.022
_VENDOR_ONE = {"green": (0.115, 0.029), "yellow": (0.27, 0.05)}
_OUTSIDE_PER_MONTH = 2.0  # by the share in the files it would be about one
_EPOCH_SHARE = 0.3  # share of months with a pick-up at the meter's epoch, as in three of nine files
# Such clock readings (seconds from the start of 2009) in three of nine published files.
_EPOCH_SECONDS = (-4_699, -3_451, 73_287)


@dataclass
class DataErrors:
    """Recorded values by trip, with errors, and the kinds of errors."""

    pickup: Integers
    seconds: Integers
    miles: Floats
    vendor: Integers
    negotiated: Booleans
    aborted: Booleans
    refunded: Booleans


def add_data_errors(
    month: Month, taxi: str, trips: Trips, miles: Floats, seconds: Integers
) -> DataErrors:
    """Return the values to publish, with data errors; changes zones of aborted trips in place.

    Args:
        month: the month; pick-ups are in seconds from its start.
    """
    draws = Draws("dirt", month.year, month.number, taxi)
    count = len(miles)
    hailed = ~trips.dispatched
    no_distance = draws.chance(count, _no_distance(taxi, trips, seconds))
    hailed_one, dispatched_one = _VENDOR_ONE[taxi]
    vendor_one = draws.chance(count, np.where(trips.dispatched, dispatched_one, hailed_one))
    vendor_one |= no_distance & draws.chance(count, 0.6)
    errors = DataErrors(
        pickup=trips.pickup.copy(),
        seconds=seconds.copy(),
        miles=np.where(no_distance, 0.0, miles),
        vendor=np.where(vendor_one, 1, 2),
        negotiated=draws.chance(count, _NEGOTIATED_SHARE) & hailed,
        aborted=draws.chance(count, _ABORTED_SHARE[taxi]) & hailed,
        refunded=np.zeros(count, dtype=bool),
    )
    _abort(trips, errors, draws)
    _leave_meter_on(errors, hailed, draws)
    _add_impossible_distances(errors, trips.dispatched, draws)
    _refund(errors, hailed, _REFUND_SHARE[taxi], draws)
    _round_to_minutes(errors, trips.dispatched)
    _move_out_of_month(month, errors, hailed, draws)
    return errors


def _no_distance(taxi: str, trips: Trips, seconds: Integers) -> Floats:
    """Probability of 0 miles: higher on long trips and in some zones."""
    length = np.clip(seconds / 900.0, 0.3, 3.0)
    zone = np.where(trips.pickup_zone % 13 == 5, 3.0, 0.8)
    return _NO_DISTANCE_SHARE[taxi] * 1.22 * length * zone


def _abort(trips: Trips, errors: DataErrors, draws: Draws) -> None:
    count = len(errors.miles)
    aborted = errors.aborted
    brief = np.clip(np.round(8.0 * np.exp(1.2 * draws.normal(count))), 0, 59).astype(np.int64)
    errors.seconds = np.where(aborted, brief, errors.seconds)
    crept = np.round(0.06 * np.exp(1.5 * draws.normal(count)), 2)
    rolled = np.where(draws.chance(count, 0.64), 0.0, crept)
    errors.miles = np.where(aborted, rolled, errors.miles)
    errors.negotiated |= aborted & draws.chance(count, 0.5)
    stays = aborted & draws.chance(count, 0.75)
    trips.dropoff_zone[:] = np.where(stays, trips.pickup_zone, trips.dropoff_zone)
    fate = draws.uniform(count)
    trips.dropoff_zone[aborted & (fate < 0.21)] = UNKNOWN_ZONE
    trips.pickup_zone[aborted & (fate < 0.055)] = UNKNOWN_ZONE


def _leave_meter_on(errors: DataErrors, hailed: Booleans, draws: Draws) -> None:
    count = len(errors.miles)
    able = hailed & ~errors.aborted & (errors.vendor == 2)
    left_on = able & draws.chance(count, _LEFT_ON_SHARE)
    short_of_a_day = np.round(40.0 * 60.0 * np.exp(0.9 * draws.normal(count)))
    overnight = DAY - np.clip(short_of_a_day, 5, DAY - 1_000 * 60).astype(np.int64)
    errors.seconds = np.where(left_on, overnight, errors.seconds)
    stopped_late = able & draws.chance(count, _LONG_STOP_SHARE)
    hours = (4 * HOUR + draws.uniform(count) * 12 * HOUR).astype(np.int64)
    errors.seconds = np.where(stopped_late & ~left_on, hours, errors.seconds)


def _add_impossible_distances(errors: DataErrors, dispatched: Booleans, draws: Draws) -> None:
    count = len(errors.miles)
    share = np.where(dispatched, _IMPOSSIBLE_SHARE, _IMPOSSIBLE_SHARE_HAILED)
    impossible = np.clip(np.round(10_660.0 * np.exp(1.05 * draws.normal(count)), 2), 1e3, 3e5)
    errors.miles = np.where(draws.chance(count, share), impossible, errors.miles)


def _refund(errors: DataErrors, hailed: Booleans, share: float, draws: Draws) -> None:
    """Choose refunded trips, mostly very short ones: half of them last under a minute."""
    odds = np.where(errors.seconds < 60, 18.0, np.where(errors.seconds < 300, 3.0, 0.15)) * share
    errors.refunded = hailed & draws.chance(len(odds), odds)


def _round_to_minutes(errors: DataErrors, dispatched: Booleans) -> None:
    """Round the times of dispatched trips to the minute."""
    errors.pickup = np.where(dispatched, errors.pickup // 60 * 60, errors.pickup)
    minutes = np.maximum(np.round(errors.seconds / 60.0), 1.0).astype(np.int64)
    errors.seconds = np.where(dispatched, minutes * 60, errors.seconds)


def _move_out_of_month(month: Month, errors: DataErrors, hailed: Booleans, draws: Draws) -> None:
    """Move a few pick-ups out of the month."""
    count = len(errors.miles)
    month_seconds = int((month.end - month.start).total_seconds())
    moved = np.flatnonzero(draws.chance(count, _OUTSIDE_PER_MONTH / 9_500) & hailed)
    if len(moved) == 0:
        moved = np.flatnonzero(hailed)[:1]
    early = -(draws.uniform(len(moved)) * 6 * DAY + 1).astype(np.int64)
    late = month_seconds + (draws.uniform(len(moved)) * 5 * HOUR).astype(np.int64)
    errors.pickup[moved] = np.where(draws.chance(len(moved), 0.7), early, late)
    at_epoch = draws.chance(1, _EPOCH_SHARE)[0]
    clock = int(draws.choose(_EPOCH_SECONDS, (1, 1, 1), 1)[0])
    if at_epoch and len(moved):
        epoch = Month(2009, 1).start - month.start
        errors.pickup[moved[-1]] = int(epoch.total_seconds()) + clock
