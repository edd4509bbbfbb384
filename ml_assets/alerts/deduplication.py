"""Repeated alerts of one kind become one: told at once, then at most once in a window.

The state is a small JSON file. What is missing or damaged in it counts as never told, since it is
better to be told twice than not at all. What was not told yet is kept whole, to be told later.
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
GIVEN_UP_AFTER = timedelta(days=3)
"""For so long what no channel took is tried again: a mail server may be down over a weekend."""
_FORGOTTEN_AFTER = timedelta(days=60)


class AlertState(BaseModel):
    """What is known of one kind of alert.

    Attributes:
        at: When the last one was told; None when none could be, so that the next one is.
        held_back: How many were not told since.
        last: When the newest of them happened.
        since: When those that are held back began to be.
        job: The job whose success ends it.
        waiting: The newest of those held back; None when there is none.
        until: When it is given up, while no channel takes it.
    """

    at: AwareDatetime | None
    held_back: NonNegativeInt
    last: AwareDatetime
    since: AwareDatetime
    job: str | None = None
    waiting: Alert | None = None
    until: AwareDatetime | None = None

    def is_open(self, now: datetime, window: timedelta) -> bool:
        """Whether the last one was told so short a while ago that others are held back."""
        return self.at is not None and timedelta(0) <= now - self.at < window

    def claimed(self, now: datetime) -> "AlertState":
        """As if all of it were told now; :func:`settle` tells whether it was."""
        return self.model_copy(update={"at": now})


def deduplicate(
    alert: Alert, state: Path, now: datetime, window: timedelta = WINDOW
) -> Alert | None:
    """The alert to send (with the number held back before it), or None to hold it back.

    What it returns is to be settled (:func:`settle`). Should the process die before, it counts as
    held back.

    Args:
        alert: What happened.
        state: JSON file of what was told when.
        now: With a time zone.
        window: For so long after one is told, others of its kind are held back.

    Raises:
        StorageError: when the state cannot be written.
    """
    with _changing(state, now) as folds:
        before = folds.get(alert.kind) or _nothing_of(alert, now)
        is_open = before.is_open(now, window)
        since = before.since if before.held_back else (before.at or now) if is_open else now
        each = before.model_copy(
            update={
                "held_back": before.held_back + 1,
                "last": max(before.last, alert.since),
                "since": since,
                "waiting": alert.alone(),
            }
        )
        if is_open:
            folds[alert.kind] = each
            return None
        folds[alert.kind] = each.claimed(now)
    if not before.held_back:
        return alert
    return replace(alert, folded=before.held_back, folded_since=since)


def next_waiting(
    state: Path, now: datetime, window: timedelta = WINDOW, but: Collection[str] = ()
) -> Alert | None:
    """The newest alert of a kind that is to be told now, though nothing new happened.

    No channel took it before, or its kind was folded and the window is over. It is to be settled
    as those of :func:`deduplicate`.

    Args:
        state: JSON file of what was told when.
        now: With a time zone.
        window: For so long after one is told, others of its kind are held back.
        but: Kinds to leave out.

    Raises:
        StorageError: when the state cannot be written.
    """
    with _changing(state, now) as folds:
        for kind, each in sorted(folds.items(), key=lambda entry: entry[1].last):
            if each.waiting is None or kind in but or each.is_open(now, window):
                continue
            folds[kind] = each.claimed(now)
            summary = each.at is not None
            folded = each.held_back if summary else each.held_back - 1
            since = each.since if folded else None
            return replace(each.waiting, folded=folded, folded_since=since, summary=summary)
    return None


def settle(alert: Alert, state: Path, now: datetime, *, taken: bool) -> None:
    """Tell whether a channel took an alert: if none did, it is kept, and due at once.

    Args:
        alert: As :func:`deduplicate` or :func:`next_waiting` returned it, or another one.
        state: JSON file of what was told when.
        now: With a time zone.
        taken: Whether it was told.

    Raises:
        StorageError: when the state cannot be written.
    """
    with _changing(state, now) as folds:
        each = folds.get(alert.kind)
        if taken:
            if each is not None:
                folds[alert.kind] = _told(each, alert.counted)
            return
        if each is None or each.waiting is None:
            alone = {"held_back": alert.counted, "waiting": alert.alone()}
            each = _nothing_of(alert, now).model_copy(update=alone)
        until = each.until or now + GIVEN_UP_AFTER
        folds[alert.kind] = each.model_copy(update={"at": None, "until": until})


def give_up(state: Path, now: datetime) -> list[Alert]:
    """Forget what no channel took for too long.

    Returns:
        The newest of each kind.

    Raises:
        StorageError: when the state cannot be written.
    """
    given_up = []
    with _changing(state, now) as folds:
        for kind, each in [*folds.items()]:
            late = each.at is None and each.until is not None and now >= each.until
            if late and each.waiting is not None:
                given_up.append(each.waiting)
                del folds[kind]
    return given_up


def end_folds(job: str, state: Path, succeeded: datetime, now: datetime) -> list[str]:
    """Forget the failures of a job that happened before it succeeded and of which one was told.

    Returns:
        Their kinds, and those that nobody could be told of yet: these are told all the same.

    Raises:
        StorageError: when the state cannot be written.
    """
    with _changing(state, now) as folds:
        ended = [kind for kind, each in folds.items() if each.job == job and each.last <= succeeded]
        for kind in ended:
            if folds[kind].at is not None or folds[kind].waiting is None:
                del folds[kind]
    return ended


def _nothing_of(alert: Alert, now: datetime) -> AlertState:
    return AlertState(at=None, held_back=0, last=alert.since, since=now, job=alert.job)


def _told(each: AlertState, counted: int) -> AlertState:
    """A fold after so many of it were told; more may have been held back meanwhile."""
    left = max(each.held_back - counted, 0)
    told = {"held_back": left, "since": each.at or each.since, "until": None}
    return each.model_copy(update=told if left else told | {"waiting": None})


@contextlib.contextmanager
def _changing(state: Path, now: datetime) -> Iterator[dict[str, AlertState]]:
    """What was told, to be changed by one at a time: sensors tick side by side."""
    with locked(state.parent / f".{state.name}.lock"):
        before = _read(state)
        folds = {
            kind: each
            for kind, each in before.items()
            if now - max(each.last, each.since, each.at or each.since) < _FORGOTTEN_AFTER
        }
        yield folds
        if folds != before:
            document = {kind: each.model_dump(mode="json") for kind, each in folds.items()}
            write_text(str(state), json.dumps(document, indent=1))


def _read(state: Path) -> dict[str, AlertState]:
    try:
        entries = json.loads(state.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    folds: dict[str, AlertState] = {}
    for kind, entry in entries.items() if isinstance(entries, dict) else ():
        with contextlib.suppress(ValidationError):
            folds[kind] = AlertState.model_validate(entry)
    return folds
