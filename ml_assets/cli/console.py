"""Consoles: standard output and error while Dagster runs a job in this process, and tables."""

import contextlib
import os
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

_STANDARD_ERROR = 2


def plain_console() -> Console:
    """Return a console that prints text as it is: without markup, highlights and wrapped lines."""
    return Console(highlight=False, markup=False, soft_wrap=True)


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


_ANY_WIDTH = 10_000
_MARGIN = 3
"""Characters around a column: two spaces and a rule."""


def print_table(console: Console, table: Table) -> None:
    """Print a table with all its figures; in a narrow window its lines are wrapped.

    Rich would truncate the cells. Headers of two words take two lines.
    """
    for column in table.columns:
        words = str(column.header).split(" ")
        column.header = "\n".join(words) if len(words) == 2 else column.header
        column.no_wrap = True
    needed = console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum
    before = console.width
    console.width = max(before, needed)
    console.print(table)
    console.width = before


def columns_that_fit(console: Console, first: int, other: int) -> int:
    """Return how many columns fit beside the first one; at least one.

    Args:
        first: Width of the first column in characters.
        other: Width of each other column in characters.
    """
    return max((console.width - first - _MARGIN - 1) // (other + _MARGIN), 1)
