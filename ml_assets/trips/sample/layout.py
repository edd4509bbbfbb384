"""The published columns of a month, with their order and types."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_assets.trips.month import Month

SAMPLE_METADATA = {b"ml_assets": b"synthetic sample"}
# Seen in the green files of 2023; the yellow ones changed, ``airport_fee`` to ``Airport_fee``
# included, with the same month.
_NARROW_TYPES = Month(2023, 2)
_CONGESTION_RELIEF = Month(2025, 1)

_GREEN = (
    "VendorID",
    "lpep_pickup_datetime",
    "lpep_dropoff_datetime",
    "store_and_fwd_flag",
    "RatecodeID",
    "PULocationID",
    "DOLocationID",
    "passenger_count",
    "trip_distance",
    "fare_amount",
    "extra",
    "mta_tax",
    "tip_amount",
    "tolls_amount",
    "ehail_fee",
    "improvement_surcharge",
    "total_amount",
    "payment_type",
    "trip_type",
    "congestion_surcharge",
)
_YELLOW = (
    "VendorID",
    "tpep_pickup_datetime",
    "tpep_dropoff_datetime",
    "passenger_count",
    "trip_distance",
    "RatecodeID",
    "store_and_fwd_flag",
    "PULocationID",
    "DOLocationID",
    "payment_type",
    "fare_amount",
    "extra",
    "mta_tax",
    "tip_amount",
    "tolls_amount",
    "improvement_surcharge",
    "total_amount",
    "congestion_surcharge",
    "airport_fee",
)
_STORED = {
    "i": ("int64", pa.int64()),
    "f": ("float64", pa.float64()),
    "M": ("datetime64[us]", pa.timestamp("us")),
    "S": ("S1", pa.string()),
}
_NUMBERS = ("VendorID", "PULocationID", "DOLocationID")
_CODES = ("RatecodeID", "passenger_count", "payment_type", "trip_type")


def published_layout(month: Month, taxi: str) -> pa.Schema:
    """Return the schema of a month's file, marked as a synthetic sample in its metadata."""
    names = list(_GREEN if taxi == "green" else _YELLOW)
    if month >= _CONGESTION_RELIEF:
        names.append("cbd_congestion_fee")
    narrow = month >= _NARROW_TYPES
    fields = [pa.field(_spelling(name, narrow), _type(name, taxi, narrow)) for name in names]
    return pa.schema(fields, metadata=SAMPLE_METADATA)


def arrow_column(
    values: np.ndarray, blank: npt.NDArray[np.bool_] | None, kind: pa.DataType
) -> pa.Array:
    """Convert a NumPy array to a column, without ``pa.array``, which imports pandas.

    Args:
        values: integers, floats, datetimes, or ``S1`` for strings of one letter.
        blank: mask of null values; None when there are none.
        kind: the published type.
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


def _spelling(name: str, narrow: bool) -> str:
    return "Airport_fee" if name == "airport_fee" and narrow else name


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
