"""Size limits of a published month, checked in the file's metadata before it is decoded.

A Parquet file of a few megabytes can hold hundreds of millions of rows, since equal values compress
to almost nothing. Its footer gives the number of rows, which is checked first. A footer can be
wrong about sizes, so the header of every page to decode is checked as well: it states the memory
that its page takes, and the decoder relies on it.
"""

import mmap
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import pyarrow.parquet as pq

MAX_ROWS: Final = {"green": 3_000_000, "yellow": 24_000_000}
"""One and a half times the largest months: the TLC published up to 1.8 million green trips a month
(2015) and up to 16 million yellow ones (2009 to 2013)."""

VARIABLE: Final = "ML_ASSETS_MAX_MONTH_ROWS"
MAX_BYTES_PER_VALUE: Final = 16
"""The widest number or time takes 12 bytes (INT96); the rest allows for levels and headers."""

_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 5, 7, 8
_PAGES = (_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2)
_MAX_DEPTH = 16


class MonthTooLarge(ValueError):
    """A file has more rows or bytes than a month may have; the message does not name the file."""


class DamagedPages(ValueError):
    """The footer and pages of a file contradict each other."""


@dataclass(frozen=True)
class MonthLimits:
    """Maximum size of a published month."""

    taxi: str
    rows: int

    @classmethod
    def of(cls, taxi: str, rows: int | None = None) -> Self:
        """Return the limits of a taxi, with this number of rows or its default."""
        return cls(taxi, MAX_ROWS[taxi] if rows is None else rows)

    @property
    def column_bytes(self) -> int:
        """Maximum decoded size of one column, in bytes."""
        return self.rows * MAX_BYTES_PER_VALUE


def check_rows(footer: pq.FileMetaData, limits: MonthLimits) -> None:
    """Check the number of rows in the footer.

    Raises:
        MonthTooLarge: naming the rows, the limit and the remedy.
        DamagedPages: when the footer contradicts itself.
    """
    sizes = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
    rows = sum(sizes)
    if max(rows, footer.num_rows) > limits.rows:
        raise _too_large(f"it has {max(rows, footer.num_rows):,} rows", limits)
    if rows != footer.num_rows or min(sizes, default=0) < 0:
        raise DamagedPages(
            f"the footer states {footer.num_rows:,} rows, and its row groups {rows:,}"
        )


def check_pages(path: Path, columns: Collection[str], limits: MonthLimits) -> None:
    """Check the decoded size of every page of these columns by its header.

    Args:
        path: A Parquet file whose number of rows is checked already.

    Raises:
        MonthTooLarge: naming the column, the limit and the remedy.
        DamagedPages: when pages are not where the footer says, or are encrypted.
    """
    sizes = dict.fromkeys(columns, 0)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        for chunk in _chunks(whole):
            if chunk.column not in sizes:
                continue
            if chunk.encrypted:
                raise DamagedPages(f"column {chunk.column} is encrypted")
            if chunk.values != chunk.rows:
                raise DamagedPages(
                    f"column {chunk.column} has {chunk.values:,} values for {chunk.rows:,} rows"
                )
            for values, size in _pages(whole, chunk):
                if values > limits.rows:
                    raise _too_large(f"a page of {chunk.column} has {values:,} values", limits)
                sizes[chunk.column] += size
                if sizes[chunk.column] > limits.column_bytes:
                    found = f"{sizes[chunk.column]:,} bytes when it is decoded"
                    limit = f"{limits.column_bytes:,} bytes for "
                    raise _too_large(f"column {chunk.column} takes {found}", limits, limit)


def _too_large(size: str, limits: MonthLimits, limit: str = "") -> MonthTooLarge:
    return MonthTooLarge(
        f"{size}, more than the {limit}{limits.rows:,} rows that a month of {limits.taxi} trips "
        f"may have: correct the file at its source, or increase {VARIABLE} if it is right"
    )


