"""Writing the request log: one line per online prediction, written by a background thread.

A line holds the request's fields, the prediction, its model version, latency and request id, and
nothing about the client. The number of dropped predictions is logged too; only a process that is
killed loses up to ``BATCH_SECONDS`` of predictions without a record.
"""

import io
import logging
import os
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy.typing as npt
import orjson
import polars as pl

from ml_assets.pipeline.predict import Predictions
from ml_assets.requests.validate import DISTANCE, DISTANCE_MILES
from ml_assets.serving.request_log.files import (
    MAX_BYTES,
    MAX_DAYS,
    PART_BYTES,
    append,
    day_file,
    remove_excess,
    remove_old,
    restrict,
)
from ml_assets.trips.request_columns import REQUEST_COLUMNS, STATED, USUAL
from ml_assets.trips.target import TARGET

CAPACITY: Final = 100_000
"""Maximum number of queued predictions: about 10 MB for lists, 100 MB for single requests."""

BATCH_SECONDS: Final = 0.2
"""Time for which the writer collects lines for one write."""

RETRY_SECONDS: Final = 1.0
"""Delay before a failed write is tried again."""

DROPPED: Final = "dropped"
"""Field with the number of predictions that could not be logged."""

_ERROR = "predictions cannot be written to the request log, and are counted as dropped"
_MAX_LINES = 1_000
_YIELD_LINES = 250
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z
_LOGGER = logging.getLogger(__name__)


class LoggedRequest(NamedTuple):
    """A request with one prediction, or a list of them.

    Attributes:
        latency_milliseconds: Time from the complete request to the response.
        requests: Tuples in the order of ``REQUEST_COLUMNS``, or arrays by these names; must not be
            modified afterwards.
        predictions: One for each request, in their order.
    """

    request_id: str
    answered_at: datetime
    model_version: str
    latency_milliseconds: float
    requests: Sequence[tuple[Any, ...]] | Mapping[str, npt.NDArray[Any]]
    predictions: Predictions


class RequestLog:
    """Appends predictions to JSON lines in a background thread.

    A full, slow or missing disk does not delay requests: the queue is bounded, predictions that do
    not fit are counted as dropped, and failed writes are tried again. At any time, predictions
    added = written + dropped + queued. At the start and on each new day, files that are older than
    ``max_days`` are removed. Then and after each full file, the oldest files are removed until all
    files have at most ``max_bytes``.
    """

    def __init__(
        self,
        folder: Path,
        capacity: int = CAPACITY,
        *,
        max_days: int = MAX_DAYS,
        max_bytes: int = MAX_BYTES,
        part_bytes: int = PART_BYTES,
        writer: str | None = None,
    ) -> None:
        """Start the thread.

        Args:
            capacity: Maximum number of queued predictions.
            max_days: Files of older days are removed.
            max_bytes: Size of all files above which the oldest are removed.
            part_bytes: Size at which a new file is started.
            writer: Name of this process in its file names; by default a unique name.
        """
        self.folder = folder
        self.writer = writer or f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._capacity, self._max_days = capacity, max_days
        self._max_bytes, self._part_bytes = max_bytes, part_bytes
        self._part = 0
        self._lock = threading.Lock()  # protects the counts; not held while writing
        self._wake, self._closing = threading.Event(), threading.Event()
        self._queue: deque[LoggedRequest] = deque()
        self._queued = self._written = self._dropped = 0
        self._recorded_drops = 0
        self._lines: deque[tuple[date, bytes]] = deque()
        self._torn: set[Path] = set()
        self._failing = self._error_logged = False
        self._today: date | None = None
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self._thread.start()

    @property
    def written(self) -> int:
        """Number of predictions written."""
        return self._written

    @property
    def dropped(self) -> int:
        """Number of predictions that are not written and will not be."""
        with self._lock:
            return self._dropped + (self._queued if self._closing.is_set() else 0)

    def add(self, request: LoggedRequest) -> None:
        """Queue predictions; takes microseconds, however many there are."""
        count = len(request.predictions.minutes)
        with self._lock:
            if self._closing.is_set() or self._queued + count > self._capacity:
                self._dropped += count
            else:
                self._queued += count
                self._queue.append(request)
        self._wake.set()

    def close(self, seconds: float) -> None:
        """Write queued predictions for at most this time, and drop the rest."""
        with self._lock:
            self._closing.set()
        self._wake.set()
        self._thread.join(seconds)
        if dropped := self.dropped:
            _LOGGER.warning("%d predictions are not in the request log %s", dropped, self.folder)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            closing = self._closing.wait(BATCH_SECONDS)
            self._remove_old()
            while self._serialize():
                if self._write_or_drop():
                    continue
                if self._closing.is_set():
                    return
                self._closing.wait(RETRY_SECONDS)
            if closing:
                return

    def _serialize(self) -> bool:
        """Serialize queued predictions up to a number of lines.

        Returns:
            Whether there is something to write.
        """
        while len(self._lines) < _MAX_LINES and self._queue:
            request = self._queue.popleft()
            lines = len(self._lines)
            try:
                day = request.answered_at.astimezone(UTC).date()
                for line in _serialize_lines(request):
                    self._lines.append((day, line))
                    if len(self._lines) % _YIELD_LINES == 0:
                        self._closing.wait(0.0005)  # lets the event loop run
            except Exception:
                if self._is_first_error():
                    _LOGGER.exception(_ERROR)
            self._count_dropped(len(request.predictions.minutes) - (len(self._lines) - lines))
        return bool(self._lines) or self._dropped > self._recorded_drops

    def _write_or_drop(self) -> bool:
        """Write lines; drop them after an error that is not the disk's."""
        try:
            return self._write()
        except Exception:
            if self._is_first_error():
                _LOGGER.exception(_ERROR)
            self._count_dropped(len(self._lines))
            self._lines.clear()
            return False

    def _write(self) -> bool:
        """Write lines of one day; returns whether all were written."""
        day = self._lines[0][0] if self._lines else datetime.now(UTC).date()
        same_day = takewhile(lambda line: line[0] == day, islice(self._lines, _MAX_LINES))
        lines = [line for _, line in same_day]
        dropped, recorded = self._dropped, self._recorded_drops
        drops = [_dropped_line(dropped - recorded)] if dropped > recorded else []
        path = day_file(self.folder, day, self.writer, self._part)
        result = append(path, [*drops, *lines], after_torn=path in self._torn)
        (self._torn.add if result.torn else self._torn.discard)(path)
        if result.lines and drops:
            self._recorded_drops = dropped
        written = max(result.lines - len(drops), 0)
        for _ in range(written):
            self._lines.popleft()
        with self._lock:
            self._written += written
            self._queued -= written
        self._set_failing(result.error)
        if result.size >= self._part_bytes:
            self._part += 1
            self._remove_excess()
        return result.error is None

    def _count_dropped(self, count: int) -> None:
        with self._lock:
            self._dropped += count
            self._queued -= count

    def _set_failing(self, error: OSError | None) -> None:
        """Log when writes begin to fail, and when they succeed again."""
        if error is not None and not self._failing:
            _LOGGER.warning(
                "the request log cannot be written; requests are still served: %s", error
            )
        elif error is None and self._failing:
            _LOGGER.warning(
                "the request log is written again; %d predictions were dropped", self._dropped
            )
        self._failing = error is not None

    def _is_first_error(self) -> bool:
        """Whether no such error was logged before."""
        first, self._error_logged = not self._error_logged, True
        return first

    def _remove_old(self) -> None:
        today = datetime.now(UTC).date()
        if today == self._today:
            return
        self._today = today
        try:
            remove_old(self.folder, today, self._max_days)
            restrict(self.folder)
        except OSError as error:
            _LOGGER.warning("cannot remove old files of the request log: %s", error)
        self._remove_excess()

    def _remove_excess(self) -> None:
        try:
            removed = remove_excess(self.folder, self._max_bytes)
        except OSError as error:
            _LOGGER.warning("cannot reduce the size of the request log: %s", error)
            return
        if removed:
            _LOGGER.warning(
                "the request log had more than %.1f GB: its %d oldest files are removed",
                self._max_bytes / 1e9,
                removed,
            )


