"""Alerts about runs and assets."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ml_assets.alerts.alert import Alert, cause_digest, format_time

_MATERIALIZE_JOB = "__ASSET_JOB"
"""Dagster's name for the implicit job of assets materialized in the UI."""
_MAX_LISTED = 3


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        run_id: Dagster's run id.
        job: Name of the job.
        at: When it ended.
        last_success: When the job last succeeded before; None when it never has.
    """

    run_id: str
    job: str
    at: datetime
    last_success: datetime | None = None

    @property
    def job_label(self) -> str:
        """The job's display name."""
        return "Materialize" if self.job == _MATERIALIZE_JOB else self.job

    @property
    def history(self) -> str:
        """A sentence that says when the job last succeeded."""
        if self.last_success is None:
            return f"No run of {self.job_label} has succeeded before."
        return f"{self.job_label} last succeeded at {format_time(self.last_success)}."


@dataclass(frozen=True)
class FailedCheck:
    """A blocking check that stopped a run, with its description."""

    asset: str
    name: str
    finding: str

    def __str__(self) -> str:
        return f"{self.name} of {self.asset}: {self.finding or 'no description'}"


def run_link(ui_url: str, run_id: str) -> str:
    """Return the URL of a run's page."""
    return f"{ui_url}/runs/{run_id}"


def asset_link(ui_url: str, asset: str) -> str:
    """Return the URL of an asset's page."""
    return f"{ui_url}/assets/{asset}"


def run_failed(run: FinishedRun, ui_url: str, errors: Sequence[tuple[str, str]]) -> Alert:
    """Alert about a failed run.

    Args:
        run: The run.
        ui_url: URL of Dagster's UI.
        errors: Pairs of failed step and error; an empty step for an error outside of all steps.
    """
    step, error = errors[0] if errors else ("", "")
    at_step = f" at {step}" if step else ""
    others = [f"Also {name}: {other}" for name, other in errors[1 : _MAX_LISTED + 1]]
    log = f"the log of {step}" if step else "its log"
    return Alert(
        kind=f"{run.job}: {step or 'the run'}: {_digest(errors)}",
        what=f"{run.job_label} failed{at_step}: {error or 'see its log'}",
        where=run_link(ui_url, run.run_id),
        since=run.at,
        what_to_do=f"Open the run and read {log}. Existing data and models are kept, and the "
        "champion keeps serving. When the cause is fixed, click Re-execute there.",
        details=(*others, run.history),
        job=run.job,
    )


def _digest(errors: Sequence[tuple[str, str]]) -> str:
    return cause_digest(*(f"{step}: {error}" for step, error in errors))


def check_failed(run: FinishedRun, ui_url: str, checks: Sequence[FailedCheck]) -> Alert:
    """Alert about a run that blocking checks stopped."""
    first, *others = checks
    names = ", ".join(sorted({f"{check.name} of {check.asset}" for check in checks}))
    return Alert(
        kind=f"{run.job}: check {names}: {cause_digest(*(str(check) for check in checks))}",
        what=f"Blocking check {first}",
        where=run_link(ui_url, run.run_id),
        since=run.at,
        what_to_do=f"See {asset_link(ui_url, first.asset)}?view=checks . If the data are wrong, "
        "wait until they are republished, or continue without that month (`ml-assets run … "
        "--exclude YYYY-MM`); the champion keeps serving.",
        details=(
            *(f"Also {check}" for check in others[:_MAX_LISTED]),
            f"It stopped this run of {run.job_label}.",
            run.history,
        ),
        job=run.job,
    )


def run_succeeded(run: FinishedRun, ui_url: str, because: str, *, recovered: bool) -> Alert:
    """Message about a run that succeeded; ``recovered``: after failures that were reported."""
    again = " again, after it had failed" if recovered else ""
    return Alert(
        kind=f"{run.job}: succeeded: {run.run_id}",
        what=f"{run.job_label} succeeded{again}",
        where=run_link(ui_url, run.run_id),
        since=run.at,
        what_to_do="Nothing.",
        details=(f"Started because: {because}.",),
    )


def overdue(
    asset: str, ui_url: str, since: datetime, last: datetime | None, what_to_do: str
) -> Alert:
    """Alert about an asset not materialized for longer than its freshness policy allows."""
    materialized = f"since {format_time(last)}" if last else "yet"
    return Alert(
        kind=f"overdue: {asset} since {format_time(since)}",
        what=f"{asset} is overdue: it has not been materialized {materialized}",
        where=asset_link(ui_url, asset),
        since=since,
        what_to_do=what_to_do,
    )


def trial_message(ui_url: str, now: datetime) -> Alert:
    """Return the message that ``ml-assets alerts --test`` sends."""
    return Alert(
        kind="test",
        what="This is a test of the alerts of ml-assets",
        where=ui_url,
        since=now,
        what_to_do="Nothing.",
    )
