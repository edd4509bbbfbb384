"""Progress of a run in the terminal: one line per step, and a spinner for the running ones."""

import re
import threading
from collections.abc import Hashable, Mapping
from contextlib import ExitStack
from typing import Any

from dagster import DagsterEvent, DagsterEventType, EventLogEntry
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.spinner import Spinner
from rich.text import Text

from ml_assets.defs.errors import root_cause
from ml_assets.defs.metadata import DIGITS
from ml_assets.progress import MonthsTested, ProgressEvent, Transfer, TrialEnded
from ml_assets.secrets import one_line, scrub
from ml_assets.trips.month import Month

_SHOWN_FIGURES = ("test_rmse", "best_test_rmse", "window", "reason")
_MEGABYTE = 1_000_000
_TRANSFERRING, _TESTING = "raw_trips", "backtest"
"""The steps whose events do not name them."""
_SIGNS = {
    DagsterEventType.STEP_SUCCESS: "[green]✓[/green]",
    DagsterEventType.STEP_FAILURE: "[red]✗[/red]",
    DagsterEventType.STEP_SKIPPED: "[yellow]–[/yellow]",
}


class TuningProgress:
    """Progress of the tuning trials of a training step."""

    def __init__(self, trials: int) -> None:
        self._trials = trials
        self._ended = 0
        self._best: float | None = None

    def update(self, rmse: float | None) -> None:
        """Count a completed trial, with its RMSE unless it was pruned or failed."""
        self._ended += 1
        if rmse is not None:
            self._best = rmse if self._best is None else min(self._best, rmse)

    def describe(self) -> str:
        """Return the current trial, or "fitting" after the last one, and the best RMSE so far."""
        now = f"trial {self._ended + 1}/{self._trials}" if self._ended < self._trials else "fitting"
        return now if self._best is None else f"{now}, best so far {self._best:.3f}"


class StepProgress(ExitStack):
    """Shows the events of a run; writes nothing to standard output.

    Drawing starts at once: use it in a ``with`` statement.
    """

    def __init__(
        self, console: Console, steps: int, trials: Mapping[str, int] | None = None
    ) -> None:
        super().__init__()
        self._console = console
        self._steps = steps
        self._tuning = {
            step: TuningProgress(count) for step, count in (trials or {}).items() if count
        }
        self._done = 0
        self._running: dict[str, str] = {}
        self._started: dict[str, float] = {}
        self._figures: dict[str, str] = {}
        self._shown: set[Hashable] = set()
        self._lock = threading.Lock()
        self._screen = Screen(console)
        self.enter_context(self._screen.live)
        self.errors: list[str] = []

    def on_progress(self, event: ProgressEvent) -> None:
        """Show an event of the running step; a callback for ``progress.watching``."""
        with self._lock:
            match event:
                case Transfer(month, done, total):
                    self._transfer(month, done, total)
                case TrialEnded(asset, rmse) if asset in self._tuning:
                    self._tuning[asset].update(rmse)
                    # Dagster may deliver the start event of the step later.
                    self._show_running(asset, self._tuning[asset].describe())
                case MonthsTested(done, total):
                    self._show_running(_TESTING, f"{done} of {total} months tested")

    def _transfer(self, month: Month, done: int, total: int | None) -> None:
        if total:
            self._show_running(_TRANSFERRING, str(month))
            self._screen.transfer(month, done, total)
        else:
            self._show_running(_TRANSFERRING, f"{month}: {done / _MEGABYTE:.1f} MB")

    def _show_running(self, step: str, detail: str) -> None:
        """Show a step as running, next to the one that runs beside it."""
        self._running[step] = f"{step} … {detail}".rstrip()
        self._draw_running()

    def _draw_running(self) -> None:
        self._screen.update(f"[{self._done + 1}/{self._steps}] {'; '.join(self._running.values())}")

    def on_event(self, entry: EventLogEntry, _cursor: str = "") -> None:
        """Show an event once; a callback for ``DagsterInstance.watch_event_logs``.

        Events arrive late and from another thread, so the caller passes all of them again at the
        end of a run.
        """
        event = entry.dagster_event
        with self._lock:
            key = _entry_key(entry)
            if key in self._shown:
                return
            self._shown.add(key)
            if event is not None:
                self._show(event, entry.timestamp)

    def _show(self, event: DagsterEvent, timestamp: float) -> None:
        step = event.step_key or ""
        if event.event_type == DagsterEventType.STEP_START:
            self._started[step] = timestamp
            tuning = self._tuning.get(step)
            self._show_running(step, tuning.describe() if tuning else "")
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            self._add_figures(step, event)
        elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            self._show_failed_check(event)
        elif event.event_type in _SIGNS:
            self._finish(step, _SIGNS[event.event_type], timestamp)
            if event.event_type == DagsterEventType.STEP_FAILURE:
                self.errors.append(f"{step}: {cause(event.step_failure_data.error)}")
        elif event.event_type == DagsterEventType.RUN_FAILURE and not self.errors:
            self.errors.append(cause(event.job_failure_data.error) or event.message or "failed")

    def _add_figures(self, step: str, event: DagsterEvent) -> None:
        metadata = event.step_materialization_data.materialization.metadata
        for name in _SHOWN_FIGURES:
            if name in metadata:
                value = metadata[name].value
                text = f"{value:.{DIGITS}f}" if isinstance(value, float) else str(value)
                if "rmse" in name:
                    text = f"{name.replace('_', ' ')} {text}"
                usual = metadata.get(f"{name}_usual")
                if usual is not None:
                    text += f", {usual.value:.{DIGITS}f} without a distance"
                self._figures[step] = text

    def _show_failed_check(self, event: DagsterEvent) -> None:
        check = event.asset_check_evaluation_data
        if not check.passed:
            name = f"{check.check_name} of {check.asset_key.to_user_string()}"
            message = escape(check.description or "not passed")
            self._console.print(f"  [yellow]![/yellow] check {name}: {message}", soft_wrap=True)

    def _finish(self, step: str, sign: str, timestamp: float) -> None:
        self._done += 1
        self._running.pop(step, None)
        if self._running:
            self._draw_running()
        self._screen.clear_transfers()
        seconds = timestamp - self._started.get(step, timestamp)
        figures = escape(self._figures.get(step, ""))
        self._console.print(f"{sign} {step:<28} {seconds:6.1f} s  {figures}", soft_wrap=True)


