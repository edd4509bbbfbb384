"""A file of requests in, a file of answers out, in bounded memory however long it is."""

import glob
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from ml_assets.requests.column_names import RequestFileError, printable
from ml_assets.requests.pickup_time import new_york_time
from ml_assets.requests.prediction_files import answer_file
from ml_assets.requests.request_files import ending, length, read_chunks, require_readable
from ml_assets.requests.validate import REASON, RULES, states_no_pickup
from ml_assets.storage.leftovers import in_use, remove_leftovers

Progress = Callable[[int, int], None]
"""Told how much of the file is done, and of how much."""


class Scorer(Protocol):
    """What predicts a chunk of requests: a loaded model."""

    @property
    def version(self) -> str:
        """Registry version."""
        ...

    def predict_or_reject(
        self,
        frame: pl.DataFrame,
        now: datetime | None = None,
        scored_at: datetime | None = None,
        faults: Mapping[int, str] | None = None,
    ) -> pl.DataFrame:
        """A row for each request: ``PREDICTION_COLUMNS`` and ``reason``."""
        ...


@dataclass
class BatchSummary:
    """What became of a file.

    Attributes:
        rows: Rows read, and written.
        scored: Those that have an answer.
        reasons: Rows refused by the field that was wrong; a row with two wrong ones counts twice.
        model_version: Registry version that answered.
        seconds: How long it took.
        scored_as_of: New York time of requests that give no pick-up time.
        without_pickup_time: Rows scored as of that time.
        first_reason: Why the first refused row is refused.
    """

    model_version: str
    scored_as_of: datetime
    rows: int = 0
    scored: int = 0
    without_pickup_time: int = 0
    first_reason: str | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def refused(self) -> int:
        """Rows that have a reason instead of an answer."""
        return self.rows - self.scored

    def count(self, requests: pl.DataFrame, answers: pl.DataFrame) -> None:
        """Count the answers to a chunk."""
        reasons = answers[REASON]
        refused = reasons.drop_nulls()
        self.rows += answers.height
        self.scored += answers.height - len(refused)
        self.without_pickup_time += int((states_no_pickup(requests) & reasons.is_null()).sum())
        for reason in refused:
            fields = [part.split(" ", 1)[0] for part in reason.split("; ")]
            self.reasons.update({name if name in RULES else "row" for name in fields})
        if self.first_reason is None and len(refused):
            self.first_reason = refused[0]


def require_possible(
    source: Path, target: Path, *, overwrite: bool, ignored: Collection[str] = ()
) -> None:
    """Refuse what cannot end well, before anything is loaded or read.

    Raises:
        RequestFileError: when a name does not end as it should, when there is no file of requests
            with the columns of one, or when the file of answers is there already.
    """
    ending(source)
    ending(target)
    require_readable(source, ignored)
    if target.is_dir():
        raise RequestFileError(f"{target} is a folder: name a file")
    if target.exists() and not overwrite:
        raise RequestFileError(f"{target} is there already: name another file, or --overwrite it")
    if not target.parent.is_dir():
        raise RequestFileError(f"{target.parent} is no folder: make it first")


def predict_file(
    model: Scorer,
    source: Path,
    target: Path,
    *,
    overwrite: bool = False,
    ignored: Collection[str] = (),
    progress: Progress | None = None,
    now: datetime | None = None,
) -> BatchSummary:
    """Answer every request of a file.

    Args:
        model: What predicts.
        source: Parquet, CSV or JSON lines, by its ending.
        target: The same; it appears when it is whole.
        overwrite: Whether it may take the place of another file.
        ignored: Columns of the requests that are no field, whatever they are called.
        progress: Told after every chunk.
        now: The pick-up time of requests that state none; by default the present, once for all.

    Raises:
        RequestFileError: when the one cannot be read or the other not be written, or when no row
            can be scored; what was there before stays.
    """
    require_possible(source, target, overwrite=overwrite, ignored=ignored)
    begun, whole = time.perf_counter(), length(source)
    started = now or datetime.now(UTC)
    summary = BatchSummary(model.version, new_york_time(started))
    with _replacing(target) as temporary, answer_file(temporary, target) as write:
        for chunk in read_chunks(source, ignored):
            answers = model.predict_or_reject(chunk.requests, started, faults=chunk.faults)
            write(chunk.own, answers)
            summary.count(chunk.requests, answers)
            if progress is not None:
                progress(chunk.read, whole)
        if summary.rows == 0:
            raise RequestFileError(f"{source} holds no requests")
        if summary.scored == 0:
            raise RequestFileError(
                f"{source}: 0 of {summary.rows:,} rows can be scored, so {target.name} is not "
                f"written. The first: {printable(summary.first_reason or '')}"
            )
    summary.seconds = time.perf_counter() - begun
    return summary


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A temporary name beside the target, which it gets when the block ends without an error."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        remove_leftovers(target.parent, f".{glob.escape(target.name)}.*.tmp")
        temporary.touch(exist_ok=False)
        with in_use(temporary):
            yield temporary
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(target)
    except OSError as error:
        told = os.strerror(error.errno) if error.errno else str(error)
        raise RequestFileError(f"{target} could not be written: {told}") from error
    finally:
        temporary.unlink(missing_ok=True)
