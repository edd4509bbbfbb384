"""How a fetched month lands: beside its destination, verified, and only then in its place."""

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
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def landing(
    published: PublishedMonth, destination: Path, limits: MonthLimits | None = None
) -> Iterator[BinaryIO]:
    """A file to write the month to; it replaces ``destination`` when the block ends well.

    Whatever goes wrong, ``destination`` stays as it was and nothing is left beside it.

    Args:
        published: The month.
        destination: Its place.
        limits: How large it may be; by default that of its taxi.

    Raises:
        InvalidFile: when what was written is no readable Parquet file of this taxi's trips.
        OSError: when the folder cannot be written; a full disk is told as such.
    """
    try:
        with atomic_write(str(destination)) as partial:
            with partial.open("wb") as file:
                yield file
            _verify(partial, published, limits)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise OSError(
            error.errno,
            f"no room to store {published.location} ({error.strerror}): free space on the disk of "
            f"{destination.parent}; what was there before is untouched",
            str(destination),
        ) from error


def _verify(partial: Path, published: PublishedMonth, limits: MonthLimits | None) -> None:
    with partial.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<") and not any(byte < 0x20 and byte not in _BLANKS for byte in start):
        raise web_page_came(published)
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


def web_page_came(published: PublishedMonth) -> InvalidFile:
    """The error for a login, block or error page that was delivered in place of the file."""
    return InvalidFile(
        f"{published.location}: a web page (HTML or XML) came instead of the Parquet file, most "
        "likely a login or error page: open the address in a browser to see it, and check "
        "ML_ASSETS_TRIPS, proxy and credentials"
    )
