"""Tables on standard output, whose figures no window is too narrow for."""

from rich.console import Console
from rich.table import Table

_ANY_WIDTH = 10_000
_MARGIN = 3
"""Of a column: two spaces and a rule."""


def print_table(console: Console, table: Table) -> None:
    """Print a table with all of its figures: in a window that is too narrow its lines are broken.

    Rich would cut the cells. Headers of two words stand in two lines.
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
    """How many columns fit beside the first one; at least one.

    Args:
        console: Where they are printed.
        first: Characters of the first column.
        other: Characters of each other one.
    """
    return max((console.width - first - _MARGIN - 1) // (other + _MARGIN), 1)
