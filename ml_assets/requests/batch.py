"""Batch prediction of a file of requests, in bounded memory."""

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
from ml_assets.requests.prediction_files import prediction_file
from ml_assets.requests.request_files import ending, length, read_chunks, require_readable
from ml_assets.requests.validate import DISTANCE, REASON, RULES, states_no_pickup
from ml_assets.storage.leftovers import in_use, remove_leftovers
from ml_assets.trips.request_columns import USUAL

Progress = Callable[[int, int], None]
"""Called with the processed part of the file and its total."""


class Scorer(Protocol):
    """Interface of a loaded model that predicts a chunk of requests."""

    @property
    def version(self) -> str:
        """Registry version."""
        ...

    def predict_or_reject(
        self,
        frame: pl.DataFrame,
        now: datetime | None = None,
        faults: Mapping[int, str] | None = None,
    ) -> pl.DataFrame:
        """Return a row for each request: ``PREDICTION_COLUMNS`` and ``reason``."""
        ...


@dataclass
class BatchSummary:
    """Summary of a batch prediction.

    Attributes:
        rows: Rows read and written.
        scored: Rows with a prediction.
        reasons: Rejected rows by the invalid field; a row with two invalid fields counts twice.
        scored_as_of: Pick-up time (New York) of requests without one.
        without_pickup_time: Rows predicted for that time.
        usual_distance: Rows predicted for the usual distance of their zones.
    """

    model_version: str
    scored_as_of: datetime
    rows: int = 0
    scored: int = 0
    without_pickup_time: int = 0
    usual_distance: int = 0
    first_reason: str | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def rejected(self) -> int:
        """Rows with a reason instead of a prediction."""
        return self.rows - self.scored

    def count(self, requests: pl.DataFrame, predictions: pl.DataFrame) -> None:
        """Add the predictions of a chunk."""
        reasons = predictions[REASON]
        rejected = reasons.drop_nulls()
        self.rows += predictions.height
        self.scored += predictions.height - len(rejected)
        self.without_pickup_time += int((states_no_pickup(requests) & reasons.is_null()).sum())
        self.usual_distance += int((predictions[DISTANCE] == USUAL).sum())
        for reason in rejected:
            fields = [part.split(" ", 1)[0] for part in reason.split("; ")]
            self.reasons.update({name if name in RULES else "row" for name in fields})
        if self.first_reason is None and len(rejected):
            self.first_reason = rejected[0]


def require_possible(
    source: Path, target: Path, *, overwrite: bool, ignored: Collection[str] = ()
) -> None:
    """Check both files before the model is loaded and rows are read.

    Raises:
        RequestFileError: A name has an unknown ending, the source is missing or lacks columns, or
            the target exists.
    """
    ending(source)
    ending(target)
    require_readable(source, ignored)
    if target.is_dir():
        raise RequestFileError(f"{target} is a folder: give a file name")
    if target.exists() and not overwrite:
        raise RequestFileError(f"{target} already exists: name another file, or use --overwrite")
    if not target.parent.is_dir():
        raise RequestFileError(f"{target.parent} is not a folder: create it first")


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
    """Predict every request of a file.

    Args:
        source: Parquet, CSV or JSON lines, by its ending.
        target: The same; written atomically.
        ignored: Columns of the requests that are not fields, whatever their name.
        now: Pick-up time of requests without one; by default the current time.

    Raises:
        RequestFileError: The source cannot be read, the target cannot be written, or no row can be
            scored; an existing target is kept.
    """
    require_possible(source, target, overwrite=overwrite, ignored=ignored)
    clock_started, total = time.perf_counter(), length(source)
    started = now or datetime.now(UTC)
    summary = BatchSummary(model.version, new_york_time(started))
    with _replacing(target) as temporary, prediction_file(temporary, target) as write:
        for chunk in read_chunks(source, ignored):
            predictions = model.predict_or_reject(chunk.requests, started, faults=chunk.faults)
            write(chunk.own, predictions)
            summary.count(chunk.requests, predictions)
            if progress is not None:
                progress(chunk.read, total)
        if summary.rows == 0:
            raise RequestFileError(f"{source} has no requests")
        if summary.scored == 0:
            raise RequestFileError(
                f"{source}: 0 of {summary.rows:,} rows can be scored, so {target.name} is not "
                f"written. The first: {printable(summary.first_reason or '')}"
            )
    summary.seconds = time.perf_counter() - clock_started
    return summary


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path; it replaces the target when the block ends without an error."""
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
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise RequestFileError(f"{target} could not be written: {reason}") from error
    finally:
        temporary.unlink(missing_ok=True)
