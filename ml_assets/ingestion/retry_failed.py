"""When to ask again for what was asked for before: at once, after a growing pause, or not at all.

Whoever asks for runs by a key is given each key once, also when its run failed. So what may go well
another time is asked for under a new key, later each time; what was refused for good is left until
something changes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

PAUSES = (timedelta(hours=1), timedelta(hours=4), timedelta(days=1))
"""Before the second, third and every later attempt."""


class RunState(Enum):
    """What became of a run that was asked for."""

    UNKNOWN = "unknown"
    ONGOING = "ongoing"
    SUCCEEDED = "succeeded"
    PASSING = "failed for a reason that may pass"
    REFUSED = "failed for good"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Outcome:
    """The state of the newest run under a key, and since when; no time when there is no run."""

    state: RunState
    at: datetime | None = None
    run_id: str = ""

    def __str__(self) -> str:
        return f"run {self.run_id[:8]} {self.state.value}" if self.run_id else self.state.value


def next_attempt_at(attempts: int, since: datetime) -> datetime:
    """When the next attempt is due after so many that came to nothing (at least one).

    Args:
        attempts: How often it was asked for.
        since: When the last attempt ended, or was asked for.
    """
    return since + PAUSES[min(attempts, len(PAUSES)) - 1]


def run_key(wanted: str, attempt: int) -> str:
    """The key of an attempt, counted from 0: the first is what is wanted, nothing else."""
    return f"{wanted} #{attempt + 1}" if attempt else wanted
