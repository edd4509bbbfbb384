"""The messages of alerts: about runs, assets and the champion."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ml_assets.alerts.alert import Alert, cause_digest, format_time

_MATERIALIZE_JOB = "__ASSET_JOB"
"""Dagster's name for the implicit job of assets materialized in the UI."""
_MAX_LISTED = 3
_MIN_REJECTIONS = 2


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
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
        errors: Pairs of failed step and error; an empty step for an error outside of all steps.
    """
    step, error = errors[0] if errors else ("", "")
    at_step = f" at {step}" if step else ""
    others = [f"Also {name}: {other}" for name, other in errors[1 : _MAX_LISTED + 1]]
    log = f"the log of {step}" if step else "its log"
    cause = cause_digest(*(f"{name}: {text}" for name, text in errors))
    return Alert(
        kind=f"{run.job}: {step or 'the run'}: {cause}",
        what=f"{run.job_label} failed{at_step}: {error or 'see its log'}",
        where=run_link(ui_url, run.run_id),
        since=run.at,
        what_to_do=f"Open the run and read {log}. Existing data and models are kept, and the "
        "champion keeps serving. When the cause is fixed, click Re-execute there.",
        details=(*others, run.history),
        job=run.job,
    )


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


@dataclass(frozen=True)
class DecisionSummary:
    """A promotion decision, as messages show it.

    Attributes:
        run_id: Id of the run that made it; empty when none did.
        champion: Model and version of the champion after it; None when there is none.
        previous_version: Version of the champion before it; None when there was none.
        test_month: Month on which the models were evaluated; empty for a manual decision.
    """

    decision_id: str
    at: datetime
    run_id: str
    reason: str
    champion: str | None
    previous_version: str | None = None
    test_month: str = ""

    def where(self, ui_url: str) -> str:
        """Return the URL of the run, or of the champion's page when there is no run."""
        if self.run_id:
            return run_link(ui_url, self.run_id)
        return asset_link(ui_url, "champion_model")


def should_notify(rejections: int) -> bool:
    """Whether this number of consecutive rejections is reported: 2, 4, 8 and so on.

    Not each: while a good champion stays the best, every retraining is rejected.
    """
    return rejections >= _MIN_REJECTIONS and rejections & (rejections - 1) == 0


def repeated_rejections(rejected: Sequence[DecisionSummary], ui_url: str) -> Alert:
    """Alert about consecutive retrainings without a promotion.

    Args:
        rejected: All of them, oldest first; a tie with the champion counts.
    """
    last, number = rejected[-1], len(rejected)
    times = "twice" if number == _MIN_REJECTIONS else f"{number} times"
    outcome = f"{last.champion} keeps serving" if last.champion else "there is no champion"
    details = [
        f"{format_time(each.at)}, evaluated on {each.test_month or 'no month'}: {each.reason}"
        for each in rejected[-_MAX_LISTED:]
    ]
    return Alert(
        kind=f"rejected in a row: {last.decision_id}",
        what=f"Retraining was rejected {times} in a row: {outcome}",
        where=last.where(ui_url),
        since=rejected[0].at,
        what_to_do=f"See the failed criteria with `ml-assets decisions {last.decision_id}`, and "
        "compare the champion's error with `ml-assets backtest` for its months. If it is higher, "
        "check data and features; if not, nothing needs to be done. The next alert comes at "
        f"{2 * number} in a row.",
        details=tuple(details),
    )


def manual_change(decision: DecisionSummary, ui_url: str, *, rolled_back: bool) -> Alert:
    """Alert about a rollback or a manual promotion."""
    how = "rolled back" if rolled_back else "changed manually"
    before = f" instead of version {decision.previous_version}" if decision.previous_version else ""
    back = decision.previous_version or "VERSION"
    return Alert(
        kind=f"changed manually: {decision.decision_id}",
        what=f"The champion was {how}: {decision.champion or 'nothing'} serves{before}",
        where=decision.where(ui_url),
        since=decision.at,
        what_to_do=f"To undo it: `ml-assets promote {back} --reason …`. It stands until a "
        "retraining is better on a newer month.",
        details=(f"Reason: {decision.reason}",),
    )


def unreadable(what: str, asset: str, ui_url: str, error: str, now: datetime) -> Alert:
    """Alert about a record that cannot be read and that automation depends on.

    Args:
        what: Kind of record: ``decision``, or ``record of feature_drift``.
        error: Names the file and the remedy.
    """
    return Alert(
        kind=f"unreadable {what}: {error}",
        what=f"A {what} cannot be read, and what depends on it stops: {error}",
        where=asset_link(ui_url, asset),
        since=now,
        what_to_do="Do what the error says, or restore the file from a backup. Until then the "
        "sensors that need it skip; the champion keeps serving.",
    )


@dataclass(frozen=True)
class Degradation:
    """Degradation of a champion that retraining did not fix.

    Attributes:
        measure: ``drift`` or ``decay``.
        sentence: The values over the limit, and their months.
        since: Start of the first of these months.
        training: The decision of the training that did not help.
    """

    measure: str
    asset: str
    dataset: str
    version: str
    latest: str
    sentence: str
    since: datetime
    training: DecisionSummary


def degraded(found: Degradation, ui_url: str) -> Alert:
    """Alert about drift or decay that retraining did not fix."""
    gone = "has decayed" if found.measure == "decay" else "has drifted from its data"
    training = found.training
    return Alert(
        kind=f"{found.measure}: {found.dataset} {found.latest} of version {found.version}",
        what=f"The champion, version {found.version}, {gone}, and retraining did not help: "
        f"{found.sentence}",
        where=asset_link(ui_url, found.asset),
        since=found.since,
        what_to_do="No sensor retrains on months that were trained on. Check these months' data "
        "(checks and charts of trip_features) and the features; roll back if the previous version "
        "has a lower error (`ml-assets rollback --reason …`); or try another model family.",
        details=(
            f"These months were trained on already: decision {training.decision_id} of "
            f"{format_time(training.at)}, evaluated on {training.test_month}: {training.reason}",
        ),
    )
