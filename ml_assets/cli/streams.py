"""Standard output and error while Dagster runs a job in this process."""

import contextlib
import os
import sys
from collections.abc import Iterator

from rich.console import Console

_STANDARD_ERROR = 2


@contextlib.contextmanager
def unredirected_console() -> Iterator[Console]:
    """Open a console on the current standard error, unaffected by later redirection.

    During a step Dagster redirects standard error to a file and copies from there to the terminal,
    which loses the last lines before the end of the step.
    """
    if not _is_standard_error():  # an object in memory, which is not redirected
        yield Console(stderr=True, highlight=False)
        return
    sys.stderr.flush()
    with os.fdopen(os.dup(_STANDARD_ERROR), "w", encoding=sys.stderr.encoding) as copy:
        yield Console(file=copy, highlight=False)


@contextlib.contextmanager
def stdout_redirected() -> Iterator[None]:
    """Redirect standard output to standard error in the block, also for C libraries."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(_STANDARD_ERROR, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)


def _is_standard_error() -> bool:
    try:
        return sys.stderr.fileno() == _STANDARD_ERROR
    except (OSError, ValueError):  # an object in memory has no file descriptor
        return False
