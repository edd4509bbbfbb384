"""What people are told of the champion: from plain facts to alerts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ml_assets.alerts.alert import Alert, shown_time
from ml_assets.alerts.run_messages import asset_link, run_link

_SHOWN = 3
_MIN_REFUSALS = 2


@dataclass(frozen=True)
class Decided:
    """A decision on the champion.

    Attributes:
        decision_id: Its id.
        at: When.
        run_id: The run that decided; empty when none did.
        reason: Why so.
        serves: Which model serves now; None when none does.
        before: The version that served before; None when none did.
        judged_month: What it was judged on; empty for a person's decision.
    """

    decision_id: str
    at: datetime
    run_id: str
    reason: str
    serves: str | None
    before: str | None = None
    judged_month: str = ""

    def where(self, ui_url: str) -> str:
        """The run that decided, or else the champion's page."""
        if self.run_id:
            return run_link(ui_url, self.run_id)
        return asset_link(ui_url, "champion_model")


def is_told(rejection_reasons: int) -> bool:
    """Whether so many refusals in a row are told of: 2, 4, 8 and so on.

    Not each: a good champion is what refuses, and would make a standing mail.
    """
    return rejection_reasons >= _MIN_REFUSALS and rejection_reasons & (rejection_reasons - 1) == 0


def refused_in_a_row(refused: Sequence[Decided], ui_url: str) -> Alert:
    """Retrainings one after the other gave no better champion.

    Args:
        refused: All of them, oldest first; a tie with the champion is one, too.
        ui_url: Of Dagster's UI.
    """
    last, number = refused[-1], len(refused)
    times = "twice" if number == _MIN_REFUSALS else f"{number} times"
    goes_on = f"{last.serves} goes on serving" if last.serves else "nothing serves"
    details = [
        f"{shown_time(each.at)}, judged on {each.judged_month or 'no month'}: {each.reason}"
        for each in refused[-_SHOWN:]
    ]
    return Alert(
        kind=f"refused in a row: {last.decision_id}",
        what=f"Retraining was refused {times} in a row: {goes_on}",
        where=last.where(ui_url),
        since=refused[0].at,
        what_to_do=f"See what was lacking with `ml-assets decisions {last.decision_id}`, and "
        "whether the champion still errs no more than `ml-assets backtest` shows for its months. "
        "If it does, look at data and features; if not, nothing needs to be done. You are told "
        f"again at {2 * number} in a row.",
        details=tuple(details),
    )


def changed_by_hand(decided: Decided, ui_url: str, *, rolled_back: bool) -> Alert:
    """A person let another version serve."""
    how = "rolled back" if rolled_back else "changed by hand"
    before = f" instead of version {decided.before}" if decided.before else ""
    back = decided.before or "VERSION"
    return Alert(
        kind=f"changed by hand: {decided.decision_id}",
        what=f"The champion was {how}: {decided.serves or 'nothing'} serves{before}",
        where=decided.where(ui_url),
        since=decided.at,
        what_to_do=f"If that was not meant: `ml-assets promote {back} --reason …`. It stands until "
        "a retraining is better on a newer month.",
        details=(f"Reason: {decided.reason}",),
    )


def unreadable(what: str, asset: str, ui_url: str, fault: str, now: datetime) -> Alert:
    """A file that everything by itself stands on cannot be read.

    Args:
        what: Of what it is: ``decision``, or ``record of feature_drift``.
        asset: Whose page to link to.
        ui_url: Of Dagster's UI.
        fault: Names the file and the way out.
        now: When it was found.
    """
    return Alert(
        kind=f"unreadable {what}: {fault}",
        what=f"A {what} cannot be read, so nothing that follows from it is done or told: {fault}",
        where=asset_link(ui_url, asset),
        since=now,
        what_to_do="Do what is said above, or bring the file back from a backup. Until then "
        "sensors skip that need it; the champion goes on serving.",
    )


@dataclass(frozen=True)
class Degraded:
    """A champion that is over a limit, though the months were trained on already.

    Attributes:
        measure: ``drift`` or ``decay``.
        asset: What measures it.
        dataset: What the months are of.
        version: Of the champion.
        latest: The newest measured month.
        sentence: What is over which limit, and in which months.
        since: When the first of these months began.
        training: The decision of the training that did not help.
    """

    measure: str
    asset: str
    dataset: str
    version: str
    latest: str
    sentence: str
    since: datetime
    training: Decided


def degraded(found: Degraded, ui_url: str) -> Alert:
    """Retraining did not help against drift or decay."""
    gone = "has decayed" if found.measure == "decay" else "has drifted from its data"
    training = found.training
    return Alert(
        kind=f"{found.measure}: {found.dataset} {found.latest} of version {found.version}",
        what=f"The champion, version {found.version}, {gone}, and retraining did not help: "
        f"{found.sentence}",
        where=asset_link(ui_url, found.asset),
        since=found.since,
        what_to_do="No sensor retrains on months that were trained on. Look at these months' data "
        "(checks and charts of trip_features) and at the features; let the version before serve "
        "if it errs less (`ml-assets rollback --reason …`); or try another family of models.",
        details=(
            f"These months were trained on already: decision {training.decision_id} of "
            f"{shown_time(training.at)}, judged on {training.judged_month}: {training.reason}",
        ),
    )
