"""Deduplicate alerts: the first of a kind is sent at once, then at most one per window.

The state is a small JSON file. A missing or damaged entry counts as never sent, since a duplicate
is better than a lost alert. An alert that was not delivered is stored whole, to be sent later.
"""

import contextlib
import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, NonNegativeInt, ValidationError

from ml_assets.alerts.alert import Alert
from ml_assets.storage.atomic import locked, write_text

WINDOW = timedelta(hours=6)
EXPIRES_AFTER = timedelta(days=3)
"""How long an undelivered alert is retried: a mail server may be down over a weekend."""
_RETENTION = timedelta(days=60)


class AlertState(BaseModel):
    """Delivery state of one kind of alert.

    Attributes:
        at: When the last one was sent; None when delivery failed, so that the next one is sent.
        held_back: Number suppressed or undelivered since.
        last: When the newest of them happened.
        since: When suppression began.
        waiting: The newest of those held back; None when there is none.
        until: When an undelivered alert expires.
    """

    at: AwareDatetime | None
    held_back: NonNegativeInt
    last: AwareDatetime
    since: AwareDatetime
    job: str | None = None
    waiting: Alert | None = None
    until: AwareDatetime | None = None

    def is_open(self, now: datetime, window: timedelta) -> bool:
        """Whether the last one was sent within the window, so that others are suppressed."""
        return self.at is not None and timedelta(0) <= now - self.at < window

    def claimed(self, now: datetime) -> "AlertState":
        """Return the state as if it were sent now; :func:`record_delivery` records the outcome."""
        return self.model_copy(update={"at": now})


def deduplicate(
    alert: Alert, state: Path, now: datetime, window: timedelta = WINDOW
) -> Alert | None:
    """Return the alert to send, with the number suppressed before it, or None to suppress it.

    The caller reports the outcome to :func:`record_delivery`. If the process dies before, the alert
    counts as suppressed.

    Args:
        window: How long others of its kind are suppressed after one is sent.

    Raises:
        StorageError: when the state cannot be written.
    """
    with _locked_states(state, now) as states:
        before = states.get(alert.kind) or _initial_state(alert, now)
        is_open = before.is_open(now, window)
        since = before.since if before.held_back else (before.at or now) if is_open else now
        each = before.model_copy(
            update={
                "held_back": before.held_back + 1,
                "last": max(before.last, alert.since),
                "since": since,
                "waiting": alert.without_repeats(),
            }
        )
        if is_open:
            states[alert.kind] = each
            return None
        states[alert.kind] = each.claimed(now)
    if not before.held_back:
        return alert
    return replace(alert, folded=before.held_back, folded_since=since)


def next_pending(
    state: Path, now: datetime, window: timedelta = WINDOW, exclude: Collection[str] = ()
) -> Alert | None:
    """Return the newest alert of a kind that is due although nothing new happened.

    It was not delivered before, or it was suppressed and the window is over. The caller reports the
    outcome to :func:`record_delivery`, as for :func:`deduplicate`.

    Args:
        window: How long others of its kind are suppressed after one is sent.
        exclude: Kinds to leave out.

    Raises:
        StorageError: when the state cannot be written.
    """
    with _locked_states(state, now) as states:
        for kind, each in sorted(states.items(), key=lambda entry: entry[1].last):
            if each.waiting is None or kind in exclude or each.is_open(now, window):
                continue
            states[kind] = each.claimed(now)
            summary = each.at is not None
            folded = each.held_back if summary else each.held_back - 1
            since = each.since if folded else None
            return replace(each.waiting, folded=folded, folded_since=since, summary=summary)
    return None


def record_delivery(alert: Alert, state: Path, now: datetime, *, delivered: bool) -> None:
    """Record whether a channel accepted an alert; if none did, it is stored and due at once.

    Args:
        alert: An alert of :func:`deduplicate` or :func:`next_pending`, or any other.

    Raises:
        StorageError: when the state cannot be written.
    """
    with _locked_states(state, now) as states:
        each = states.get(alert.kind)
        if delivered:
            if each is not None:
                states[alert.kind] = _after_delivery(each, alert.occurrences)
            return
        if each is None or each.waiting is None:
            undelivered = {"held_back": alert.occurrences, "waiting": alert.without_repeats()}
            each = _initial_state(alert, now).model_copy(update=undelivered)
        until = each.until or now + EXPIRES_AFTER
        states[alert.kind] = each.model_copy(update={"at": None, "until": until})


def expire(state: Path, now: datetime) -> list[Alert]:
    """Drop alerts that no channel accepted for too long; return the newest of each kind.

    Raises:
        StorageError: when the state cannot be written.
    """
    expired = []
    with _locked_states(state, now) as states:
        for kind, each in [*states.items()]:
            late = each.at is None and each.until is not None and now >= each.until
            if late and each.waiting is not None:
                expired.append(each.waiting)
                del states[kind]
    return expired


def resolve(job: str, state: Path, succeeded: datetime, now: datetime) -> list[str]:
    """Drop a job's failures from before its success, unless none of them was delivered yet.

    Returns:
        Their kinds, and the kinds not delivered yet: these are sent all the same.

    Raises:
        StorageError: when the state cannot be written.
    """
    with _locked_states(state, now) as states:
        resolved = [
            kind for kind, each in states.items() if each.job == job and each.last <= succeeded
        ]
        for kind in resolved:
            if states[kind].at is not None or states[kind].waiting is None:
                del states[kind]
    return resolved


def _initial_state(alert: Alert, now: datetime) -> AlertState:
    return AlertState(at=None, held_back=0, last=alert.since, since=now, job=alert.job)


def _after_delivery(each: AlertState, delivered: int) -> AlertState:
    """The state after this number was delivered; more may have been suppressed meanwhile."""
    left = max(each.held_back - delivered, 0)
    update = {"held_back": left, "since": each.at or each.since, "until": None}
    return each.model_copy(update=update if left else update | {"waiting": None})


@contextlib.contextmanager
def _locked_states(state: Path, now: datetime) -> Iterator[dict[str, AlertState]]:
    """Read the state under a lock, since sensors tick concurrently; write back what changed."""
    with locked(state.parent / f".{state.name}.lock"):
        before = _read(state)
        states = {
            kind: each
            for kind, each in before.items()
            if now - max(each.last, each.since, each.at or each.since) < _RETENTION
        }
        yield states
        if states != before:
            document = {kind: each.model_dump(mode="json") for kind, each in states.items()}
            write_text(str(state), json.dumps(document, indent=1))


def _read(state: Path) -> dict[str, AlertState]:
    try:
        entries = json.loads(state.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    states: dict[str, AlertState] = {}
    for kind, entry in entries.items() if isinstance(entries, dict) else ():
        with contextlib.suppress(ValidationError):
            states[kind] = AlertState.model_validate(entry)
    return states
