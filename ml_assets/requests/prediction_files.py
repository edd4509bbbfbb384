"""Files of predictions, written in chunks: the columns of the requests and of the predictions."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ml_assets.requests.column_names import RequestFileError, printable
from ml_assets.requests.fields import field_of, quoted_name
from ml_assets.requests.request_files import ending
from ml_assets.requests.validate import PREDICTION_COLUMNS, REASON
from ml_assets.trips.request_columns import REQUEST_COLUMNS

OUTPUT_COLUMNS: Final = (*PREDICTION_COLUMNS, REASON)

Own: TypeAlias = "pa.Table | list[dict[str, Any]]"
"""Rows as in ``request_files.Chunk.own``."""
Write = Callable[[Own, pl.DataFrame], None]
"""Writes rows as they were read, with their predictions."""


@contextmanager
def prediction_file(path: Path, named: Path) -> Iterator[Write]:
    """Write predictions to ``path``, in the format of the ending of ``named``.

    Raises:
        RequestFileError: The requests have a column with the name of an output column, JSON lines
            have a new field for which the table has no column, or the format cannot represent a
            column.
    """
    if ending(named) in (".parquet", ".csv"):
        table = _TableFile(path, parquet=ending(named) == ".parquet")
        try:
            yield table.write
        finally:
            table.close()
    else:
        with open(path, "w", encoding="utf-8") as file:
            yield lambda own, predictions: file.writelines(_json_lines(own, predictions))


def _json_lines(own: Own, predictions: pl.DataFrame) -> Iterator[str]:
    rows = own if isinstance(own, list) else _as_rows(own)
    for row, prediction in zip(rows, predictions.iter_rows(named=True), strict=True):
        _require_free(row)
        output = {
            name: value for name, value in prediction.items() if name != REASON or value is not None
        }
        yield json.dumps({**row, **output}, default=_as_json) + "\n"


class _TableFile:
    """Writes Parquet or CSV; the first chunk determines the columns."""

    def __init__(self, path: Path, *, parquet: bool) -> None:
        self._path = path
        self._parquet = parquet
        self._writer: Any = None
        self._names: list[str] | None = None

    def write(self, own: Own, predictions: pl.DataFrame) -> None:
        if isinstance(own, list):
            own = self._as_table(own)
        _require_free(own.column_names)
        table = own
        arrow = predictions.select(OUTPUT_COLUMNS).to_arrow()
        for name in OUTPUT_COLUMNS:
            column = arrow[name]
            if column.type in (pa.large_string(), pa.string_view()):
                column = column.cast(pa.string())
            table = table.append_column(name, column)
        try:
            if not self._parquet:
                table = _flat(table)
            if self._writer is None:
                self._writer = (
                    pq.ParquetWriter(self._path, table.schema, compression="zstd")
                    if self._parquet
                    else pa_csv.CSVWriter(str(self._path), table.schema)
                )
            self._writer.write_table(table)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            reason = printable(" ".join(str(error).split()))
            raise RequestFileError(
                f"the rows cannot be written in this format ({reason}): write to a file that ends "
                "with .parquet"
            ) from error

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _as_table(self, rows: list[dict[str, Any]]) -> pa.Table:
        """Convert JSON objects to a table of text, since their values may have any type."""
        if self._names is None:
            names = list(dict.fromkeys(name for row in rows for name in row))
            # A later row may have an optional field that no row has so far.
            absent = {*REQUEST_COLUMNS} - {*map(field_of, names)}
            self._names = [*(name for name in REQUEST_COLUMNS if name in absent), *names]
        unknown = next((name for row in rows for name in row if name not in self._names), None)
        if unknown is not None:
            raise RequestFileError(
                f"the field {quoted_name(unknown)} appears only after many rows, so it has no "
                "column: write to a file that ends with .jsonl"
            )
        columns = {name: [_as_text(row.get(name)) for row in rows] for name in self._names}
        return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _flat(table: pa.Table) -> pa.Table:
    """Convert lists, structs and bytes to text for CSV."""
    for at, name in enumerate(table.column_names):
        column = table.column(at)
        if isinstance(column.type, pa.BaseExtensionType):
            column = column.cast(column.type.storage_type)
        kind = column.type
        if kind == pa.string_view():
            column = column.cast(pa.large_string())
        elif pa.types.is_nested(kind) or pa.types.is_dictionary(kind) or _is_bytes(kind):
            column = pa.array([_as_text(value) for value in _values(name, column)], pa.string())
        table = table.set_column(at, name, column)
    return table


def _is_bytes(kind: Any) -> bool:
    kinds = pa.types
    return bool(
        kinds.is_binary(kind)
        or kinds.is_large_binary(kind)
        or kinds.is_fixed_size_binary(kind)
        or kinds.is_binary_view(kind)
    )


def _as_rows(table: pa.Table) -> list[dict[str, Any]]:
    names = table.column_names
    columns = [_values(name, table.column(name)) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(name: str, column: Any) -> list[Any]:
    """Return the values of a column, as text if they are times beyond Python's range."""
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):
        try:
            return list(column.cast(pa.string()).to_pylist())
        except pa.ArrowException as error:
            raise RequestFileError(
                f"the column {name} has nested times beyond the year 9999: write to a file that "
                "ends with .parquet"
            ) from error


def _require_free(names: Any) -> None:
    taken = [name for name in OUTPUT_COLUMNS if name in names]
    if taken:
        raise RequestFileError(
            f"the requests have a column {', '.join(taken)}, which predictions are written to: "
            "rename or remove it"
        )


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, default=_as_json)
    return text.encode("utf-8", "replace").decode("utf-8")


def _as_json(value: Any) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
