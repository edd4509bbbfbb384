"""One file over HTTP: streamed, resumed after a cut where the server can, restarted where not."""

import time
from typing import BinaryIO

import requests

from ml_assets.ingestion.http_responses import (
    NOT_PUBLISHED,
    check_status,
    first_byte,
    is_web_page,
    network_failures,
    resume_validator,
    total_bytes,
    version_of,
)
from ml_assets.ingestion.retry import HttpRetryPolicy, Pace, TransientError, persist
from ml_assets.ingestion.source import (
    ChangedDuringDownload,
    InvalidFile,
    Progress,
    PublishedMonth,
    SourceUnavailable,
)
from ml_assets.ingestion.staging import web_page_came

_CHUNK_BYTES = 256 * 1024


class HttpDownload:
    """The download of one published month into an open file, over as many tries as it takes."""

    def __init__(
        self,
        session: requests.Session,
        url: str,
        published: PublishedMonth,
        file: BinaryIO,
        patience: HttpRetryPolicy,
        progress: Progress | None,
    ) -> None:
        self._session = session
        self._url = url
        self._published = published
        self._file = file
        self._patience = patience
        self._progress = progress
        self._deadline = 0.0
        self._validator: str | None = None
        self._resumes = True

    def run(self) -> None:
        """Download until the file is complete.

        Raises:
            SourceUnavailable: when the limits are reached, or the month is no longer there.
            ChangedDuringDownload: when the server has another version by now.
            InvalidFile: when a web page comes instead.
        """
        self._deadline = time.monotonic() + self._patience.deadline_seconds
        persist(self._attempt, self._patience, self._published.location)

    def _attempt(self) -> None:
        received = self._file.tell()
        headers = {}
        if received and self._validator:
            headers = {"Range": f"bytes={received}-", "If-Range": self._validator}
        with network_failures(self._url):
            response = self._session.get(
                self._url,
                headers=headers,
                stream=True,
                timeout=(self._patience.connect_seconds, self._patience.stall_seconds),
            )
        with response:
            if headers and not self._may_append(response, received):
                self._restart(validator=None)
                raise TransientError(f"resuming failed (HTTP {response.status_code})")
            self._check(response)
            if response.status_code == 200:
                self._restart(resume_validator(response.headers) if self._resumes else None)
            self._receive(response)

    def _may_append(self, response: requests.Response, received: int) -> bool:
        """False for a resumed part that is not surely the rest of what is here already."""
        if response.status_code not in (206, 416):
            return True
        told = "ETag" in response.headers or "Last-Modified" in response.headers
        self._resumes = response.status_code == 206 and first_byte(response) == received and told
        return self._resumes

    def _check(self, response: requests.Response) -> None:
        location = self._published.location
        if response.status_code in NOT_PUBLISHED:
            raise SourceUnavailable(
                f"{location} was listed, but is no longer there (HTTP {response.status_code}): "
                "list the months again"
            )
        check_status(response, location)
        if is_web_page(response.headers):
            raise web_page_came(self._published)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise InvalidFile(
                f"{location} came with Content-Encoding {encoding} though the plain file was asked "
                "for, so its bytes cannot be kept as published: switch that off at the server"
            )
        size = total_bytes(response) if self._published.size_bytes is not None else None
        version = version_of(response.headers, size)
        if version != self._published.version:
            raise ChangedDuringDownload(
                f"{location} was republished between listing and fetching (version "
                f"{self._published.version}, now {version}): list the months again, then fetch"
            )

    def _restart(self, validator: str | None) -> None:
        self._validator = validator
        self._file.seek(0)
        self._file.truncate()

    def _receive(self, response: requests.Response) -> None:
        total = total_bytes(response)
        if total is None:
            total = self._published.size_bytes
        pace = Pace(self._patience, self._deadline)
        while True:
            with network_failures(self._url):
                # read1 returns what has arrived; read would wait for a full chunk out of a trickle
                chunk = response.raw.read1(_CHUNK_BYTES, decode_content=False)
            if not chunk:
                break
            self._file.write(chunk)
            if self._progress is not None:
                self._progress(self._file.tell(), total)
            pace.note(len(chunk))
        received = self._file.tell()
        if total is not None and received != total:
            raise TransientError(f"the connection ended after {received} of {total} bytes")