@dataclass(frozen=True)
class _Chunk:
    """A column chunk: a column's values in one row group, located by the footer."""

    column: str
    rows: int
    values: int
    start: int
    encrypted: bool


def _chunks(whole: mmap.mmap) -> Iterator[_Chunk]:
    """Yield all column chunks of a file.

    pyarrow's own metadata is not used, since reading that of an encrypted chunk ends the process.
    """
    footer_bytes = int.from_bytes(whole[-8:-4], "little")
    try:
        footer, _ = _struct(whole, len(whole) - 8 - footer_bytes)
        for group in footer[4]:
            for column in group[1]:
                values = column.get(3, {})
                starts = [values.get(11, 0), values.get(9, 0)]
                yield _Chunk(
                    column=b".".join(values.get(3, [])).decode("utf-8", "replace"),
                    rows=group[3],
                    values=values.get(5, 0),
                    start=min((start for start in starts if start > 0), default=0),
                    encrypted=8 in column or 3 not in column,
                )
    except _NOT_THRIFT as error:
        raise DamagedPages("its footer cannot be read") from error


def _pages(whole: mmap.mmap, chunk: _Chunk) -> Iterator[tuple[int, int]]:
    """Yield number of values and decoded bytes of each page of a column chunk, by its header."""
    at, left = chunk.start, chunk.values
    while left > 0:
        try:
            header, at = _struct(whole, at)
            size, packed = int(header[2]), int(header[3])
            counts = [int(header[kind].get(1, 0)) for kind in _PAGES if kind in header]
        except _NOT_THRIFT as error:
            raise DamagedPages(f"column {chunk.column} has no page at byte {at:,}") from error
        if min(packed, size, *counts) < 0 or at + packed > len(whole):
            raise DamagedPages(f"column {chunk.column} has a broken page before byte {at:,}")
        yield max(counts, default=0), size
        if _DICTIONARY_PAGE not in header:
            left -= max(counts, default=0)
        at += packed


# Footers and page headers are Thrift structs in the compact protocol, which none of the project's
# libraries reads: https://github.com/apache/thrift/blob/master/doc/specs/
# thrift-compact-protocol.md; field numbers are from
# https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_NOT_THRIFT = (IndexError, KeyError, AttributeError, TypeError, ValueError)
"""Errors when reading other bytes: at the end of the file, or for another type of field."""


def _struct(whole: mmap.mmap, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Return a struct's fields by number, and its end."""
    if depth > _MAX_DEPTH or at < 0:
        raise ValueError
    fields: dict[int, Any] = {}
    number = 0
    while (head := whole[at]) != 0:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(whole, at)
        if head & 15 not in (_TRUE, _FALSE):
            fields[number], at = _value(whole, at, head & 15, depth + 1)
    return fields, at + 1


def _value(whole: mmap.mmap, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _integer(whole, at)
    if kind == _BINARY:
        length, at = _varint(whole, at)
        return whole[at : at + length], at + length
    if kind == _STRUCT:
        return _struct(whole, at, depth)
    if kind in (_LIST, _SET):
        return _list(whole, at, depth)
    if kind in (_TRUE, _FALSE, _BYTE):
        return None, at + 1
    if kind == _DOUBLE:
        return None, at + 8
    raise ValueError


def _list(whole: mmap.mmap, at: int, depth: int) -> tuple[list[Any], int]:
    if depth > _MAX_DEPTH:
        raise ValueError
    head, at = whole[at], at + 1
    length, kind = head >> 4, head & 15
    if length == 15:
        length, at = _varint(whole, at)
    if length > len(whole) - at:
        raise ValueError
    values = []
    for _ in range(length):
        value, at = _value(whole, at, kind, depth + 1)
        values.append(value)
    return values, at


def _integer(whole: mmap.mmap, at: int) -> tuple[int, int]:
    number, at = _varint(whole, at)
    return (number >> 1) ^ -(number & 1), at


def _varint(whole: mmap.mmap, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = whole[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
        if shift > 63:
            raise ValueError
