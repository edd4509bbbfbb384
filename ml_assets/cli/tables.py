"""Tables on standard output that are never truncated."""

from rich.console import Console
from rich.table import Table

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
        console: The console.
        first: Width of the first column in characters.
        other: Width of each other column in characters.
    """
    return max((console.width - first - _MARGIN - 1) // (other + _MARGIN), 1)
