"""Months published on a web server under the TLC's file names: requests, retries, time limits."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import BinaryIO, NoReturn, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from tenacity import RetryCallState, Retrying
from tenacity.retry import retry_if_exception_type
from tenacity.stop import stop_after_attempt, stop_before_delay
from tenacity.wait import wait_exponential

from ml_assets.ingestion.source import (
    OTHER_SOURCES,
    ChangedDuringDownload,
    InvalidFile,
    InvalidSource,
    Progress,
    PublishedMonth,
    SourceUnavailable,
    published_filename,
)
from ml_assets.ingestion.staging import staged_file, web_page_error
from ml_assets.secrets import ShownError, error_text, without_credentials
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits

TLC_URL = "https://d37ci6vzurychx.cloudfront.net/trip-data/"
"""The links on https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page lead here."""

_HEAD_REFUSED = {405, 501}
_NOT_PUBLISHED = {403, 404, 410}  # S3 and CloudFront answer 403 for a missing file
_TRANSIENT_STATUS = {408, 425, 429}  # besides every 5xx
_WEB_PAGE = ("text/html", "application/xhtml")
_CHUNK_BYTES = 256 * 1024

Result = TypeVar("Result")


@dataclass(frozen=True)
class HttpRetryPolicy:
    """Limits on one request or one file, retries included.

    Attributes:
        first_wait_seconds: Maximum wait before the second attempt; doubled for each further one.
        longest_wait_seconds: Maximum wait between two attempts, whatever ``Retry-After`` says.
        stall_seconds: Maximum time without data, and the interval over which speed is measured.
        minimum_bytes_per_second: A slower transfer is aborted and retried.
        deadline_seconds: Maximum time for one file, all attempts together; exceeded by one
            ``stall_seconds`` at most.
    """

    attempts: int = 6
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 20.0
    connect_seconds: float = 10.0
    stall_seconds: float = 30.0
    minimum_bytes_per_second: float = 1_000.0
    deadline_seconds: float = 1_800.0


class TransientError(ShownError):
    """A failure of one attempt that is worth a retry.

    Args:
        retry_after_seconds: The server's ``Retry-After``; 0 without one.
    """

    def __init__(self, reason: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


def retry(
    attempt: Callable[[], Result],
    retry_policy: HttpRetryPolicy,
    what: str,
    give_up: Event | None = None,
) -> Result:
    """Call ``attempt`` until it succeeds, with exponential backoff, within the limits.

    Args:
        attempt: Raises TransientError to be retried; any other exception is passed on.
        give_up: Once set, by another thread, there is no further attempt.

    Raises:
        SourceUnavailable: The limits are reached.
    """
    cancelled = give_up or Event()
    backoff = wait_exponential(multiplier=retry_policy.first_wait_seconds)

    def wait(state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome is not None else None
        retry_after = failure.retry_after_seconds if isinstance(failure, TransientError) else 0.0
        # Jitter: clients whose connections broke at the same time do not retry at the same time.
        jittered = backoff(state) * random.uniform(0.5, 1.0)
        return min(max(jittered, retry_after), retry_policy.longest_wait_seconds)

    def fail(state: RetryCallState) -> NoReturn:
        failure = state.outcome.exception() if state.outcome is not None else None
        attempts = f"{state.attempt_number} attempt{'' if state.attempt_number == 1 else 's'}"
        raise SourceUnavailable(
            f"{what}: failed after {attempts} in {state.seconds_since_start:.0f} s, last with "
            f"{failure}; {OTHER_SOURCES}"
        ) from failure

    def pause(state: RetryCallState) -> None:
        if cancelled.wait(state.upcoming_sleep):
            fail(state)

    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        wait=wait,
        stop=stop_after_attempt(retry_policy.attempts)
        | stop_before_delay(retry_policy.deadline_seconds),
        # Waits here and not in ``sleep``, after which tenacity always makes another attempt.
        before_sleep=pause,
        sleep=lambda _: None,
        retry_error_callback=fail,
    )
    return retrying(attempt)


class ThroughputGuard:
    """Aborts a transfer that is too slow.

    A socket's time-out is not enough: each chunk restarts it, so that a byte a second could go on
    for weeks.

    Args:
        retry_policy: Minimum speed and the interval over which it is measured.
        deadline: End of the transfer, monotonic clock.
    """

    def __init__(self, retry_policy: HttpRetryPolicy, deadline: float) -> None:
        self._retry_policy = retry_policy
        self._deadline = deadline
        self._since = time.monotonic()
        self._bytes = 0

    def add(self, received: int) -> None:
        """Count received bytes; raise TransientError if they are too slow or past the deadline."""
        now = time.monotonic()
        self._bytes += received
        if now > self._deadline:
            raise TransientError(f"not complete after {self._retry_policy.deadline_seconds:g} s")
        elapsed = now - self._since
        if elapsed < self._retry_policy.stall_seconds:
            return
        if self._bytes < self._retry_policy.minimum_bytes_per_second * elapsed:
            raise TransientError(
                f"only {self._bytes / elapsed:.0f} bytes/s over {elapsed:.0f} s (minimum "
                f"{self._retry_policy.minimum_bytes_per_second:.0f})"
            )
        self._since, self._bytes = now, 0


class HttpSource:
    """A base URL with one file a month, each requested by its name; no listing is needed.

    Args:
        base_url: Address of the folder; its query (a signature, for instance) is sent with every
            request.
        name: Display name of the source; by default the address.
        retry_policy: Time-outs, retries and minimum speed.
        limits: Maximum size of a month; by default that of the taxi.

    Raises:
        InvalidSource: The address has no host.
    """

    synthetic = False

    def __init__(
        self,
        base_url: str,
        taxi: str,
        name: str | None = None,
        retry_policy: HttpRetryPolicy | None = None,
        connections: int = 6,
        limits: MonthLimits | None = None,
    ) -> None:
        try:
            parts = urlsplit(base_url)
            known = parts.hostname and parts.port != 0
        except ValueError as error:  # brackets, or a port that is no number
            raise InvalidSource(base_url, f"this address is wrong ({error})", taxi) from error
        if not known:
            raise InvalidSource(base_url, "this address has no host", taxi)
        self.name = name or without_credentials(base_url)
        self.taxi = taxi
        self._base_url = base_url
        self._retry_policy = retry_policy or HttpRetryPolicy()
        self._connections = connections
        self._limits = limits

    def published(self, months: Iterable[Month]) -> dict[Month, PublishedMonth]:
        """Request the headers of each month, several at a time; 403, 404 and 410 mean unpublished.

        Raises:
            SourceUnavailable: A request failed, retries included; the others are then cancelled.
        """
        wanted = list(dict.fromkeys(months))
        workers = min(self._connections, len(wanted))
        if not workers:
            return {}
        give_up = Event()
        with ThreadPoolExecutor(workers, thread_name_prefix="published-months") as pool:
            shares = [wanted[worker::workers] for worker in range(workers)]
            lookups = [pool.submit(self._look_up, share, give_up) for share in shares]
            try:
                found = {item.month: item for lookup in lookups for item in lookup.result()}
            finally:
                give_up.set()  # cancels the others after a failure or Ctrl-C
        return {month: found[month] for month in wanted if month in found}

    def near_misses(self, months: Iterable[Month]) -> dict[Month, str]:
        """Return nothing: a web server has no listing."""
        return {}

    def fetch(
        self, published: PublishedMonth, destination: Path, progress: Progress | None = None
    ) -> None:
        """Download one month; see ``TripSource.fetch`` for the exceptions."""
        url = self._url(published.month)
        with staged_file(published, destination, self._limits) as file, self._session() as session:
            _download(session, url, published, file, self._retry_policy, progress)

    def _look_up(self, months: list[Month], give_up: Event) -> list[PublishedMonth]:
        found: list[PublishedMonth] = []
        try:
            with self._session() as session:
                for month in months:
                    if give_up.is_set():
                        break
                    item = retry(
                        partial(self._find, session, month),
                        self._retry_policy,
                        without_credentials(self._url(month)),
                        give_up,
                    )
                    if item is not None:
                        found.append(item)
        except BaseException:
            give_up.set()
            raise
        return found

    def _find(self, session: requests.Session, month: Month) -> PublishedMonth | None:
        url = self._url(month)
        timeout = (self._retry_policy.connect_seconds, self._retry_policy.stall_seconds)
        with _network_failures(self._base_url):
            response = session.head(url, allow_redirects=True, timeout=timeout)
            if response.status_code in _HEAD_REFUSED:  # the body is not read
                response = session.get(url, stream=True, timeout=timeout)
        with response:
            if response.status_code in _NOT_PUBLISHED:
                return None
            location = without_credentials(url)
            _check_status(response, location)
            size = _total_bytes(response)
            version = _version_of(response.headers, size)
            return PublishedMonth(month, self.taxi, location, version, size)

    def _url(self, month: Month) -> str:
        parts = urlsplit(self._base_url)
        path = f"{parts.path.rstrip('/')}/{published_filename(self.taxi, month)}"
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    def _session(self) -> requests.Session:
        session = requests.Session()
        # A compressed transfer could not be stored byte for byte.
        session.headers.update({"Accept-Encoding": "identity", "User-Agent": "ml-assets"})
        return session


def _download(
    session: requests.Session,
    url: str,
    published: PublishedMonth,
    file: BinaryIO,
    retry_policy: HttpRetryPolicy,
    progress: Progress | None,
) -> None:
    """Download a published month into an open file, each attempt from the start."""
    deadline = time.monotonic() + retry_policy.deadline_seconds

    def attempt() -> None:
        file.seek(0)
        file.truncate()
        with _network_failures(url):
            timeout = (retry_policy.connect_seconds, retry_policy.stall_seconds)
            response = session.get(url, stream=True, timeout=timeout)
        with response:
            _check_version(response, published)
            _receive(
                response, url, published, file, ThroughputGuard(retry_policy, deadline), progress
            )

    retry(attempt, retry_policy, published.location)


def _check_version(response: requests.Response, published: PublishedMonth) -> None:
    """Check that a response is the listed file, unchanged, and neither a page nor compressed."""
    location = published.location
    if response.status_code in _NOT_PUBLISHED:
        raise SourceUnavailable(
            f"{location} was listed, but is no longer there (HTTP {response.status_code}): "
            "list the months again"
        )
    _check_status(response, location)
    if response.headers.get("Content-Type", "").strip().lower().startswith(_WEB_PAGE):
        raise web_page_error(published)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise InvalidFile(
            f"{location} was sent with Content-Encoding {encoding} although the plain file was "
            "requested, so its published bytes cannot be stored: switch compression off at the "
            "server"
        )
    size = _total_bytes(response) if published.size_bytes is not None else None
    version = _version_of(response.headers, size)
    if version != published.version:
        raise ChangedDuringDownload(
            f"{location} was republished between listing and fetching (version "
            f"{published.version}, now {version}): list the months again, then fetch"
        )


def _receive(
    response: requests.Response,
    url: str,
    published: PublishedMonth,
    file: BinaryIO,
    guard: ThroughputGuard,
    progress: Progress | None,
) -> None:
    total = _total_bytes(response)
    if total is None:
        total = published.size_bytes
    while True:
        with _network_failures(url):
            # read1 returns what has arrived; read would wait for a full chunk
            chunk = response.raw.read1(_CHUNK_BYTES, decode_content=False)
        if not chunk:
            break
        file.write(chunk)
        if progress is not None:
            progress(file.tell(), total)
        guard.add(len(chunk))
    received = file.tell()
    if total is not None and received != total:
        raise TransientError(f"the connection ended after {received} of {total} bytes")


@contextmanager
def _network_failures(address: str) -> Iterator[None]:
    """Convert network errors to TransientError, or SourceUnavailable if a retry is useless."""
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


def _check_status(response: requests.Response, location: str) -> None:
    """Require status 200; raise TransientError for one such as 503, else SourceUnavailable."""
    status = response.status_code
    if status == 200:
        return
    shown = f"HTTP {status} {response.reason or ''}".strip()
    if status >= 500 or status in _TRANSIENT_STATUS:
        raise TransientError(shown, _retry_after_seconds(response.headers))
    raise SourceUnavailable(f"{location} was refused with {shown}; {OTHER_SOURCES}")


def _version_of(headers: Mapping[str, str], size_bytes: int | None) -> str:
    """Return the ETag or, without one, size and modification time."""
    etag = headers.get("ETag", "").removeprefix("W/").strip('"')
    if etag:
        return etag
    size = "unknown size" if size_bytes is None else f"{size_bytes} bytes"
    modified = headers.get("Last-Modified")
    return f"{size}, modified {modified}" if modified else size


def _total_bytes(response: requests.Response) -> int | None:
    """Return the size of the file; None when the server does not send it."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    try:
        return urllib3.Retry().parse_retry_after(headers.get("Retry-After", ""))
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return 0.0  # a word, a year that no calendar has, a number of thousands of digits


def _root_cause(error: BaseException) -> BaseException:
    """Return the innermost error, such as "Connection refused" instead of its wrappers."""
    while (inner := error.__cause__ or error.__context__) is not None:
        if isinstance(inner, ValueError):
            break  # http.client's error on an incomplete chunk; its wrapper says more
        error = inner
    return error