def cause(error: Any) -> str:
    """Return the message of an error in one line, without Dagster's wrappers and class names.

    Args:
        error: Dagster's ``SerializableErrorInfo``, or None.
    """
    if (error := root_cause(error)) is None:
        return ""
    line = one_line(scrub(error.message))
    own = rf"^(ml_assets\.[\w.]*|dagster\.[\w.]*(Failure|{re.escape(error.cls_name or '')})): "
    return re.sub(own, "", line)


def _entry_key(entry: EventLogEntry) -> Hashable:
    """Return a key that is unique among the log entries of a run."""
    event = entry.dagster_event
    if event is None:
        return (entry.step_key, entry.user_message)
    return (event.event_type, event.step_key, _subject(event))


def _subject(event: DagsterEvent) -> Hashable:
    """Return what distinguishes events of the same type and step."""
    if event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
        materialization = event.step_materialization_data.materialization
        return (materialization.asset_key, materialization.partition)
    if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
        return event.asset_check_evaluation_data.asset_check_key
    return None


class Screen:
    """A spinner with a line of text, and a progress bar for each month in transfer below it."""

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
        self.live = Live(self._spinner, console=console, transient=True, refresh_per_second=12.5)

    def update(self, text: str) -> None:
        """Show this text next to the spinner."""
        self._spinner.update(text=Text(text))
        self._draw()

    def transfer(self, month: Month, done: int, total: int) -> None:
        """Show the progress of a month's transfer; its bar is removed when it is complete."""
        if done >= total:
            self._remove(month)
        else:
            moved = f"{done / _MEGABYTE:.1f} of {total / _MEGABYTE:.1f} MB"
            if month not in self._tasks:
                self._tasks[month] = self._bars.add_task(str(month), total=total, moved=moved)
            self._bars.update(self._tasks[month], completed=done, total=total, moved=moved)
        self._draw()

    def clear_transfers(self) -> None:
        """Remove all bars, also those of failed transfers."""
        for month in list(self._tasks):
            self._remove(month)
        self._draw()

    def _remove(self, month: Month) -> None:
        if month in self._tasks:
            self._bars.remove_task(self._tasks.pop(month))

    def _draw(self) -> None:
        self.live.update(Group(self._spinner, self._bars) if self._tasks else self._spinner)
