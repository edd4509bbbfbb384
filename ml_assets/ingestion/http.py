"""Months published on a web server under the TLC's file names."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit, urlunsplit

import requests

from ml_assets.ingestion.http_download import HttpDownload
from ml_assets.ingestion.http_responses import (
    NOT_PUBLISHED,
    check_status,
    network_failures,
    total_bytes,
    version_of,
)
from ml_assets.ingestion.retry import HttpRetryPolicy, persist
from ml_assets.ingestion.source import (
    InvalidSource,
    Progress,
    PublishedMonth,
    published_filename,
)
from ml_assets.ingestion.staging import landing
from ml_assets.secrets import without_credentials
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits

TLC_URL = "https://d37ci6vzurychx.cloudfront.net/trip-data/"
"""The links on https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page lead here."""

_HEAD_REFUSED = {405, 501}


class HttpSource:
    """A base URL with one file a month; no listing is needed, each month is asked for.

    Args:
        base_url: the folder's address; a query (a signature, say) is sent with every file.
        taxi: ``green`` or ``yellow``.
        name: how to call the source, the address by default.
        patience: time-outs, retries and speed limits.
        connections: how many months are asked for at a time.
        limits: how large a month may be; by default that of the taxi.

    Raises:
        InvalidSource: when the address has no host.
    """

    synthetic = False

    def __init__(
        self,
        base_url: str,
        taxi: str,
        name: str | None = None,
        patience: HttpRetryPolicy | None = None,
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
        self._patience = patience or HttpRetryPolicy()
        self._connections = connections
        self._limits = limits

    def published(self, months: Iterable[Month]) -> dict[Month, PublishedMonth]:
        """Ask for each month, several at a time; those answered with 403 or 404 are not there.

        Raises:
            SourceUnavailable: when a month cannot be asked for, retries included; the others are
                then given up too.
        """
        wanted = list(dict.fromkeys(months))
        workers = min(self._connections, len(wanted))
        if not workers:
            return {}
        give_up = Event()
        with ThreadPoolExecutor(workers, thread_name_prefix="published-months") as pool:
            shares = [wanted[worker::workers] for worker in range(workers)]
            asked = [pool.submit(self._look_up, share, give_up) for share in shares]
            try:
                found = {item.month: item for share in asked for item in share.result()}
            finally:
                give_up.set()  # lets the others end at once where one failed, or on Ctrl-C
        return {month: found[month] for month in wanted if month in found}

    def near_misses(self, months: Iterable[Month]) -> dict[Month, str]:
        """None: a web server does not list what it has."""
        return {}

    def fetch(
        self, published: PublishedMonth, destination: Path, progress: Progress | None = None
    ) -> None:
        """Download one month; see ``TripSource.fetch`` for what is raised and kept."""
        url = self._url(published.month)
        with landing(published, destination, self._limits) as file, self._session() as session:
            HttpDownload(session, url, published, file, self._patience, progress).run()

    def _look_up(self, months: list[Month], give_up: Event) -> list[PublishedMonth]:
        found: list[PublishedMonth] = []
        try:
            with self._session() as session:
                for month in months:
                    if give_up.is_set():
                        break
                    item = persist(
                        partial(self._ask, session, month),
                        self._patience,
                        without_credentials(self._url(month)),
                        give_up,
                    )
                    if item is not None:
                        found.append(item)
        except BaseException:
            give_up.set()
            raise
        return found

    def _ask(self, session: requests.Session, month: Month) -> PublishedMonth | None:
        url = self._url(month)
        timeout = (self._patience.connect_seconds, self._patience.stall_seconds)
        with network_failures(self._base_url):
            response = session.head(url, allow_redirects=True, timeout=timeout)
            if response.status_code in _HEAD_REFUSED:
                first = {"Range": "bytes=0-0"}
                response = session.get(url, headers=first, stream=True, timeout=timeout)
        with response:
            if response.status_code in NOT_PUBLISHED:
                return None
            location = without_credentials(url)
            if response.status_code != 416:  # an empty file: there, and its fetch tells
                check_status(response, location)
            size = total_bytes(response)
            version = version_of(response.headers, size)
            return PublishedMonth(month, self.taxi, location, version, size)

    def _url(self, month: Month) -> str:
        parts = urlsplit(self._base_url)
        path = f"{parts.path.rstrip('/')}/{published_filename(self.taxi, month)}"
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    def _session(self) -> requests.Session:
        session = requests.Session()
        # A compressed transfer could neither be resumed nor be kept byte for byte.
        session.headers.update({"Accept-Encoding": "identity", "User-Agent": "ml-assets"})
        return session
