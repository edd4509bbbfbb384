"""Repeated alerts of one kind become one: told at once, then at most every six hours."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from ml_assets.alerts.alert import Alert
from ml_assets.storage.atomic import write_text

WINDOW = timedelta(hours=6)


@dataclass(frozen=True)
class _Told:
    at: datetime
    held_back: int


def fold(alert: Alert, state: Path, now: datetime) -> Alert | None:
    """The alert to send (with the number held back before it), or None to hold it back.

    Args:
        alert: What happened.
        state: JSON file of what was told when; missing or damaged counts as empty.
        now: With a time zone.

    Raises:
        StorageError: when the state cannot be written.
    """
    told = _read(state)
    last = told.get(alert.kind)
    if last is not None and timedelta(0) <= now - last.at < WINDOW:
        told[alert.kind] = _Told(last.at, last.held_back + 1)
        folded = None
    else:
        told[alert.kind] = _Told(now, 0)
        folded = replace(alert, folded=last.held_back if last else 0)
    document = {k: {"at": t.at.isoformat(), "held_back": t.held_back} for k, t in told.items()}
    write_text(str(state), json.dumps(document, indent=1))
    return folded


def _read(state: Path) -> dict[str, _Told]:
    try:
        told = {
            kind: _Told(datetime.fromisoformat(each["at"]), int(each["held_back"]))
            for kind, each in json.loads(state.read_text(encoding="utf-8")).items()
        }
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {} if any(each.at.tzinfo is None for each in told.values()) else told
