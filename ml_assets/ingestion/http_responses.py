"""What an HTTP response says of a published file: its version, its size, and what went wrong."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import requests
import urllib3

from ml_assets.ingestion.retry import TransientError
from ml_assets.ingestion.source import OTHER_SOURCES, SourceUnavailable
from ml_assets.secrets import error_text

NOT_PUBLISHED = {403, 404, 410}  # S3 and CloudFront say 403 of what is not there
_PASSING_STATUS = {408, 425, 429}  # besides every 5xx
_WEB_PAGE = ("text/html", "application/xhtml")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@contextmanager
def network_failures(address: str) -> Iterator[None]:
    """Tell failures of the network that may pass from those that will not.

    Args:
        address: What is requested; its password and query are in no message.

    Raises:
        TransientError: for refused, cut or timed-out connections.
        SourceUnavailable: for addresses and redirects that no retry mends.
    """
    try:
        yield
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.HTTPError,
    ) as error:
        raise TransientError(error_text(_root_cause(error), address)) from error
    except requests.RequestException as error:
        raise SourceUnavailable(
            f"the address cannot be used ({error_text(error, address)}); {OTHER_SOURCES}"
        ) from error


def check_status(response: requests.Response, location: str) -> None:
    """Pass a response that carries what was asked for.

    Raises:
        TransientError: for a status that may pass, such as 429 or 503.
        SourceUnavailable: for any other, such as 401.
    """
    status = response.status_code
    if status in (200, 206):
        return
    told = f"HTTP {status} {response.reason or ''}".strip()
    if status >= 500 or status in _PASSING_STATUS:
        raise TransientError(told, _retry_after_seconds(response.headers))
    raise SourceUnavailable(f"{location} was refused with {told}; {OTHER_SOURCES}")


def is_web_page(headers: Mapping[str, str]) -> bool:
    """Whether the content type is that of a page for people."""
    return headers.get("Content-Type", "").strip().lower().startswith(_WEB_PAGE)


def version_of(headers: Mapping[str, str], size_bytes: int | None) -> str:
    """The ETag, or where the server sends none, time and size; republishing changes it."""
    etag = headers.get("ETag", "").removeprefix("W/").strip('"')
    if etag:
        return etag
    size = "unknown size" if size_bytes is None else f"{size_bytes} bytes"
    modified = headers.get("Last-Modified")
    return f"{size}, modified {modified}" if modified else size


def resume_validator(headers: Mapping[str, str]) -> str | None:
    """What ``If-Range`` may hold for this file, or None where a resume could mix two versions.

    Only strong validators will do (RFC 9110, sections 8.8.2.2 and 13.1.5): an ETag that is not
    weak, or a modification time that lies at least a second before the response.
    """
    etag = headers.get("ETag")
    if etag:
        return None if etag.startswith("W/") else etag
    modified, answered = _time(headers.get("Last-Modified")), _time(headers.get("Date"))
    if modified and answered and answered - modified >= timedelta(seconds=1):
        return headers["Last-Modified"]
    return None


def total_bytes(response: requests.Response) -> int | None:
    """Size of the whole file, from a full or a partial response, where told."""
    if response.status_code in (206, 416):
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        return int(match[2]) if match and match[2] != "*" else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def first_byte(response: requests.Response) -> int | None:
    """Where in the file the body of a partial response starts; None when that is not told."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    return int(match[1]) if match and match[1] is not None else None


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    told = headers.get("Retry-After", "").strip()
    if told.isdecimal():
        return float(told)
    at = _time(told)
    return max(0.0, (at - datetime.now(UTC)).total_seconds()) if at else 0.0


def _time(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if text else None
    except ValueError:  # not a date: as good as none
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _root_cause(error: BaseException) -> BaseException:
    """The innermost error: "Connection refused" rather than the layers that wrap it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        if isinstance(inner, ValueError):
            break  # from http.client's parsing of a chunk that was cut: says less than its wrapper
        error = inner
    return error
