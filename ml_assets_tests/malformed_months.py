"""Monthly files that are malformed in every way seen so far, and what has to become of each.

Each case writes one file. It is either ingested (how many trips are kept, and why the others are
rejected), or refused in one line that names the file and what is wrong with it.
"""

import gzip
import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from ml_assets.trips.month import Month
from ml_assets_tests.published_months import published_month

ROWS = 60
MONTH = Month(2023, 2)
PICKUP, DROPOFF = "lpep_pickup_datetime", "lpep_dropoff_datetime"
MICROSECONDS = 1_000_000
YEAR_10000 = 253_402_300_800
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Malformed:
    """A file and what has to become of it.

    Attributes:
        write: Writes it to a path, as a file of the given month.
        kept: Trips that are kept; None for a file that is refused.
        rejected: Rejected trips by reason.
        fault: Words of the line that refuses it.
    """

    write: Callable[[Path, Month], None]
    kept: int | None = None
    rejected: dict[str, int] = field(default_factory=dict)
    fault: str = ""


def _bytes(change: Callable[[bytes], bytes], **options: Any) -> Callable[[Path, Month], None]:
    """Write a good file, and change its bytes."""

    def write(path: Path, month: Month) -> None:
        file = io.BytesIO()
        pq.write_table(published_month(month, ROWS), file, **options)
        path.write_bytes(change(file.getvalue()))

    return write


def _table(change: Callable[[pa.Table], pa.Table], **options: Any) -> Callable[[Path, Month], None]:
    """Write a changed table."""
    return lambda path, month: pq.write_table(change(published_month(month, ROWS)), path, **options)


def _columns(**overrides: Any) -> Callable[[Path, Month], None]:
    """Write a month with columns replaced, added or (None) left out."""
    return lambda path, month: pq.write_table(published_month(month, ROWS, **overrides), path)


def _first(column: str, *values: Any) -> Callable[[Path, Month], None]:
    """Write a month whose first values in a column are these."""

    def change(table: pa.Table) -> pa.Table:
        kept = table[column].slice(len(values))
        array = pa.chunked_array([pa.array(values, table[column].type), *kept.chunks])
        return table.set_column(table.schema.get_field_index(column), column, array)

    return _table(change)


def _cast(**types: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        for name, kind in types.items():
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table[name].cast(kind, safe=False))
        return table

    return change


