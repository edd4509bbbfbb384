"""Progress of a run in the terminal: a line a step, the current one turning."""

import time
from types import TracebackType
from typing import Self

from dagster import DagsterEvent, DagsterEventType, EventLogEntry
from rich.console import Console
from rich.markup import escape
from rich.status import Status

_SHOWN_FIGURES = ("test_rmse", "best_test_rmse", "window", "reason")


class StepProgress:
    """Listens to a run's events and shows them; nothing of it goes to standard output."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._done = 0
        self._started: dict[str, float] = {}
        self._figures: dict[str, str] = {}
        self._status: Status | None = None
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._status = self._console.status("starting …")
        self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, text: str) -> None:
        """Show what the current step is at."""
        if self._status is not None:
            self._status.update(escape(text))

    def on_event(self, entry: EventLogEntry, _cursor: str) -> None:
        """Show one event; meant for ``DagsterInstance.watch_event_logs``."""
        event = entry.dagster_event
        if event is None:
            return
        step = event.step_key or ""
        if event.event_type == DagsterEventType.STEP_START:
            self._started[step] = time.monotonic()
            self.say(f"[{self._done + 1}/{self._steps}] {step} …")
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            self._note_figures(step, event)
        elif event.event_type == DagsterEventType.STEP_SUCCESS:
            self._finish(step, "[green]✓[/green]")
        elif event.event_type == DagsterEventType.STEP_FAILURE:
            self._finish(step, "[red]✗[/red]")
            self.errors.append(f"{step}: {_message(event)}")
        elif event.event_type == DagsterEventType.STEP_SKIPPED:
            self._finish(step, "[yellow]–[/yellow]")
        elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            self._note_check(event)

    def _note_figures(self, step: str, event: DagsterEvent) -> None:
        metadata = event.step_materialization_data.materialization.metadata
        for name in _SHOWN_FIGURES:
            if name in metadata:
                value = metadata[name].value
                text = f"{value:.3f}" if isinstance(value, float) else str(value)
                self._figures[step] = f"{name.replace('_', ' ')} {text}" if "rmse" in name else text

    def _note_check(self, event: DagsterEvent) -> None:
        check = event.asset_check_evaluation_data
        if not check.passed:
            self._console.print(
                f"  [yellow]![/yellow] check {check.check_name} of "
                f"{check.asset_key.to_user_string()}: {escape(check.description or 'not passed')}"
            )

    def _finish(self, step: str, sign: str) -> None:
        self._done += 1
        seconds = time.monotonic() - self._started.get(step, time.monotonic())
        figures = escape(self._figures.get(step, ""))
        self._console.print(f"{sign} {step:<28} {seconds:6.1f} s  {figures}")


def _message(event: DagsterEvent) -> str:
    """The cause of a failure in its own words, without Dagster's frame around it."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return event.message or "failed"
    text = error.message.strip()
    return text.removeprefix("dagster._core.definitions.events.Failure: ")
