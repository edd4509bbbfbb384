"""Join a month's folder of part files, as Spark and Dask write it, into one file.

A single part is copied unchanged. Several are concatenated in the order of their names into one
Parquet file with all their columns; its footer keeps each part's name, size and checksum, so that
the published bytes stay identifiable.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from ml_assets.storage.trip_store import PartRecord, checksum
from ml_assets.trips.month_limits import MonthLimits, check_pages, check_rows
from ml_assets.trips.published_schema import (
    TripSchemaError,
    error_reason,
    faults_named,
    match_columns,
    open_parquet,
    shown_name,
    shown_names,
)

PARTS_KEY = b"ml_assets.parts"
MAX_TEXT_BYTES = 1_000
"""Maximum length of one string in a part: the TLC's have one or two characters."""

_BATCH_ROWS = 65_536
_RECORDS = TypeAdapter(list[PartRecord])


def join_parts(parts: Sequence[Path], file: BinaryIO, limits: MonthLimits) -> None:
    """Write the parts of a month into one file.

    Args:
        parts: Local files, in the order of their rows.

    Raises:
        TripSchemaError: when a part is not a readable file of this taxi's trips, is too large, or
            has other columns than the first; names the part.
    """
    schemas = [_checked(part, limits) for part in parts]
    rows = sum(pq.read_metadata(part).num_rows for part in parts)
    if rows > limits.rows:
        raise TripSchemaError(
            f"the {len(parts)} parts have {rows:,} rows, more than the {limits.rows:,} rows that a "
            f"month of {limits.taxi} trips may have: correct them at their source, or increase "
            "ML_ASSETS_MAX_MONTH_ROWS if they are right"
        )
    if len(parts) == 1:
        with parts[0].open("rb") as source:
            while chunk := source.read(2**20):
                file.write(chunk)
        return
    schema = _common_schema(parts, schemas)
    records = _RECORDS.dump_json(
        [
            PartRecord(name=part.name, size_bytes=part.stat().st_size, sha256=checksum(part))
            for part in parts
        ]
    )
    with pq.ParquetWriter(
        file, schema.with_metadata({PARTS_KEY: records}), compression="zstd"
    ) as writer:
        for part in parts:
            for batch in _batches(part, schema):
                writer.write_batch(batch)


def part_records(footer: pq.FileMetaData) -> list[PartRecord]:
    """Return the parts that a file was joined from, by its footer; none for a single file."""
    written = (footer.metadata or {}).get(PARTS_KEY)
    return [] if written is None else _RECORDS.validate_json(written)


def _checked(part: Path, limits: MonthLimits) -> pa.Schema:
    """Return a part's schema, after checking that it is within the limits of a month."""
    with open_parquet(part, part.name) as parquet:
        schema = parquet.schema_arrow
        match_columns(schema, limits.taxi, part.name)
        for field in schema:
            if not (_is_flat(field.type) or _is_text(field.type)):
                raise TripSchemaError(
                    f"{part.name} has a column {shown_name(field.name)} of type "
                    f"{shown_name(str(field.type))}, which is not supported in part files: publish "
                    "the month as one file, or leave that column out"
                )
        twice = [name for name in {*schema.names} if schema.names.count(name) > 1]
        if twice:
            raise TripSchemaError(f"{part.name} has duplicate columns: {shown_names(twice)}")
        with faults_named(part.name, remedy=""):
            check_rows(parquet.metadata, limits)
            check_pages(part, schema.names, limits)
        return pa.schema([_plain_field(field) for field in schema])


def _common_schema(parts: Sequence[Path], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the common schema of all parts; only the widths of numbers and strings may differ."""
    first = common = schemas[0]
    for part, schema in zip(parts[1:], schemas[1:], strict=True):
        unlike = sorted({*first.names} ^ {*schema.names})
        if unlike:
            raise TripSchemaError(
                f"{part.name} has other columns than {parts[0].name}: {shown_names(unlike)} only "
                "in one of them. Write all parts of the month with the same columns"
            )
        try:
            common = pa.unify_schemas([common, schema], promote_options="permissive")
        except pa.ArrowException as error:
            raise TripSchemaError(
                f"{part.name} has other types than {parts[0].name} ({error_reason(error)}). Write "
                "all parts of the month with the same types"
            ) from error
    return common


def _batches(part: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield a part's rows in the common schema, in bounded batches."""
    own = pq.read_schema(part)
    texts = [field.name for field in own if _is_text(field.type)]
    # With dictionary encoding, a long repeated string is in memory once.
    with (
        faults_named(part.name, remedy=""),
        pq.ParquetFile(
            part,
            read_dictionary=texts,
            page_checksum_verification=True,
            coerce_int96_timestamp_unit="us",
        ) as parquet,
    ):
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS):
            columns = [
                _plain(batch.column(field.name), field, part.name).cast(field.type)
                for field in schema
            ]
            yield pa.record_batch(columns, schema=schema)


def _plain(values: pa.Array, field: pa.Field, part: str) -> pa.Array:
    if not pa.types.is_dictionary(values.type):
        return values
    longest = pc.max(pc.binary_length(values.dictionary)).as_py() or 0
    if longest > MAX_TEXT_BYTES:
        raise TripSchemaError(
            f"{part} has a string of {longest:,} bytes in column {shown_name(field.name)}, over "
            f"{MAX_TEXT_BYTES:,}: leave that column out at its source"
        )
    return values.dictionary_decode()


def _is_flat(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _plain_field(field: pa.Field) -> pa.Field:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return pa.field(field.name, kind)
