"""Stage a fetched month: write it beside its destination, verify it, then move it into place."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from ml_assets.ingestion.source import InvalidFile, PublishedMonth
from ml_assets.secrets import error_text
from ml_assets.storage.atomic import atomic_write
from ml_assets.trips.month_limits import MonthLimits
from ml_assets.trips.published_schema import TripSchemaError, verify_published_file

_BLANKS = b"\t\n\r"
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def staged_file(
    published: PublishedMonth, destination: Path, limits: MonthLimits | None = None
) -> Iterator[BinaryIO]:
    """Open a file for the month; it replaces ``destination`` when the block ends without error.

    After an error, ``destination`` is unchanged and no temporary file is left.

    Raises:
        InvalidFile: when the written file is not a readable Parquet file of this taxi's trips.
        OSError: when the folder cannot be written; the message names a full disk.
    """
    try:
        with atomic_write(str(destination)) as partial:
            with partial.open("wb") as file:
                yield file
            _verify(partial, published, limits)
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise OSError(
            error.errno,
            f"no space to store {published.location} ({error.strerror}): free space on the disk of "
            f"{destination.parent}; existing data are unchanged",
            str(destination),
        ) from error


def _verify(partial: Path, published: PublishedMonth, limits: MonthLimits | None) -> None:
    with partial.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<") and not any(byte < 0x20 and byte not in _BLANKS for byte in start):
        raise web_page_error(published)
    try:
        verify_published_file(partial, published.taxi, limits)
    except TripSchemaError as error:
        reason = str(error).replace(partial.name, "the file")
        raise InvalidFile(f"{published.location}: {reason}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:  # where the file's footer is damaged
        raise InvalidFile(
            f"{published.location} is damaged ({error_text(error)}): fetch the month "
            "again, or correct the file at its source"
        ) from error


def web_page_error(published: PublishedMonth) -> InvalidFile:
    """Return the error for a login, block or error page delivered instead of the file."""
    return InvalidFile(
        f"{published.location}: a web page (HTML or XML) came instead of the Parquet file, most "
        "likely a login or error page: open the address in a browser to see it, and check "
        "ML_ASSETS_TRIPS, proxy and credentials"
    )
