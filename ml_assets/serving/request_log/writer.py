"""The request log: each online prediction as a line, written off the request's path.

A line holds the request's fields, the answer, its version, latency and id, and nothing about who
asked. How many answers could not be kept is a line as well, so that a reader knows it too; only a
process that is killed takes up to ``GATHER_SECONDS`` of answers with it untold.
"""

import logging
import os
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from ml_assets.serving.request_log.files import (
    KEPT_BYTES,
    KEPT_DAYS,
    PART_BYTES,
    append,
    day_file,
    remove_before,
    remove_beyond,
    restrict,
)
from ml_assets.trips.rules import REQUEST_COLUMNS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

CAPACITY: Final = 100_000
"""So many answers wait at most: of lists that is about 10 MB, of single requests 100 MB."""

GATHER_SECONDS: Final = 0.2
"""So long the writer gathers lines for one write."""

RETRY_SECONDS: Final = 1.0
"""So long it waits for a disk that has failed."""

DROPPED: Final = "dropped"
"""The field of a line that counts answers of which there is no line."""

_FAULT = "answers cannot be written to the request log, and are counted as lost"
_MAX_LINES = 1_000
_YIELD_LINES = 250
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z
_LOGGER = logging.getLogger(__name__)


class Answered(NamedTuple):
    """A request with one prediction or a list of them, answered together.

    Attributes:
        request_id: As it was answered.
        answered_at: An instant, in UTC.
        model_version: Registry version.
        latency_milliseconds: From the whole request read to the answer made.
        requests: Tuples in the order of ``REQUEST_COLUMNS``, or arrays by those names; whoever
            hands them over changes them no more.
        minutes: Predicted, one for each request.
        lower: Bounds of the intervals; None where the model has none.
        upper: Likewise.
    """

    request_id: str
    answered_at: datetime
    model_version: str
    latency_milliseconds: float
    requests: "Sequence[tuple[Any, ...]] | Mapping[str, npt.NDArray[Any]]"
    minutes: "Sequence[float] | FloatArray"
    lower: "Sequence[float] | FloatArray | None" = None
    upper: "Sequence[float] | FloatArray | None" = None


