"""The rule that decides when drift or decay is a reason to retrain: more than one bad month."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ml_assets.training.windows import span
from ml_assets.trips.month import Month

RECENT_MONTHS = 5
"""How many of the newest measured months the rule considers."""

MIN_BREACHES = 2
"""How many of them, the newest included, must be over the limit."""

COOL_DOWN = timedelta(days=7)
"""Minimum time between two retrainings that the rule requests: the interval of the weekly
retraining."""

REMEDY = (
    "check the month's data checks and chart; two of five months over the limit start a "
    "retraining, unless they were trained on already: then check data and features, or roll back"
)
"""Advice in the checks of a month over its limit."""


@dataclass(frozen=True)
class MonthlyValue:
    """The value of a measure in one month.

    Attributes:
        value: The value; higher is worse.
        limit: A higher value is a breach.
        what: What was measured, for example the drift of a named feature.
    """

    month: Month
    value: float
    limit: float
    what: str

    @property
    def breached(self) -> bool:
        """Whether the value is over its limit; NaN counts as a breach."""
        return not self.value <= self.limit

    def __str__(self) -> str:
        relation = "over" if self.breached else "within"
        return (
            f"{self.what} {self.value:.3f} in {self.month}, {relation} the limit {self.limit:.3f}"
        )


@dataclass(frozen=True)
class LastRetraining:
    """The last retraining that the rule requested.

    Attributes:
        at: When it was requested, with UTC offset.
        latest: The newest month that had been measured by then.
    """

    at: datetime
    latest: Month


@dataclass(frozen=True)
class Decision:
    """Whether to retrain, and why.

    Attributes:
        reason: Why, or why not.
        breached: The months over their limit among the recent ones, in order.
        retry_later: Whether the decision may change without a new measurement.
    """

    retrain: bool
    reason: str
    breached: tuple[Month, ...] = ()
    retry_later: bool = False


def decide(values: Sequence[MonthlyValue], last: LastRetraining | None, now: datetime) -> Decision:
    """Retrain if the latest month and at least one other of the last five are over the limit.

    Args:
        values: One value for each month that the champion was not trained on, in any order.
        last: The last retraining that this rule requested.
        now: The current time, with UTC offset.
    """
    recent = sorted(values, key=lambda value: value.month)[-RECENT_MONTHS:]
    if not recent:
        return Decision(False, "no month has come in that the champion was not trained on")
    latest = recent[-1]
    over = [value for value in recent if value.breached]
    breached = tuple(value.month for value in over)
    if not latest.breached:
        return Decision(False, str(latest), breached)
    if len(over) < MIN_BREACHES:
        return Decision(False, f"{latest}; one month is noise", breached)
    reason = f"{latest}; in all {len(over)} of {len(recent)} months are ({span(breached)})"
    if last is not None and last.latest >= latest.month:
        return Decision(False, f"{reason}; already retrained for {last.latest}", breached)
    if last is not None and now < last.at + COOL_DOWN:
        until = f"{last.at + COOL_DOWN:%Y-%m-%d %H:%M %Z}".strip()
        return Decision(False, f"{reason}; cooling down until {until}", breached, retry_later=True)
    return Decision(True, reason, breached)
