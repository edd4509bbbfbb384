"""Diagnosis of files whose content does not match their name: the likely cause in one line.

Only the first bytes or the header are read.
"""

import codecs
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from ml_assets.requests.column_names import RequestFileError, strip_name
from ml_assets.requests.fields import field_of, quoted_name
from ml_assets.requests.pickup_time import read_time
from ml_assets.requests.validate import REQUIRED_FIELDS

_HEAD_BYTES = 4096
_OTHER_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_FORMATS: Final = (
    (b"PAR1", "is a Parquet file", "name it .parquet"),
    (b"PK\x03\x04", "is an Excel workbook or another ZIP archive", "export it as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an Excel workbook", "export it as CSV"),
    (b"\x1f\x8b", "is compressed with gzip", "unpack it first"),
    (b"BZh", "is compressed with bzip2", "unpack it first"),
    (b"\xfd7zXZ", "is compressed with xz", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "unpack it first"),
    (b"ARROW1", "is an Arrow (Feather) file", "write it as Parquet"),
    (b"SQLite format 3", "is an SQLite database", "export it as CSV"),
    (b"%PDF", "is a PDF", "export it as CSV"),
)
_UTF_16 = "is UTF-16 text and not UTF-8 (some programs call it Unicode)"


def require_content(path: Path, ending: str) -> None:
    """Check that the first bytes of a file match the format of its name.

    Raises:
        RequestFileError: The format is another; names it and the remedy.
        OSError: The file cannot be read.
    """
    if not path.is_file():
        path.stat()  # raises for a missing file
        kind = "a folder" if path.is_dir() else "no regular file"
        raise RequestFileError(f"{path} cannot be read: it is {kind}")
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    fault = _parquet_fault(path, head) if ending == ".parquet" else _text_fault(head, ending)
    if fault is not None:
        raise RequestFileError(f"{path} {fault}")


def require_header(path: Path, line: str, header: Sequence[str]) -> None:
    """Raise RequestFileError if a likely cause is found why a CSV header lacks required fields."""
    known = _count_fields(header)
    if known >= len(REQUIRED_FIELDS):
        return
    cause = _header_cause(line.strip("\r\n"), header, known)
    if cause is not None:
        raise RequestFileError(f"{path} {cause}")


def require_unpadded_quotes(path: Path, row: Sequence[str]) -> None:
    """Raise RequestFileError if there is white space before a quote, which then is in the value."""
    for value in row:
        if value != value.lstrip() and value.lstrip().startswith('"'):
            raise RequestFileError(
                f"{path} has the value {quoted_name(value)}, with white space before its quote, "
                "which makes the quote a part of the value: remove the space after the comma"
            )


def width_fault(row: Sequence[str], width: int) -> str:
    """Describe why a CSV row does not match its header."""
    fields = "1 field" if len(row) == 1 else f"{len(row)} fields"
    fault = f"the row has {fields}, the header {width}"
    if any("\n" in value for value in row):
        return f"{fault}: a field spans several lines, is its quote closed?"
    if any(value.startswith((' "', '\t"')) for value in row):
        return f"{fault}: a space before a quote makes the quote a part of the value"
    if len(row) == width + 1 and row[-1] == "":
        return f"{fault}: it ends with a comma"
    if len(row) == 1 and any(separator in row[0] for separator in ";\t|"):
        return f"{fault}: it is not separated by commas"
    if len(row) > width and all(map(_is_value, row)):
        return f"{fault}: is a comma in it a decimal point?"
    return fault


def _parquet_fault(path: Path, head: bytes) -> str | None:
    if head.startswith(b"PARE"):
        return "cannot be read: it is an encrypted Parquet file"
    if not head.startswith(b"PAR1"):
        found = _text_fault(head, ".parquet")
        if found is None:
            text = head.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
            remedy = ": name it .csv" if _count_fields(text.split(",")) else ""
            found = f"begins with {quoted_name(text)}{remedy}"
        return f"cannot be read as Parquet: it {found}"
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4))
        if file.read() != b"PAR1":
            return "cannot be read as Parquet: it is cut short (its end is missing)"
    return None


def _text_fault(head: bytes, ending: str) -> str | None:
    if len(head) < _HEAD_BYTES and not head.removeprefix(codecs.BOM_UTF8).strip():
        lacks = f" and lacks the column {', '.join(REQUIRED_FIELDS)}" if ending == ".csv" else ""
        return f"is empty: it has no requests{lacks}"
    for magic, what, remedy in _FORMATS:
        if head.startswith(magic):
            return f"{what}: {remedy}"
    if _is_utf_16(head):
        return f"{_UTF_16}: save it as UTF-8"
    if b"\0" in head:
        return "has zero bytes and is not text"
    text = head.decode("utf-8-sig", "ignore").lstrip()
    if text.startswith("<"):
        return "is HTML or XML: possibly an error page saved as a download"
    if ending == ".csv" and text[:1] in ("{", "["):
        return "is JSON: write one object per line, and name it .jsonl"
    if ending in (".jsonl", ".ndjson"):
        return _json_fault(text)
    return None


def _is_utf_16(head: bytes) -> bool:
    """Whether bytes start with a UTF-16 mark, or have a zero at every other position."""
    zeros = sorted((head[0::2].count(0), head[1::2].count(0)))
    return head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or (
        zeros[1] > len(head) // 4 and zeros[0] < len(head) // 16
    )


def _json_fault(text: str) -> str | None:
    first = text.split("\n", 1)[0].strip()
    if text.startswith("["):
        return "is a JSON array: write its objects one per line, without brackets and commas"
    if first == "{":
        return "has JSON objects that span several lines: write each on one line"
    if not text.startswith("{") and _count_fields(map(strip_name, first.split(","))):
        return f"is CSV (it begins with {quoted_name(first)}): name it .csv"
    return None


def _header_cause(line: str, header: Sequence[str], known: int) -> str | None:
    if not line.strip():
        return "begins with an empty line: remove it, the first line is the header"
    if line.lower().startswith("sep="):
        return f"begins with the line {quoted_name(line)}, which only Excel understands: remove it"
    if len(header) == 1 and _count_fields(map(strip_name, header[0].split(","))) > known:
        return (
            f"has the header {quoted_name(header[0])} in one pair of quotes: quote each name, or "
            "none"
        )
    for separator, called in _OTHER_SEPARATORS.items():
        if _count_fields(map(strip_name, line.split(separator))) > max(known, 1):
            return (
                f"is separated by {called} ({separator!r}) and not by commas: its header is "
                f"{quoted_name(line)}"
            )
    if header and all(not name.strip() or _is_value(name.strip()) for name in header):
        return f"has no header: its first line is {quoted_name(line)}. Name the columns there"
    if line.lstrip().startswith(("#", "//")):
        return (
            f"begins with the comment {quoted_name(line)}: remove it, the first line is the header"
        )
    return None


def _count_fields(names: Iterable[str]) -> int:
    """Count the fields among the names."""
    return len({field_of(name) for name in names} - {None})


def _is_value(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return read_time(text) is not None
    return True