class RequestLog:
    """Appends answers to JSON lines in a thread of its own.

    A disk that is full, slow or gone costs whoever answers nothing: what waits is bounded, what
    does not fit is counted, and the thread tries again until the disk is back. At any time, answers
    added = written + lost + those that wait. At its start and at each new day the thread removes
    files of more than ``kept_days`` ago, and the oldest ones when all together have more than
    ``kept_bytes``; of the latter it looks again whenever it has filled a file.
    """

    def __init__(
        self,
        folder: Path,
        capacity: int = CAPACITY,
        *,
        kept_days: int = KEPT_DAYS,
        kept_bytes: int = KEPT_BYTES,
        part_bytes: int = PART_BYTES,
        writer: str | None = None,
    ) -> None:
        """Start the thread.

        Args:
            folder: Where the files go; made when there is something to write.
            capacity: Answers that wait at most.
            kept_days: Files of older days are removed.
            kept_bytes: Of all files together, beyond which the oldest are removed.
            part_bytes: Size at which a file is continued in another one.
            writer: Name of this process in the names of its files; by default one that no other
                process has.
        """
        self.folder = folder
        self.writer = writer or f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._capacity, self._kept_days = capacity, kept_days
        self._kept_bytes, self._part_bytes = kept_bytes, part_bytes
        self._part = 0
        self._lock = threading.Lock()  # around counts alone, never while writing
        self._something, self._closing = threading.Event(), threading.Event()
        self._queue: deque[Answered] = deque()
        self._waiting = self._written = self._lost = 0
        self._reported = 0
        self._lines: deque[tuple[date, bytes]] = deque()
        self._torn: set[Path] = set()
        self._failing = self._faulty = False
        self._today: date | None = None
        self._thread = threading.Thread(target=self._work, name="request-log", daemon=True)
        self._thread.start()

    @property
    def written(self) -> int:
        """Answers that are in a file."""
        return self._written

    @property
    def lost(self) -> int:
        """Answers that are in no file and will be in none."""
        with self._lock:
            return self._lost + (self._waiting if self._closing.is_set() else 0)

    def add(self, answered: Answered) -> None:
        """Hand over answers; takes microseconds however many they are, whatever the disk does."""
        count = len(answered.minutes)
        with self._lock:
            if self._closing.is_set() or self._waiting + count > self._capacity:
                self._lost += count
            else:
                self._waiting += count
                self._queue.append(answered)
        self._something.set()

    def close(self, seconds: float) -> None:
        """Write what waits, for so long at most; what is not written by then is lost."""
        with self._lock:
            self._closing.set()
        self._something.set()
        self._thread.join(seconds)
        if self.lost:
            _LOGGER.warning("%d answers are not in the request log %s", self.lost, self.folder)

    def _work(self) -> None:
        while True:
            self._something.wait()
            self._something.clear()
            closing = self._closing.wait(GATHER_SECONDS)
            self._remove_old()
            while self._serialise():
                if self._write_or_drop():
                    continue
                if self._closing.is_set():
                    return
                self._closing.wait(RETRY_SECONDS)
            if closing:
                return

    def _serialise(self) -> bool:
        """Make lines of some that wait, unless there are lines; whether there is work to do."""
        while len(self._lines) < _MAX_LINES and self._queue:
            answered = self._queue.popleft()
            lines = len(self._lines)
            try:
                day = answered.answered_at.astimezone(UTC).date()
                for line in _lines_of(answered):
                    self._lines.append((day, line))
                    if len(self._lines) % _YIELD_LINES == 0:
                        self._closing.wait(0.0005)  # whoever answers gets the interpreter
            except Exception:
                if self._first_fault():
                    _LOGGER.exception(_FAULT)
            self._count_lost(len(answered.minutes) - (len(self._lines) - lines))
        return bool(self._lines) or self._lost > self._reported

    def _write_or_drop(self) -> bool:
        """Write; what fails for another reason than the disk is lost, and the thread goes on."""
        try:
            return self._write()
        except Exception:
            if self._first_fault():
                _LOGGER.exception(_FAULT)
            self._count_lost(len(self._lines))
            self._lines.clear()
            return False

    def _write(self) -> bool:
        """Write lines of one day; False when something stopped it."""
        day = self._lines[0][0] if self._lines else datetime.now(UTC).date()
        same_day = takewhile(lambda line: line[0] == day, islice(self._lines, _MAX_LINES))
        lines = [line for _, line in same_day]
        lost = self._lost
        loss_lines = [_lost_line(lost - self._reported)] if lost > self._reported else []
        path = day_file(self.folder, day, self.writer, self._part)
        done = append(path, [*loss_lines, *lines], after_torn=path in self._torn)
        (self._torn.add if done.torn else self._torn.discard)(path)
        if done.lines and loss_lines:
            self._reported = lost
        written = max(done.lines - len(loss_lines), 0)
        for _ in range(written):
            self._lines.popleft()
        with self._lock:
            self._written += written
            self._waiting -= written
        self._log_error(done.error)
        if done.size >= self._part_bytes:
            self._part += 1
            self._remove_beyond()
        return done.error is None

    def _count_lost(self, count: int) -> None:
        with self._lock:
            self._lost += count
            self._waiting -= count

    def _log_error(self, error: OSError | None) -> None:
        """Log when writing begins to fail, and when it works again."""
        if error is not None and not self._failing:
            _LOGGER.warning("the request log cannot be written, answers go on: %s", error)
        elif error is None and self._failing:
            _LOGGER.warning("the request log is written again; %d answers are lost", self._lost)
        self._failing = error is not None

    def _first_fault(self) -> bool:
        """Whether no error but the disk's was met before; the first alone is logged."""
        first, self._faulty = not self._faulty, True
        return first

    def _remove_old(self) -> None:
        today = datetime.now(UTC).date()
        if today == self._today:
            return
        self._today = today
        try:
            remove_before(self.folder, today, self._kept_days)
            restrict(self.folder)
        except OSError as error:
            _LOGGER.warning("old files of the request log stay as they are: %s", error)
        self._remove_beyond()

    def _remove_beyond(self) -> None:
        try:
            removed = remove_beyond(self.folder, self._kept_bytes)
        except OSError as error:
            _LOGGER.warning("the request log stays larger than it may be: %s", error)
            return
        if removed:
            _LOGGER.warning(
                "the request log had more than %.1f GB: its %d oldest files are removed",
                self._kept_bytes / 1e9,
                removed,
            )


def _lines_of(answered: Answered) -> Iterator[bytes]:
    shared = {
        "request_id": answered.request_id,
        "answered_at": answered.answered_at,
        "model_version": answered.model_version,
        "latency_milliseconds": answered.latency_milliseconds,
    }
    minutes = _plain(answered.minutes)
    none = [None] * len(minutes)
    lower = none if answered.lower is None else _plain(answered.lower)
    upper = none if answered.upper is None else _plain(answered.upper)
    rows = zip(_rows(answered.requests), minutes, lower, upper, strict=True)
    for position, (request, predicted, low, high) in enumerate(rows):
        line = {
            **shared,
            "position": position,
            **dict(zip(REQUEST_COLUMNS, request, strict=True)),
            "predicted_minutes": predicted,
            "lower_minutes": low,
            "upper_minutes": high,
        }
        yield orjson.dumps(line, option=_OPTIONS)


def _rows(
    requests: "Sequence[tuple[Any, ...]] | Mapping[str, npt.NDArray[Any]]",
) -> Iterable[tuple[Any, ...]]:
    if not isinstance(requests, Mapping):
        return requests
    pickup, dropoff, *others = (requests[name] for name in REQUEST_COLUMNS)
    zones = [zone.astype("int64").tolist() for zone in (pickup, dropoff)]
    return zip(*zones, *(column.tolist() for column in others), strict=True)


def _plain(values: "Sequence[float] | FloatArray") -> Sequence[float]:
    """A list of plain numbers, which is far quicker to go through than an array."""
    return values.tolist() if hasattr(values, "tolist") else values


def _lost_line(count: int) -> bytes:
    return orjson.dumps({DROPPED: count, "at": datetime.now(UTC)}, option=_OPTIONS)
