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
from ml_assets.trips.sample.city import expected_trips, load_city
from ml_assets.trips.sample.data_errors import DataErrors, add_data_errors
from ml_assets.trips.sample.draws import Draws, Integers
from ml_assets.trips.sample.fares import CONGESTION_RELIEF, NEGOTIATED_RATE, charge
from ml_assets.trips.sample.rides import (
    HOUR,
    Trips,
    draw_trips,
    drive_miles,
    drive_seconds,
    wall_seconds,
)

_TAXIS = ("green", "yellow")
# Green trips per thousand with 0 to 6 passengers.
_PASSENGERS_PER_THOUSAND = (8, 848, 86, 14, 5, 26, 13)
_BLANK = (
    "store_and_fwd_flag", "RatecodeID", "passenger_count", "trip_type", "congestion_surcharge",
)  # fmt: skip
_BLANK_WHEN_DISPATCHED = {"green": (*_BLANK, "payment_type"), "yellow": (*_BLANK, "airport_fee")}

SAMPLE_METADATA = {b"ml_assets": b"synthetic sample"}
# Seen in the green files of 2023; the yellow ones changed, ``airport_fee`` to ``Airport_fee``
# included, with the same month.
_NARROW_TYPES = Month(2023, 2)

_GREEN = (
    "VendorID", "lpep_pickup_datetime", "lpep_dropoff_datetime", "store_and_fwd_flag",
    "RatecodeID", "PULocationID", "DOLocationID", "passenger_count", "trip_distance",
    "fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount", "ehail_fee",
    "improvement_surcharge", "total_amount", "payment_type", "trip_type", "congestion_surcharge",
)  # fmt: skip
_YELLOW = (
    "VendorID", "tpep_pickup_datetime", "tpep_dropoff_datetime", "passenger_count",
    "trip_distance", "RatecodeID", "store_and_fwd_flag", "PULocationID", "DOLocationID",
    "payment_type", "fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount",
    "improvement_surcharge", "total_amount", "congestion_surcharge", "airport_fee",
)  # fmt: skip
_STORED = {
    "i": ("int64", pa.int64()),
    "f": ("float64", pa.float64()),
    "M": ("datetime64[us]", pa.timestamp("us")),
    "S": ("S1", pa.string()),
}
_NUMBERS = ("VendorID", "PULocationID", "DOLocationID")
_CODES = ("RatecodeID", "passenger_count", "payment_type", "trip_type")


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


def published_layout(month: Month, taxi: str) -> pa.Schema:
    """Return the schema of a month's file, marked as a synthetic sample in its metadata."""
    names = [*(_GREEN if taxi == "green" else _YELLOW)]
    if month >= CONGESTION_RELIEF:
        names.append("cbd_congestion_fee")
    narrow = month >= _NARROW_TYPES
    spelling = {"airport_fee": "Airport_fee"} if narrow else {}
    fields = [(spelling.get(name, name), _type(name, taxi, narrow)) for name in names]
    return pa.schema(fields, metadata=SAMPLE_METADATA)


def arrow_column(
    values: np.ndarray, blank: npt.NDArray[np.bool_] | None, kind: pa.DataType
) -> pa.Array:
    """Convert a NumPy array to a column, without ``pa.array``, which imports pandas.

    Args:
        values: integers, floats, datetimes, or ``S1`` for strings of one letter.
        blank: mask of null values; None when there are none.
    """
    count = len(values)
    known = None
    if blank is not None:
        known = pa.py_buffer(np.packbits(~blank, bitorder="little"))
    numpy_type, arrow_type = _STORED[values.dtype.kind]
    buffers = [known, pa.py_buffer(np.ascontiguousarray(values, dtype=numpy_type))]
    if arrow_type == pa.string():
        buffers.insert(1, pa.py_buffer(np.arange(count + 1, dtype=np.int32)))
    return pa.Array.from_buffers(arrow_type, count, buffers).cast(kind)


def _type(name: str, taxi: str, narrow: bool) -> pa.DataType:
    if name.endswith("_datetime"):
        return pa.timestamp("us")
    if name == "store_and_fwd_flag":
        return pa.large_string() if narrow else pa.string()
    if name in _NUMBERS:
        return pa.int32() if narrow else pa.int64()
    if name in _CODES:
        always = taxi == "yellow" and name == "payment_type"
        return pa.int64() if narrow or always else pa.float64()
    if name == "ehail_fee" and not narrow:
        return pa.null()
    return pa.float64()
