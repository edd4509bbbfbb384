"""A file of requests in, a file of answers out, in bounded memory however long it is."""

import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from ml_assets.predictions.answer_files import answer_file
from ml_assets.predictions.request_files import Chunk, RequestFileError, ending, length, read_chunks
from ml_assets.predictions.scoring import ANSWER_TYPES, REASON, Model
from ml_assets.trips.requests import RULES

Progress = Callable[[int, int], None]
"""Told how much of the file is done, and of how much."""


@dataclass
class BatchSummary:
    """What became of a file.

    Attributes:
        rows: Rows read, and written.
        scored: Those that have an answer.
        reasons: Rows refused by the field that was wrong; a row with two wrong ones counts twice.
        model_version: Registry version that answered.
        seconds: How long it took.
    """

    model_version: str
    rows: int = 0
    scored: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def refused(self) -> int:
        """Rows that have a reason instead of an answer."""
        return self.rows - self.scored

    def count(self, answers: pl.DataFrame) -> None:
        """Count the answers to a chunk."""
        refused = answers[REASON].drop_nulls()
        self.rows += answers.height
        self.scored += answers.height - len(refused)
        for reason in refused:
            fields = [part.split(" ", 1)[0] for part in reason.split("; ")]
            self.reasons.update({name if name in RULES else "row" for name in fields})


def require_possible(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse what cannot end well, before anything is loaded or read.

    Raises:
        RequestFileError: when a name does not end as it should, when there is no such file of
            requests, or when the file of answers is there already.
    """
    ending(source)
    ending(target)
    length(source)
    if target.is_dir():
        raise RequestFileError(f"{target} is a folder: name a file")
    if target.exists() and not overwrite:
        raise RequestFileError(f"{target} is there already: name another file, or --overwrite it")
    if not target.parent.is_dir():
        raise RequestFileError(f"{target.parent} is no folder: make it first")


def predict_file(
    model: Model,
    source: Path,
    target: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> BatchSummary:
    """Answer every request of a file.

    Args:
        model: What predicts.
        source: Parquet, CSV or JSON lines, by its ending.
        target: The same; it appears when it is whole.
        overwrite: Whether it may take the place of another file.
        progress: Told after every chunk.
        now: The pick-up time of requests that state none; by default the present, once for all.

    Raises:
        RequestFileError: when the one cannot be read or the other not be written; what was there
            before stays.
    """
    require_possible(source, target, overwrite=overwrite)
    begun, whole = time.perf_counter(), length(source)
    started = now or datetime.now(UTC)
    summary = BatchSummary(model.version)
    with _replacing(target) as temporary, answer_file(temporary, target) as write:
        for chunk in read_chunks(source):
            answers = _answers(model, chunk, started)
            write(chunk.own, answers)
            summary.count(answers)
            if progress is not None:
                progress(chunk.read, whole)
        if summary.rows == 0:
            raise RequestFileError(f"{source} holds no requests")
    summary.seconds = time.perf_counter() - begun
    return summary


def _answers(model: Model, chunk: Chunk, now: datetime) -> pl.DataFrame:
    answers = model.answers_or_reasons(chunk.requests, now)
    if not chunk.faults:
        return answers
    told = pl.Series([chunk.faults.get(row) for row in range(answers.height)], dtype=pl.String)
    empty = {name: pl.when(told.is_null()).then(pl.col(name)) for name in ANSWER_TYPES}
    return answers.with_columns(**empty, reason=told.fill_null(answers[REASON]))


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A temporary name beside the target, which it gets when the block ends without an error."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    except OSError as error:
        told = os.strerror(error.errno) if error.errno else str(error)
        raise RequestFileError(f"{target} could not be written: {told}") from error
    finally:
        temporary.unlink(missing_ok=True)
