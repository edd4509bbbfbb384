"""Standard output and error while Dagster runs a job in this process."""

import contextlib
import os
import sys
from collections.abc import Iterator

from rich.console import Console

_STANDARD_ERROR = 2


@contextlib.contextmanager
def unredirected_console() -> Iterator[Console]:
    """A console on standard error as it is now, whatever becomes of it meanwhile.

    During a step Dagster sends standard error to a file and copies from there to the terminal, and
    the lines just before the step ends get lost on the way.
    """
    if not _is_standard_error():  # replaced by an object in memory: nobody redirects that
        yield Console(stderr=True, highlight=False)
        return
    sys.stderr.flush()
    with os.fdopen(os.dup(_STANDARD_ERROR), "w", encoding=sys.stderr.encoding) as copy:
        yield Console(file=copy, highlight=False)


@contextlib.contextmanager
def stdout_redirected() -> Iterator[None]:
    """Send whatever writes to standard output meanwhile to standard error, C libraries included."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(_STANDARD_ERROR, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _is_standard_error() -> bool:
    try:
        return sys.stderr.fileno() == _STANDARD_ERROR
    except (OSError, ValueError):  # how an object in memory says that it has no such number
        return False
