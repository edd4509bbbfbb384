"""When a measure that breaches its limit is a reason to retrain: not for one bad month."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ml_assets.training.windows import span
from ml_assets.trips.month import Month

WINDOWS = 5
"""So many of the newest measured months are looked at."""

MIN_BREACHES = 2
"""In so many of them, the newest included, the measure has to be over its limit."""

COOL_DOWN = timedelta(days=7)
"""After a retraining that the rule asked for it waits so long, as long as from one weekly
retraining to the next."""


@dataclass(frozen=True)
class Window:
    """A measure in one month.

    Attributes:
        month: The month.
        value: The measure; the higher, the worse.
        limit: Above it is a breach.
        what: What was measured, for people: a feature's name, say.
    """

    month: Month
    value: float
    limit: float
    what: str

    @property
    def breached(self) -> bool:
        """Whether the measure is over its limit; what is no number is as bad as can be."""
        return not self.value <= self.limit

    def __str__(self) -> str:
        relation = "over" if self.breached else "within"
        return (
            f"{self.what} {self.value:.3f} in {self.month}, {relation} the limit {self.limit:.3f}"
        )


@dataclass(frozen=True)
class Retrained:
    """The last retraining that the rule asked for.

    Attributes:
        at: When, with its offset.
        latest: The newest month that was measured by then.
    """

    at: datetime
    latest: Month


@dataclass(frozen=True)
class Verdict:
    """What the rule says.

    Attributes:
        retrain: Whether to retrain now.
        sentence: Why, or why not.
        breached: The months over their limit, among those looked at, in order.
        passing: Whether time alone may change the verdict.
    """

    retrain: bool
    sentence: str
    breached: tuple[Month, ...] = ()
    passing: bool = False


def judge(
    windows: Sequence[Window],
    last: Retrained | None,
    now: datetime,
    cool_down: timedelta = COOL_DOWN,
) -> Verdict:
    """Whether to retrain: over the limit in 2 of the last 5 months and in the latest.

    Args:
        windows: Months that what serves was not trained on, in any order, one window each.
        last: The retraining that this rule asked for last.
        now: The present instant, with its offset.
        cool_down: No retraining sooner after the last one.
    """
    looked_at = sorted(windows, key=lambda window: window.month)[-WINDOWS:]
    if not looked_at:
        return Verdict(False, "no month has come in that what serves was not trained on")
    latest = looked_at[-1]
    over = [window for window in looked_at if window.breached]
    breached = tuple(window.month for window in over)
    if not latest.breached:
        return Verdict(False, str(latest), breached)
    if len(over) < MIN_BREACHES:
        return Verdict(False, f"{latest}; one month is noise", breached)
    told = f"{latest}; in all {len(over)} of {len(looked_at)} months are ({span(breached)})"
    if last is not None and last.latest >= latest.month:
        return Verdict(False, f"{told}; {last.latest} was retrained for before", breached)
    if last is not None and now < last.at + cool_down:
        until = f"{last.at + cool_down:%Y-%m-%d %H:%M %Z}".strip()
        return Verdict(False, f"{told}; cooling down until {until}", breached, passing=True)
    return Verdict(True, told, breached)
