"""What a run's progress shows: every step once, and what went wrong in one line."""

import io

import dagster as dg
import pytest
from rich.console import Console

from ml_assets.cli.progress import StepProgress
from ml_assets.trips.month import Month
from ml_assets.trips.windows import WindowError


class Unreachable(dg.ConfigurableResource):
    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        raise ConnectionError("nobody answers")


@dg.op
def steady() -> None:
    """Ends well."""


@dg.op
def without_months() -> None:
    try:
        raise WindowError("no month is there:\n  ingest some")
    except WindowError as error:
        raise dg.Failure(f"{error}, then train") from error


@dg.op
def careless() -> None:
    raise KeyError("key")


@dg.op
def needy(server: Unreachable) -> None:
    """Never starts."""


def shown(*ops: dg.OpDefinition, times: int = 1) -> tuple[str, list[str]]:
    """What is printed of a run of these ops, and its errors, when each event comes so often."""

    @dg.job(resource_defs={"server": Unreachable()}, executor_def=dg.in_process_executor)
    def work() -> None:
        for op in ops:
            op()

    printed = io.StringIO()
    with (
        dg.DagsterInstance.ephemeral() as instance,
        StepProgress(Console(file=printed, width=40, highlight=False), len(ops)) as progress,
    ):
        run = work.execute_in_process(instance=instance, raise_on_error=False)
        for _ in range(times):
            for entry in instance.all_logs(run.run_id):
                progress.on_event(entry)
    return printed.getvalue(), progress.errors


def test_a_step_is_one_line_however_often_its_events_come():
    printed, errors = shown(steady, times=3)
    assert printed.count("steady") == printed.count("\n") == 1
    assert printed.startswith("✓ steady ")
    assert errors == []


@pytest.mark.parametrize(
    ("op", "told"),
    [
        (without_months, "without_months: no month is there: ingest some, then train"),
        (careless, "careless: KeyError: 'key'"),
    ],
)
def test_a_failure_is_one_line_in_its_own_words(op, told):
    printed, errors = shown(op)
    assert errors == [told]
    assert printed.startswith(f"✗ {op.name}")


def test_a_run_that_fails_before_its_first_step_says_why():
    _, errors = shown(needy)
    assert len(errors) == 1
    assert "nobody answers" in errors[0]
    assert "\n" not in errors[0]


@pytest.mark.parametrize(("total", "told"), [(48_100_000, "12.3 of 48.1 MB"), (None, "12.3 MB")])
def test_a_transfer_shows_month_and_megabytes(total, told):
    terminal = io.StringIO()
    with StepProgress(Console(file=terminal, force_terminal=True, width=80), 3) as progress:
        progress.transferred(Month(2023, 2), 12_340_000, total)
    assert f"2023-02: {told}" in terminal.getvalue()
