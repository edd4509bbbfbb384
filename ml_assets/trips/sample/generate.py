"""Generate a synthetic month of published trips: offline, seeded, reproducible.

Taken from the published green months January to September 2023: columns, order and types; shares of
pick-ups by zone and hour; decay of trips with distance; median minutes by miles; shares of data
errors. Synthetic: each single trip, effects of zones and pairs, drift, and the shares of yellow
taxis.

A month has about 9,500 green rows (the files have about 66,000), to keep training quick. Therefore
about 14 % of a month's trips are between zones without trips in the month before: 5 % in the
published files, 13 to 14 % in samples of this size from them.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_assets.trips.month import Month
from ml_assets.trips.sample.city import load_city
from ml_assets.trips.sample.data_errors import DataErrors, add_data_errors
from ml_assets.trips.sample.demand import HOUR, Trips, draw_trips
from ml_assets.trips.sample.draws import Draws, Integers
from ml_assets.trips.sample.fares import NEGOTIATED_RATE, charge
from ml_assets.trips.sample.layout import arrow_column, published_layout
from ml_assets.trips.sample.rhythm import expected_trips
from ml_assets.trips.sample.travel import drive_miles, drive_seconds, wall_seconds

_TAXIS = ("green", "yellow")
# Green trips per thousand with 0 to 6 passengers.
_PASSENGERS_PER_THOUSAND = (8, 848, 86, 14, 5, 26, 13)
_BLANK = (
    "store_and_fwd_flag",
    "RatecodeID",
    "passenger_count",
    "trip_type",
    "congestion_surcharge",
)
_BLANK_WHEN_DISPATCHED = {
    "green": (*_BLANK, "payment_type"),
    "yellow": (*_BLANK, "airport_fee"),
}


def generate_month(month: Month, taxi: str = "green", rows_scale: float = 1.0) -> pa.Table:
    """Generate one month of trips in the form in which the TLC would publish it.

    The result depends only on the arguments and ``SAMPLE_SEED``, so months can be generated
    separately. Zones, demand and congestion drift slowly from month to month.

    Args:
        month: the month, of any year.
        taxi: ``green`` (about 9,500 rows) or ``yellow`` (about 12,000).
        rows_scale: multiplies the number of rows.

    Returns:
        Table with the published columns in the published order, sorted roughly by pick-up time with
        dispatched trips last; schema metadata ``ml_assets``: ``synthetic sample``.

    Raises:
        ValueError: for another ``taxi``, or when ``rows_scale`` is not above 0.
    """
    if taxi not in _TAXIS:
        raise ValueError(f"taxi is {taxi!r}: the sample has {' and '.join(_TAXIS)} taxis")
    if not rows_scale > 0:
        raise ValueError(f"rows_scale is {rows_scale}: it must be above 0")
    count = _trip_count(month, taxi, rows_scale)
    city = load_city(taxi)
    trips = draw_trips(month, taxi, city, count)
    miles = drive_miles(month, taxi, city, trips)
    driven = drive_seconds(month, taxi, city, trips, miles)
    errors = add_data_errors(month, taxi, trips, miles, wall_seconds(month, trips, driven))
    amounts, codes = charge(month, taxi, city, trips, errors)
    columns = _describe(month, taxi, trips, errors, codes["RatecodeID"]) | codes | amounts
    order, refund = _file_order(month, taxi, trips, errors)
    published = {name: values[order] for name, values in columns.items()}
    for name in amounts:
        values = published[name]
        published[name] = np.where(refund & (values > 0), -values, values)
    return _table(month, taxi, published, blank=trips.dispatched[order])


def _table(
    month: Month, taxi: str, published: dict[str, np.ndarray], blank: npt.NDArray[np.bool_]
) -> pa.Table:
    """Build the table in the month's layout; columns without data (``ehail_fee``) are null."""
    schema = published_layout(month, taxi)
    arrays = []
    for field in schema:
        name = field.name.replace("Airport", "airport")
        if name in published:
            mask = blank if name in _BLANK_WHEN_DISPATCHED[taxi] else None
            arrays.append(arrow_column(published[name], mask, field.type))
        else:
            arrays.append(pa.nulls(len(blank), field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _trip_count(month: Month, taxi: str, rows_scale: float) -> int:
    noise = 1.0 + 0.02 * float(Draws("count", month.year, month.number, taxi).normal(1)[0])
    return max(1, round(expected_trips(month, taxi) * noise * rows_scale))


def _describe(
    month: Month, taxi: str, trips: Trips, errors: DataErrors, rate: Integers
) -> dict[str, np.ndarray]:
    """Return the published columns other than amounts, by trip."""
    draws = Draws("description", month.year, month.number, taxi)
    count = len(rate)
    prefix = "lpep" if taxi == "green" else "tpep"
    begin = np.datetime64(month.start, "us")
    pickup = begin + errors.pickup.astype("timedelta64[s]")
    by_dispatch_fee = (rate == NEGOTIATED_RATE) & draws.chance(count, 0.92)
    return {
        "VendorID": errors.vendor,
        f"{prefix}_pickup_datetime": pickup,
        f"{prefix}_dropoff_datetime": pickup + errors.seconds.astype("timedelta64[s]"),
        "store_and_fwd_flag": np.where(draws.chance(count, 0.004), b"Y", b"N"),
        "PULocationID": trips.pickup_zone,
        "DOLocationID": trips.dropoff_zone,
        "passenger_count": draws.choose(np.arange(7), _PASSENGERS_PER_THOUSAND, count),
        "trip_distance": errors.miles,
        "trip_type": np.where(by_dispatch_fee, 2, 1),
    }


def _file_order(
    month: Month, taxi: str, trips: Trips, errors: DataErrors
) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Return the trip of each row in the file, and which rows are refunds of the row after them.

    Published rows are sorted by hour of pick-up, in random order within it, dispatched trips last.
    """
    draws = Draws("order", month.year, month.number, taxi)
    hour = trips.pickup // HOUR
    order = np.lexsort((draws.uniform(len(hour)), hour, trips.dispatched))
    order = np.repeat(order, np.where(errors.refunded[order], 2, 1))
    refund = np.append(order[:-1] == order[1:], False)
    return order, refund
