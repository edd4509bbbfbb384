"""Progress of a run: a line for each step and for each error."""

import io
import re
from contextlib import contextmanager

import dagster as dg
import pytest
from rich.console import Console

from ml_assets.cli.progress import StepProgress
from ml_assets.progress import MonthsTested, Transfer, TrialEnded, report, watching
from ml_assets.training.windows import WindowError
from ml_assets.trips.month import Month


class Unreachable(dg.ConfigurableResource):
    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        raise ConnectionError("no answer")


@dg.op
def succeeding() -> None:
    """Succeeds."""


@dg.op
def without_months() -> None:
    try:
        raise WindowError("no month is there:\n  ingest some")
    except WindowError as error:
        raise dg.Failure(f"{error}, then train") from error


@dg.op
def raising() -> None:
    raise KeyError("key")


@dg.op
def unreachable(server: Unreachable) -> None:
    """Fails before its start."""


def shown(*ops: dg.OpDefinition, times: int = 1) -> tuple[str, list[str]]:
    """Return the output and errors of a run of these ops, each event delivered ``times`` times."""

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


def test_a_step_is_one_line_however_often_its_events_are_delivered():
    printed, errors = shown(succeeding, times=3)
    assert printed.count("succeeding") == printed.count("\n") == 1
    assert printed.startswith("✓ succeeding ")
    assert errors == []


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (without_months, "without_months: no month is there: ingest some, then train"),
        (raising, "raising: KeyError: 'key'"),
    ],
)
def test_a_failure_is_one_line_with_its_message(op, message):
    printed, errors = shown(op)
    assert errors == [message]
    assert printed.startswith(f"✗ {op.name}")


@dg.op
def with_figures(context: dg.OpExecutionContext) -> None:
    figures = {"test_rmse": 5.0585, "test_rmse_usual": 5.957}
    context.log_event(dg.AssetMaterialization("lasso_model", metadata=figures))


def test_figures_that_are_rounded_already_are_not_rounded_again():
    """An RMSE of 5.058465 is 5.0585 in the metadata, and 5.058 on the leaderboard."""
    printed, _ = shown(with_figures)
    assert "test rmse 5.0585, 5.9570 without a distance" in printed


def test_a_run_that_fails_before_its_first_step_says_why():
    _, errors = shown(unreachable)
    assert len(errors) == 1
    assert "no answer" in errors[0]
    assert "\n" not in errors[0]


@contextmanager
def on_a_terminal(*arguments):
    """Progress on a terminal of 100 columns, and a function that returns its current output."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=100, color_system=None)
    with StepProgress(console, *arguments) as progress:

        def sent():
            terminal.truncate(0)
            progress._screen.live.refresh()
            return terminal.getvalue()

        yield progress, sent


def test_a_transfer_has_a_bar_with_month_and_megabytes_until_it_is_complete():
    with on_a_terminal(3) as (progress, sent):
        progress.on_progress(Transfer(Month(2023, 2), 12_340_000, 48_100_000))
        (line,) = [line for line in sent().splitlines() if "MB" in line]
        assert re.search(r" 2023-02 ━+[╸╺ ]*━* 12\.3 of 48\.1 MB ", line)
        progress.on_progress(Transfer(Month(2023, 2), 30_000_000, 48_100_000))
        assert "30.0 of 48.1 MB" in sent()
        progress.on_progress(Transfer(Month(2023, 2), 48_100_000, 48_100_000))
        assert "MB" not in sent()
        progress.on_progress(Transfer(Month(2023, 3), 12_340_000, None))
        assert "2023-03: 12.3 MB" in sent()


def test_output_to_a_file_has_no_bars():
    printed = io.StringIO()
    with StepProgress(Console(file=printed, width=100), 3) as progress:
        progress.on_progress(Transfer(Month(2023, 2), 12_340_000, 48_100_000))
    assert printed.getvalue() == ""


@dg.op
def xgboost_model() -> None:
    """Succeeds; the test reports its trials."""


@pytest.fixture
def step_events():
    """Dagster's events of a run with one training step."""

    @dg.job(executor_def=dg.in_process_executor)
    def work() -> None:
        xgboost_model()

    with dg.DagsterInstance.ephemeral() as instance:
        yield instance.all_logs(work.execute_in_process(instance=instance).run_id)


@pytest.mark.parametrize("late", [False, True])
def test_a_training_step_shows_which_trial_is_running_and_the_best_so_far(step_events, late):
    shown = []
    with on_a_terminal(4, {"xgboost_model": 3}) as (progress, sent), watching(progress.on_progress):

        def deliver() -> None:
            for entry in step_events:
                if getattr(entry.dagster_event, "event_type_value", "") == "STEP_START":
                    progress.on_event(entry)
            look()

        def look() -> None:
            shown.extend(re.findall(r"xgboost_model … (.*?) *$", sent(), re.MULTILINE))

        if not late:
            deliver()
        for rmse in (4.532, None, 4.291):
            report(TrialEnded("xgboost_model", rmse))
            look()
        deliver()
    assert list(dict.fromkeys(shown)) == [
        *([] if late else ["trial 1/3"]),
        "trial 2/3, best so far 4.532",
        "trial 3/3, best so far 4.532",
        "fitting, best so far 4.291",
    ]


def test_two_steps_that_run_side_by_side_are_both_shown():
    with on_a_terminal(4, {"lasso_model": 2, "xgboost_model": 3}) as (progress, sent):
        progress.on_progress(TrialEnded("xgboost_model", 4.5))
        progress.on_progress(TrialEnded("lasso_model", 4.9))
        assert "xgboost_model … trial 2/3, best so far 4.500; lasso_model … trial 2/2" in sent()


def test_a_backtest_shows_how_many_months_it_has_tested():
    with on_a_terminal(1) as (progress, sent):
        progress.on_progress(MonthsTested(2, 5))
        assert "2 of 5 months tested" in sent()
