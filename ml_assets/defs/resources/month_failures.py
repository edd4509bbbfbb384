"""What failed in a step that works on several months, month by month: the others go on."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
import polars as pl

from ml_assets.ingestion.source import SourceUnavailable
from ml_assets.secrets import error_text, one_line, scrub, shortened
from ml_assets.storage.atomic import DISK_FULL, StorageError
from ml_assets.training.windows import span
from ml_assets.trips.month import Month

ERRORS = (Exception, pl.exceptions.PanicException)
"""What a month's data can raise; a panic inside Polars is no ``Exception``."""

_MIN_CHARACTERS = 150
_MAX_CHARACTERS_OF_ALL = 15_000
"""Of all failures in one message; each is in the log in full. Dagster's storage keeps 20,000."""


class MonthFailures:
    """Collects the failure of each month of a step, and what became of the other months.

    Args:
        months: All months of the step, in order.
        done: What is done to a month, as a participle for messages: ``ingested``, ``stored``.
        log: Where each failure goes at once, with its traceback where it is not of this project.
    """

    def __init__(self, months: Sequence[Month], done: str, log: logging.Logger) -> None:
        self._months = months
        self._done = done
        self._log = log
        self.errors: dict[Month, BaseException] = {}
        self.metadata: dict[Month, Mapping[str, Any]] = {}
        """Of the months that went well."""
        self.stopped = False
        """Whether to leave the months that come: the home cannot be written."""

    @contextmanager
    def of(self, month: Month) -> Iterator[None]:
        """Note whatever the block raises as the failure of this month."""
        try:
            yield
        except ERRORS as error:
            self.errors[month] = error
            self._log.error(
                f"{month}: {describe_error(error)}", exc_info=None if _is_known(error) else error
            )
            # A disk without room has none for the next month.
            self.stopped = isinstance(error, StorageError) or (
                isinstance(error, OSError) and error.errno in DISK_FULL
            )

    def message(self, kept: Sequence[Month]) -> str:
        """Return one line that names each failed month, and what became of the others.

        Args:
            kept: Months that are stored now; a month that went well may have had no file.
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
        """Return the failure to chain: one that may pass if there is any, else the first."""
        passing = (SourceUnavailable, OSError)
        return min(self.errors.values(), key=lambda error: not isinstance(error, passing))


def describe_error(error: BaseException) -> str:
    """Return an error's own words in one bounded line, with its type where it is a foreign one."""
    if _is_known(error):
        return one_line(scrub(str(error)))
    return error_text(error) if str(error) else type(error).__name__


def _is_known(error: BaseException) -> bool:
    """Whether the message was written for people: by this project, or by the operating system."""
    own = type(error).__module__.startswith("ml_assets.")
    return own or isinstance(error, dg.Failure | OSError)
