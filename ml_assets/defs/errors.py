"""Errors in Dagster: failures by month, causes below Dagster's wrappers, and secrets removed.

A step that processes several months continues after one has failed.
"""

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
import polars as pl
from dagster_shared.error import SerializableErrorInfo

from ml_assets.ingestion.source import SourceUnavailable
from ml_assets.secrets import MAX_LOG_CHARACTERS, error_text, one_line, scrub, scrub_logs, shortened
from ml_assets.storage.atomic import DISK_FULL, StorageError
from ml_assets.training.windows import span
from ml_assets.trips.month import Month

ERRORS = (Exception, pl.exceptions.PanicException)
"""Exceptions of a month's data; a panic inside Polars is not an ``Exception``."""

_MIN_CHARACTERS = 150
_MAX_CHARACTERS_OF_ALL = 15_000
"""Maximum length of a message; the log has each failure in full. Dagster's storage keeps 20,000."""


class MonthFailures:
    """Collects the failures and the metadata of the months of a step.

    Args:
        months: The months of the step, in order.
        done: Participle for messages, such as ``ingested`` or ``stored``.
        log: Logger of each failure; errors from outside this project with their traceback.
    """

    def __init__(self, months: Sequence[Month], done: str, log: logging.Logger) -> None:
        self._months = months
        self._done = done
        self._log = log
        self.errors: dict[Month, BaseException] = {}
        self.metadata: dict[Month, Mapping[str, Any]] = {}
        """Metadata of the successful months."""
        self.stopped = False
        """Whether to skip the remaining months: the home cannot be written."""

    @contextmanager
    def of(self, month: Month) -> Iterator[None]:
        """Record an exception of the block as the failure of this month."""
        try:
            yield
        except ERRORS as error:
            self.errors[month] = error
            self._log.error(
                f"{month}: {describe_error(error)}", exc_info=None if _is_known(error) else error
            )
            # A full disk has no space for the next month either.
            self.stopped = isinstance(error, StorageError) or (
                isinstance(error, OSError) and error.errno in DISK_FULL
            )

    def message(self, kept: Sequence[Month]) -> str:
        """Return one line on each failed month and on the others.

        Args:
            kept: Months that are now stored; a successful month may have no file.
        """
        count = f"{len(self.errors)} of {len(self._months)} months could not be {self._done}"
        room = max(_MIN_CHARACTERS, _MAX_CHARACTERS_OF_ALL // len(self.errors))
        parts = [
            f"{month}: {shortened(describe_error(error), room)}"
            for month, error in self.errors.items()
        ]
        tried = {*self.errors, *self.metadata}
        if untried := [month for month in self._months if month not in tried]:
            parts.append(f"not tried: {span(untried)}")
        if kept:
            parts.append(f"{self._done} and kept: {span(list(kept))}")
            without = ",".join(str(month) for month in self.errors)
            parts.append(f"to go on without: `ml-assets run … --exclude {without}`")
        return f"{count}: {' | '.join(parts)}"

    def cause(self) -> BaseException:
        """Return the error to chain: a transient one if there is any, else the first."""
        transient = (SourceUnavailable, OSError)
        return min(self.errors.values(), key=lambda error: not isinstance(error, transient))


def describe_error(error: BaseException) -> str:
    """Return an error's message in one bounded line, with its type for errors of other packages."""
    if _is_known(error):
        return one_line(scrub(str(error)))
    return error_text(error) if str(error) else type(error).__name__


def _is_known(error: BaseException) -> bool:
    """Whether the message is understandable: by this project or by the operating system."""
    own = type(error).__module__.startswith("ml_assets.")
    return own or isinstance(error, dg.Failure | OSError)


def root_cause(error: Any) -> Any:
    """Return the ``SerializableErrorInfo`` below Dagster's own wrappers; None for None."""
    while error is not None and error.cause and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return error


def scrub_errors() -> None:
    """Scrub all further errors and log records that Dagster stores for this process.

    For a failed step, a failed tick and a code location that does not load, Dagster stores the
    message and stack of the error and of all its causes, including those of fsspec and MLflow,
    which hold the address as given. Its only setting (``DAGSTER_REDACT_USER_CODE_ERRORS``) removes
    everything, so the one method that makes such a record is wrapped. Check it first after an
    upgrade (``test_secrets.py`` reads the database).
    """
    scrub_logs()
    made_by: Any = SerializableErrorInfo.from_traceback
    make = made_by.__func__
    if getattr(make, "scrubs", False):
        return

    def from_traceback(
        cls: type[SerializableErrorInfo], trace: traceback.TracebackException
    ) -> SerializableErrorInfo:
        """Make the record of an error; Dagster calls this for each of its causes as well."""
        error: SerializableErrorInfo = make(cls, trace)
        return error._replace(
            message=scrub(error.message, limit=MAX_LOG_CHARACTERS),
            stack=[scrub(frame) for frame in error.stack],
        )

    from_traceback.scrubs = True  # type: ignore[attr-defined]
    wrapped: Any = classmethod(from_traceback)
    SerializableErrorInfo.from_traceback = wrapped  # type: ignore[method-assign]
