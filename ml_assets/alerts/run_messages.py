"""What people are told of runs and assets: from plain facts to alerts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ml_assets.alerts.alert import Alert, shown_time
from ml_assets.alerts.fingerprint import cause_digest

_PRESSED = "__ASSET_JOB"
"""Dagster's name for the job of assets that were pressed one by one."""
_SHOWN = 3


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended.

    Attributes:
        run_id: Dagster's id.
        job: Job.
        at: When it ended.
        last_success: When the job last succeeded before; None when it never has.
    """

    run_id: str
    job: str
    at: datetime
    last_success: datetime | None = None

    @property
    def shown_job(self) -> str:
        """The job in words."""
        return "Materialize" if self.job == _PRESSED else self.job

    @property
    def history(self) -> str:
        """When it was last well."""
        if self.last_success is None:
            return f"No run of {self.shown_job} has succeeded before."
        return f"{self.shown_job} last succeeded at {shown_time(self.last_success)}."


@dataclass(frozen=True)
class FailedCheck:
    """A check that stopped a run, and what it found."""

    asset: str
    name: str
    finding: str

    def __str__(self) -> str:
        return f"{self.name} of {self.asset}: {self.finding or 'it does not say why'}"


def run_link(ui_url: str, run_id: str) -> str:
    """The run's page."""
    return f"{ui_url}/runs/{run_id}"


def asset_link(ui_url: str, asset: str) -> str:
    """The asset's page."""
    return f"{ui_url}/assets/{asset}"


def run_failed(run: EndedRun, ui_url: str, faults: Sequence[tuple[str, str]]) -> Alert:
    """A run failed.

    Args:
        run: Which.
        ui_url: Of Dagster's UI.
        faults: Each step that failed and why; an empty name for what was no step's fault.
    """
    step, why = faults[0] if faults else ("", "")
    at_step = f" at {step}" if step else ""
    others = [f"Also {name}: {reason}" for name, reason in faults[1 : _SHOWN + 1]]
    log = f"the log of {step}" if step else "its log"
    return Alert(
        kind=f"{run.job}: {step or 'the run'}: {_digest(faults)}",
        what=f"{run.shown_job} failed{at_step}: {why or 'see its log'}",
        where=run_link(ui_url, run.run_id),
        since=run.at,
        what_to_do=f"Open the run and read {log}. What was good before is kept, and the champion "
        "goes on serving. When the cause is gone, press Re-execute there.",
        details=(*others, run.history),
        job=run.job,
    )


def _digest(faults: Sequence[tuple[str, str]]) -> str:
    return cause_digest(*(f"{step}: {why}" for step, why in faults))


def check_failed(run: EndedRun, ui_url: str, checks: Sequence[FailedCheck]) -> Alert:
    """Blocking checks failed, and with them the run."""
    first, *others = checks
    names = ", ".join(sorted({f"{check.name} of {check.asset}" for check in checks}))
    return Alert(
        kind=f"{run.job}: check {names}: {cause_digest(*(str(check) for check in checks))}",
        what=f"Blocking check {first}",
        where=run_link(ui_url, run.run_id),
        since=run.at,
        what_to_do=f"See {asset_link(ui_url, first.asset)}?view=checks . If the data are at fault, "
        "wait until they are published anew, or go on without that month (`ml-assets run … "
        "--exclude YYYY-MM`); the champion goes on serving.",
        details=(
            *(f"Also {check}" for check in others[:_SHOWN]),
            f"It stopped this run of {run.shown_job}.",
            run.history,
        ),
        job=run.job,
    )


def run_succeeded(run: EndedRun, ui_url: str, because: str, *, recovered: bool) -> Alert:
    """A run succeeded, perhaps after failures that people were told of."""
    again = " again, after it had failed" if recovered else ""
    return Alert(
        kind=f"{run.job}: succeeded: {run.run_id}",
        what=f"{run.shown_job} succeeded{again}",
        where=run_link(ui_url, run.run_id),
        since=run.at,
        what_to_do="Nothing.",
        details=(f"Started because: {because}.",),
    )


def overdue(
    asset: str, ui_url: str, since: datetime, last: datetime | None, what_to_do: str
) -> Alert:
    """An asset was not materialized for longer than its freshness policy allows."""
    materialized = f"since {shown_time(last)}" if last else "yet"
    return Alert(
        kind=f"overdue: {asset} since {shown_time(since)}",
        what=f"{asset} is overdue: it has not been materialized {materialized}",
        where=asset_link(ui_url, asset),
        since=since,
        what_to_do=what_to_do,
    )


def trial_message(ui_url: str, now: datetime) -> Alert:
    """What ``ml-assets alerts --test`` sends."""
    return Alert(
        kind="test",
        what="This is a test: alerts reach you",
        where=ui_url,
        since=now,
        what_to_do="Nothing.",
    )
