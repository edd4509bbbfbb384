"""Who watches transfers: set around a run by a caller with a screen, told by the step that fetches.

A step of an asset graph has no parameter for its caller's screen; a context variable reaches it
where both run in one process, and is simply not set anywhere else.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ml_assets.ingestion.source import Progress
from ml_assets.trips.month import Month

TransferWatch = Callable[[Month, int, int | None], None]
"""Called with the month, the bytes so far, and the bytes in all where the source tells them."""

_watch: ContextVar[TransferWatch | None] = ContextVar("transfer_watch", default=None)


@contextmanager
def transfer_progress(watch: TransferWatch) -> Iterator[None]:
    """Tell ``watch`` of every transfer inside the block."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def progress_of(month: Month) -> Progress | None:
    """What to tell of a month's transfer, for ``TripSource.fetch``; None while nobody watches."""
    watch = _watch.get()
    return None if watch is None else functools.partial(watch, month)
