"""The moving part of a terminal: what is being worked on, and a bar for each transfer.

Nothing of it reaches a file or a pipe: rich draws live displays on terminals only.
"""

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.spinner import Spinner
from rich.text import Text

from ml_assets.trips.month import Month

_MEGABYTE = 1_000_000


class Screen:
    """A spinner with a line of text and, below it, a bar for each month in transfer."""

    def __init__(self, console: Console) -> None:
        self._spinner = Spinner("dots", Text("starting …"), style="status.spinner")
        self._bars = Progress(
            TextColumn("    {task.description}"),
            BarColumn(),
            TextColumn("{task.fields[moved]}"),
            TransferSpeedColumn(),
            console=console,
        )
        self._tasks: dict[Month, TaskID] = {}
        self._live = Live(self._spinner, console=console, transient=True, refresh_per_second=12.5)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Show this text beside the spinner."""
        self._spinner.update(text=Text(text))
        self._draw()

    def transfer(self, month: Month, done: int, total: int) -> None:
        """Show how far a month's transfer is; its bar goes when all has come.

        Args:
            month: The month that is being brought.
            done: Bytes so far.
            total: Bytes in all.
        """
        if done >= total:
            self._remove(month)
        else:
            moved = f"{done / _MEGABYTE:.1f} of {total / _MEGABYTE:.1f} MB"
            if month not in self._tasks:
                self._tasks[month] = self._bars.add_task(str(month), total=total, moved=moved)
            self._bars.update(self._tasks[month], completed=done, total=total, moved=moved)
        self._draw()

    def clear_transfers(self) -> None:
        """Remove every bar, of transfers that were given up as well."""
        for month in list(self._tasks):
            self._remove(month)
        self._draw()

    def _remove(self, month: Month) -> None:
        if month in self._tasks:
            self._bars.remove_task(self._tasks.pop(month))

    def _draw(self) -> None:
        self._live.update(Group(self._spinner, self._bars) if self._tasks else self._spinner)