def _times(kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    return _cast(**{PICKUP: kind, DROPOFF: kind})


def _renamed(change: Callable[[str], str]) -> Callable[[Path, Month], None]:
    return _table(lambda table: table.rename_columns([change(name) for name in table.schema.names]))


def _with(name: str, values: Any = None) -> Callable[[Path, Month], None]:
    values = pa.nulls(ROWS, pa.float64()) if values is None else values
    return _table(lambda table: table.append_column(name, values))


def _counts(limits: tuple[int, int], unit: str) -> Callable[[Path, Month], None]:
    """Write a month whose first pick-ups and last drop-offs are the limits of the type."""

    def change(table: pa.Table) -> pa.Table:
        table = _times(pa.timestamp(unit))(table)
        for name, at in ((PICKUP, 0), (DROPOFF, ROWS - 2)):
            counts = table[name].cast(pa.int64()).to_pylist()
            counts[at : at + 2] = limits
            array = pa.array(counts, pa.timestamp(unit))
            table = table.set_column(table.schema.get_field_index(name), name, array)
        return table

    return _table(change)


def _flip_data(whole: bytes) -> bytes:
    """Damage the values of a page, which no decoder can notice, and leave all else as it was."""
    damaged = bytearray(whole)
    start = pq.ParquetFile(io.BytesIO(whole)).metadata.row_group(0)
    column = next(
        start.column(at)
        for at in range(start.num_columns)
        if start.column(at).path_in_schema == "trip_distance"
    )
    damaged[column.data_page_offset + column.total_compressed_size - 4] ^= 0xFF
    return bytes(damaged)


def _zeroed(first: float, last: float) -> Callable[[bytes], bytes]:
    def change(whole: bytes) -> bytes:
        begin, end = int(len(whole) * first), int(len(whole) * last)
        return whole[:begin] + bytes(end - begin) + whole[end:]

    return change


def _zipped(whole: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("green_tripdata.parquet", whole)
    return file.getvalue()


def _feather(path: Path, month: Month) -> None:
    pyarrow.feather.write_feather(published_month(month, ROWS), path)


class _Keys(pe.KmsClient):  # type: ignore[misc]
    def __init__(self, _: Any) -> None:
        super().__init__()

    def wrap_key(self, key_bytes: bytes, _: str) -> bytes:
        return key_bytes

    def unwrap_key(self, wrapped_key: bytes, _: str) -> bytes:
        return wrapped_key


def _encrypted(plaintext_footer: bool) -> Callable[[Path, Month], None]:
    def write(path: Path, month: Month) -> None:
        table = published_month(month, ROWS)
        config = pe.EncryptionConfiguration(
            footer_key="footer",
            column_keys={"column": ["trip_distance"]},
            plaintext_footer=plaintext_footer,
            double_wrapping=False,
        )
        factory = pe.CryptoFactory(_Keys)
        properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
        with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
            writer.write_table(table)

    return write


def _row_groups(*sizes: int) -> Callable[[Path, Month], None]:
    def write(path: Path, month: Month) -> None:
        table, start = published_month(month, ROWS), 0
        with pq.ParquetWriter(path, table.schema) as writer:
            for size in sizes:
                writer.write_table(table.slice(start, size))
                start += size

    return write


def _lying(place: str) -> Callable[[bytes], bytes]:
    """State another number of rows or bytes, in as many bytes, than there are.

    Args:
        place: ``rows`` of the footer, ``group`` for the rows of its row group, ``values`` of a
            column, or ``page`` for the decoded size of its first page.
    """

    def change(whole: bytes) -> bytes:
        damaged = bytearray(whole)
        footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
        rows = varint(2 * ROWS)
        if place == "rows":  # field 3 of FileMetaData, a 64-bit integer after a list
            at = whole.index(b"\x16" + rows + b"\x19", footer) + 1
        elif place == "group":  # field 3 of RowGroup, before file_offset and total_compressed_size
            at = whole.rindex(b"\x16" + rows + b"\x26", footer) + 1
        elif place == "values":  # field 5 of ColumnMetaData, before total_uncompressed_size
            found, lie = b"\x16" + rows + b"\x16", b"\x16" + b"\x7e" * len(rows) + b"\x16"
            return whole[:footer] + whole[footer:].replace(found, lie)
        else:  # fields 1 and 2 of PageHeader: its kind, then its decoded size
            column = pq.ParquetFile(io.BytesIO(whole)).metadata.row_group(0).column(5)
            at = column.data_page_offset + 3
            rows = bytes(_varint_length(whole, at))
        damaged[at : at + len(rows)] = b"\xfe" * (len(rows) - 1) + b"\x7e"
        return bytes(damaged)

    return change


def varint(number: int) -> bytes:
    """Encode a number as Thrift does: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _varint_length(whole: bytes, at: int) -> int:
    return next(length for length in range(1, 10) if whole[at + length - 1] < 0x80)


def _of_month(month: Month) -> Callable[[Path, Month], None]:
    return lambda path, _: pq.write_table(published_month(month, ROWS), path)


MILLION = "x" * 1_000_000
HTML = b"<!DOCTYPE html>\n<html><title>Sign in</title></html>"
NOT_PARQUET = "not a readable Parquet file"
OUTSIDE, MISSING = "pickup_outside_month", "missing_value"
IMPOSSIBLE, OFF_MAP = "impossible_distance", "zone_outside_map"

BYTES = {
    "no bytes": Malformed(_bytes(lambda whole: b""), fault=NOT_PARQUET),
    "half of it": Malformed(_bytes(lambda whole: whole[: len(whole) // 2]), fault=NOT_PARQUET),
    "the end cut": Malformed(_bytes(lambda whole: whole[:-100]), fault=NOT_PARQUET),
    "the beginning cut": Malformed(_bytes(lambda whole: whole[100:]), fault="damaged"),
    "a login page": Malformed(_bytes(lambda whole: HTML), fault="a web page"),
    "an XML error": Malformed(_bytes(lambda whole: b"\n<?xml ?><Error/>"), fault="a web page"),
    "a JSON error": Malformed(_bytes(lambda whole: b'{"error": "no"}'), fault=NOT_PARQUET),
    "gzip": Malformed(_bytes(gzip.compress), fault=NOT_PARQUET),
    "zip": Malformed(_bytes(_zipped), fault=NOT_PARQUET),
    "CSV": Malformed(_bytes(lambda whole: b"VendorID,zone\n1,2\n" * 40), fault=NOT_PARQUET),
    "Feather": Malformed(_feather, fault=NOT_PARQUET),
    "a Git LFS pointer": Malformed(
        _bytes(lambda whole: b"version https://git-lfs.github.com/spec/v1\n"), fault=NOT_PARQUET
    ),
    "magic alone": Malformed(_bytes(lambda whole: b"PAR1PAR1"), fault=NOT_PARQUET),
    "a footer of 4 GB": Malformed(
        _bytes(lambda whole: whole[:-8] + b"\xff\xff\xff\xffPAR1"), fault=NOT_PARQUET
    ),
    "a footer of zeros": Malformed(
        _bytes(lambda whole: whole[:-700] + bytes(692) + whole[-8:]), fault=NOT_PARQUET
    ),
    "pages of zeros": Malformed(_bytes(_zeroed(0.01, 0.5)), fault="damaged"),
    "a wrong checksum": Malformed(
        _bytes(_flip_data, write_page_checksum=True, compression="none", use_dictionary=False),
        fault="damaged",
    ),
    "an encrypted footer": Malformed(_encrypted(False), fault="encrypt"),
    "an encrypted column": Malformed(_encrypted(True), fault="trip_distance is encrypted"),
    "text after the end": Malformed(_bytes(lambda whole: whole + b"\n"), fault=NOT_PARQUET),
}
LIES = {
    "rows of the footer": Malformed(_bytes(_lying("rows")), fault="the footer states 63 rows"),
    "rows of a row group": Malformed(_bytes(_lying("group")), fault="its row groups 63"),
    "values of a column": Malformed(_bytes(_lying("values")), fault="has 63 values for 60 rows"),
    "bytes of a page": Malformed(_bytes(_lying("page"), use_dictionary=False), fault="damaged"),
}
COLUMNS = {
    "a column missing": Malformed(
        _columns(PULocationID=None), fault="column PULocationID is missing"
    ),
    "a column renamed": Malformed(
        _columns(trip_distance=None, distance=[1.0] * ROWS), fault="trip_distance is missing"
    ),
    "a space in a name": Malformed(
        _renamed(lambda name: f" {name}"), fault="column PULocationID is missing"
    ),
    "the other taxi's": Malformed(
        _renamed(lambda name: name.replace("lpep", "tpep")), fault="lpep_pickup_datetime is missing"
    ),
    "other letter case": Malformed(_renamed(str.upper), kept=ROWS),
    "numbers as texts": Malformed(
        _columns(trip_distance=["1.0"] * ROWS), fault="column trip_distance is string"
    ),
    "zones of no type": Malformed(
        _columns(DOLocationID=pa.nulls(ROWS)), fault="column DOLocationID is null"
    ),
    "zones as truth": Malformed(
        _columns(DOLocationID=[True] * ROWS), fault="column DOLocationID is bool"
    ),
    "zones in a struct": Malformed(
        _columns(DOLocationID=[{"id": 1}] * ROWS), fault="column DOLocationID is struct"
    ),
    "zones in a list": Malformed(
        _columns(DOLocationID=[[1]] * ROWS), fault="column DOLocationID is list"
    ),
    "distances as decimals": Malformed(
        _table(_cast(trip_distance=pa.decimal128(9, 2))), fault="trip_distance is decimal128"
    ),
    "zones as a dictionary": Malformed(
        _table(
            lambda table: table.set_column(
                table.schema.get_field_index("PULocationID"),
                "PULocationID",
                table["PULocationID"].dictionary_encode(),
            )
        ),
        kept=ROWS,
    ),
    "times as texts": Malformed(
        _columns(pickup=["2023-02-01 00:00"] * ROWS), fault=f"column {PICKUP} is string"
    ),
    "times as numbers": Malformed(_table(_times(pa.int64())), fault=f"column {PICKUP} is int64"),
    "dates": Malformed(_table(_times(pa.date32())), fault=f"column {PICKUP} is date32"),
    "times with a zone": Malformed(
        _table(_times(pa.timestamp("us", "UTC"))), fault=f"column {PICKUP} is timestamp[us, tz=UTC]"
    ),
    "a name twice": Malformed(
        _with("trip_distance"), fault="column trip_distance is there 2 times"
    ),
    "a name in two cases": Malformed(
        _with("Trip_Distance"), fault="trip_distance is there 2 times (trip_distance, Trip_Distance"
    ),
    "a spare name twice": Malformed(_with("VendorID"), kept=ROWS),
    "no columns": Malformed(
        _table(lambda table: table.select([])), fault="PULocationID is missing"
    ),
    "a name of 1 MB": Malformed(_with(MILLION), kept=ROWS),
    "a name of 1 MB, one missing": Malformed(
        _columns(**{MILLION: [1] * ROWS, "trip_distance": None}), fault="… (1,000,000 characters)"
    ),
    "control characters": Malformed(_with("fee\n\x1b[31m\u202e"), kept=ROWS),
    "control characters, one missing": Malformed(
        _columns(**{"fee\n\x1b[31m\u202e": [1] * ROWS, "trip_distance": None}),
        fault="fee\\n\\u001b[31m\\u202e",
    ),
    "a name with a dot": Malformed(_with("fare.amount"), kept=ROWS),
    "a name with a dot that is read": Malformed(
        _with("trip_distance.miles"), fault="column trip_distance.miles: rename it"
    ),
    "900 more columns": Malformed(
        _columns(**{f"more_{number}": [1] * ROWS for number in range(900)}), kept=ROWS
    ),
    "900 more columns, one missing": Malformed(
        _columns(trip_distance=None, **{f"more_{number}": [1] * ROWS for number in range(900)}),
        fault="and 873 more",
    ),
    "nested columns": Malformed(
        _columns(
            stops=[[1, 2]] * ROWS,
            fare=[{"base": 1.0, "tips": [0.5]}] * ROWS,
            tags=pa.array([[("a", 1)]] * ROWS, pa.map_(pa.string(), pa.int64())),
        ),
        kept=ROWS,
    ),
    "a dictionary of texts": Malformed(
        _columns(store_and_fwd_flag=pa.array(["N"] * ROWS).dictionary_encode()), kept=ROWS
    ),
}
KINDS = {
    "times in seconds": Malformed(_table(_times(pa.timestamp("s"))), kept=ROWS),
    "times in milliseconds": Malformed(_table(_times(pa.timestamp("ms"))), kept=ROWS),
    "times in nanoseconds": Malformed(_table(_times(pa.timestamp("ns"))), kept=ROWS),
    "INT96": Malformed(
        _table(lambda table: table, use_deprecated_int96_timestamps=True), kept=ROWS
    ),
    "small integers": Malformed(
        _table(_cast(PULocationID=pa.int16(), DOLocationID=pa.uint8(), passenger_count=pa.int8())),
        kept=ROWS,
    ),
    "large integers": Malformed(
        _table(_cast(PULocationID=pa.uint64(), DOLocationID=pa.float64())), kept=ROWS
    ),
    "half floats": Malformed(_table(_cast(trip_distance=pa.float16())), kept=ROWS),
    "floats": Malformed(_table(_cast(trip_distance=pa.float32())), kept=ROWS),
    "integer distances": Malformed(_table(_cast(trip_distance=pa.int32())), kept=ROWS),
    "passengers of no type": Malformed(_columns(passenger_count=pa.nulls(ROWS)), kept=ROWS),
    "no dictionaries": Malformed(_table(lambda table: table, use_dictionary=False), kept=ROWS),
    "pages of version 2": Malformed(
        _table(lambda table: table, data_page_version="2.0", compression="zstd"), kept=ROWS
    ),
    "brotli": Malformed(_table(lambda table: table, compression="brotli"), kept=ROWS),
    "delta encodings": Malformed(
        _table(
            lambda table: table.select([*range(1, 3), *range(5, 9)]),
            use_dictionary=False,
            column_encoding={PICKUP: "DELTA_BINARY_PACKED", "trip_distance": "BYTE_STREAM_SPLIT"},
        ),
        kept=ROWS,
    ),
    "empty row groups": Malformed(_row_groups(0, 20, 0, 0, 40, 0), kept=ROWS),
    "a row a row group": Malformed(_row_groups(*[1] * ROWS), kept=ROWS),
    "no row group": Malformed(_row_groups(), kept=0),
    "no rows": Malformed(_row_groups(0), kept=0),
}
VALUES = {
    "the year 10000": Malformed(
        _first(PICKUP, YEAR_10000 * MICROSECONDS, -YEAR_10000 * MICROSECONDS),
        kept=ROWS - 2,
        rejected={OUTSIDE: 2},
    ),
    "limits in microseconds": Malformed(
        _counts((INT64_MIN, INT64_MAX), "us"),
        kept=ROWS - 4,
        rejected={OUTSIDE: 2, "dropoff_before_pickup": 1, "over_one_hour": 1},
    ),
    "limits in milliseconds": Malformed(
        _counts((INT64_MIN, INT64_MAX), "ms"), kept=ROWS - 4, rejected={MISSING: 4}
    ),
    "limits in nanoseconds": Malformed(
        _counts((INT64_MIN, INT64_MAX), "ns"),
        kept=ROWS - 4,
        rejected={OUTSIDE: 2, "dropoff_before_pickup": 1, "over_one_hour": 1},
    ),
    "distances that are none": Malformed(
        _first("trip_distance", float("nan"), float("inf"), float("-inf"), -1.0, 1e308, None),
        kept=ROWS - 6,
        rejected={IMPOSSIBLE: 5, MISSING: 1},
    ),
    "zones off the map": Malformed(
        _first("PULocationID", 0, 266, -1, INT64_MAX, INT64_MIN, None),
        kept=ROWS - 6,
        rejected={OFF_MAP: 5, MISSING: 1},
    ),
    "zones between zones": Malformed(
        _columns(PULocationID=np.r_[[1.5, np.nan, np.inf, -np.inf], np.full(ROWS - 4, 41.0)]),
        kept=ROWS - 4,
        rejected={OFF_MAP: 4},
    ),
    "passengers that are none": Malformed(
        _first("passenger_count", float("nan"), float("inf"), -1.0, 1e30), kept=ROWS
    ),
    "no pick-up": Malformed(
        _columns(pickup=pa.nulls(ROWS, pa.timestamp("us"))), kept=0, rejected={MISSING: ROWS}
    ),
    "no distance": Malformed(
        _columns(trip_distance=pa.nulls(ROWS, pa.float64())), kept=0, rejected={MISSING: ROWS}
    ),
    "all columns empty": Malformed(
        _table(lambda table: pa.table({f.name: pa.nulls(ROWS, f.type) for f in table.schema})),
        kept=0,
        rejected={MISSING: ROWS},
    ),
    "another month's": Malformed(_of_month(Month(2021, 7)), kept=0, rejected={OUTSIDE: ROWS}),
    "rows in reverse": Malformed(
        _table(lambda table: table.take(list(range(ROWS - 1, -1, -1)))), kept=ROWS
    ),
    "one row again and again": Malformed(_table(lambda table: table.take([7] * ROWS)), kept=ROWS),
}


def _parts(*slices: tuple[int, int]) -> Callable[[Path, Month], None]:
    """Write a folder of parts, each with rows from the one number up to the other."""

    def write(path: Path, month: Month) -> None:
        path.mkdir()
        (path / "_SUCCESS").touch()
        for number, (first, last) in enumerate(slices):
            part = published_month(month, ROWS).slice(first, last - first)
            pq.write_table(part, path / f"part-{number}.parquet")
            (path / f".part-{number}.parquet.crc").write_bytes(b"crc")

    return write


def _broken_part(path: Path, month: Month) -> None:
    _parts((0, 20), (20, ROWS))(path, month)
    (path / "part-1.parquet").write_bytes(b"PAR1")


PLACES = {
    "a folder of parts": Malformed(_parts((0, 20), (20, 20), (20, ROWS)), kept=ROWS),
    "a folder of one part": Malformed(_parts((0, ROWS)), kept=ROWS),
    "a broken part": Malformed(_broken_part, fault="part-1.parquet is not a readable Parquet"),
    "a named pipe": Malformed(lambda path, _: os.mkfifo(path), fault="is a named pipe"),
    "a link to itself": Malformed(
        lambda path, _: path.symlink_to(path), fault="is a link to itself"
    ),
    "a device": Malformed(lambda path, _: path.symlink_to("/dev/zero"), fault="is a device"),
}
CASES = {**BYTES, **LIES, **COLUMNS, **KINDS, **VALUES, **PLACES}
