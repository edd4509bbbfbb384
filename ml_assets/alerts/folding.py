"""Repeated alerts of one kind become one: told at once, then at most once in a window.

The state is a small JSON file. What is missing or damaged in it counts as never told, since it is
better to be told twice than not at all.
"""

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, NonNegativeInt, ValidationError

from ml_assets.alerts.alert import Alert
from ml_assets.storage.atomic import write_text

WINDOW = timedelta(hours=6)
_FORGOTTEN_AFTER = timedelta(days=60)


class Fold(BaseModel):
    """What is known of one kind of alert.

    Attributes:
        at: When the last one was told; None when none could be, so that the next one is.
        held_back: How many were not told since.
        last: When the newest of them happened.
        since: When those that are held back began to be.
        job: The job whose success ends it.
    """

    at: AwareDatetime | None
    held_back: NonNegativeInt
    last: AwareDatetime
    since: AwareDatetime
    job: str | None = None


def fold(alert: Alert, state: Path, now: datetime, window: timedelta = WINDOW) -> Alert | None:
    """The alert to send (with the number held back before it), or None to hold it back.

    Args:
        alert: What happened.
        state: JSON file of what was told when.
        now: With a time zone.
        window: For so long after one is told, others of its kind are held back.

    Raises:
        StorageError: when the state cannot be written.
    """
    with _changing(state, now) as folds:
        last = folds.get(alert.kind)
        if last is not None and last.at is not None and timedelta(0) <= now - last.at < window:
            folds[alert.kind] = last.model_copy(
                update={"held_back": last.held_back + 1, "last": max(last.last, alert.since)}
            )
            return None
        folds[alert.kind] = Fold(at=now, held_back=0, last=alert.since, since=now, job=alert.job)
    if last is None or not last.held_back:
        return alert
    return replace(alert, folded=last.held_back, folded_since=last.since)


def not_told(alert: Alert, state: Path, now: datetime) -> None:
    """Take back that an alert was told, since no channel took it: the next one is sent at once.

    Args:
        alert: As :func:`fold` returned it.
        state: JSON file of what was told when.
        now: With a time zone.

    Raises:
        StorageError: when the state cannot be written.
    """
    with _changing(state, now) as folds:
        since = alert.folded_since or now
        held_back = alert.folded + 1
        folds[alert.kind] = Fold(
            at=None, held_back=held_back, last=alert.since, since=since, job=alert.job
        )


def end_folds(job: str, state: Path, succeeded: datetime, now: datetime) -> list[str]:
    """Forget the failures of a job that happened before it succeeded.

    Returns:
        Their kinds.

    Raises:
        StorageError: when the state cannot be written.
    """
    with _changing(state, now) as folds:
        ended = [kind for kind, each in folds.items() if each.job == job and each.last <= succeeded]
        for kind in ended:
            del folds[kind]
    return ended


@contextlib.contextmanager
def _changing(state: Path, now: datetime) -> Iterator[dict[str, Fold]]:
    """What was told, to be changed by one at a time: sensors tick side by side."""
    state.parent.mkdir(parents=True, exist_ok=True)
    with open(state.parent / f".{state.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = _read(state)
        folds = {k: each for k, each in before.items() if now - each.last < _FORGOTTEN_AFTER}
        yield folds
        if folds != before:
            document = {kind: each.model_dump(mode="json") for kind, each in folds.items()}
            write_text(str(state), json.dumps(document, indent=1))


def _read(state: Path) -> dict[str, Fold]:
    try:
        entries = json.loads(state.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    folds: dict[str, Fold] = {}
    for kind, entry in entries.items() if isinstance(entries, dict) else ():
        with contextlib.suppress(ValidationError):
            folds[kind] = Fold.model_validate(entry)
    return folds