def _serialize_lines(request: LoggedRequest) -> Iterator[bytes]:
    shared = {
        "request_id": request.request_id,
        "answered_at": request.answered_at,
        "model_version": request.model_version,
        "latency_milliseconds": request.latency_milliseconds,
    }
    if isinstance(request.requests, Mapping):
        yield from _serialize_columns(shared, request.requests, request.predictions)
        return
    rows = zip(request.requests, request.predictions.rows(), strict=True)
    for position, (fields, prediction) in enumerate(rows):
        line = {
            **shared,
            "position": position,
            **dict(zip(REQUEST_COLUMNS, fields, strict=True)),
            **prediction,
        }
        yield orjson.dumps(line, option=_OPTIONS)


def _serialize_columns(
    shared: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]], predictions: Predictions
) -> Iterator[bytes]:
    """Yield the same lines for the columns of a list; Polars releases Python's lock."""
    start = orjson.dumps(shared, option=orjson.OPT_UTC_Z)[:-1] + b","
    values: dict[str, Any] = {name: columns[name] for name in REQUEST_COLUMNS}
    values |= dict(zip(TARGET.prediction_fields, predictions.columns, strict=True))
    values |= {DISTANCE: predictions.stated, DISTANCE_MILES: predictions.miles}
    stated = pl.when(pl.col(DISTANCE)).then(pl.lit(STATED)).otherwise(pl.lit(USUAL))
    frame = (
        pl.DataFrame(values, nan_to_null=True)
        .with_columns(
            pl.col("PULocationID", "DOLocationID").cast(pl.Int64),
            pl.col("pickup_datetime").dt.to_string("%Y-%m-%dT%H:%M:%S%.f"),
            stated.alias(DISTANCE),
        )
        .with_row_index("position")
    )
    for part in frame.iter_slices(_YIELD_LINES):
        lines = io.BytesIO()
        part.write_ndjson(lines)
        for line in lines.getvalue().splitlines(keepends=True):
            yield start + line[1:]


def _dropped_line(count: int) -> bytes:
    return orjson.dumps({DROPPED: count, "at": datetime.now(UTC)}, option=_OPTIONS)
