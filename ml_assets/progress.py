"""Progress events of a run, reported by its steps to a caller in the same process that watches.

A step of an asset graph has no parameter for its caller's screen; a context variable reaches it
where both run in one process, and is not set anywhere else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ml_assets.trips.month import Month


@dataclass(frozen=True)
class Transfer:
    """Bytes of a month so far, and in all where the source says it."""

    month: Month
    done: int
    total: int | None


@dataclass(frozen=True)
class TrialEnded:
    """A tuning trial of a model asset ended; without an error when it was pruned or failed."""

    asset: str
    rmse: float | None


@dataclass(frozen=True)
class MonthsTested:
    """Months that the backtest has evaluated, of all that it is to evaluate."""

    done: int
    total: int


ProgressEvent = Transfer | TrialEnded | MonthsTested
Watch = Callable[[ProgressEvent], None]

_watch: ContextVar[Watch | None] = ContextVar("progress_watch", default=None)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Call ``watch`` with every event that is reported inside the block."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def report(event: ProgressEvent) -> None:
    """Report an event; without a watcher nothing happens."""
    watch = _watch.get()
    if watch is not None:
        watch(event)


def transfer_of(month: Month) -> Callable[[int, int | None], None] | None:
    """What ``TripSource.fetch`` reports a month's bytes to; None without a watcher."""
    if _watch.get() is None:
        return None
    return lambda done, total: report(Transfer(month, done, total))
