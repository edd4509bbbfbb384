"""Tell people of something, at most once in a while for failures of one kind. Never raises."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.folding import end_folds, fold, not_told
from ml_assets.alerts.sending import LOGGER, send
from ml_assets.alerts.settings import AlertSettings

STATE = ("alerts", "told.json")
"""Where the state of folding lies below the local home."""


@dataclass(frozen=True)
class Told:
    """What became of an alert.

    Attributes:
        by: Channels that took it.
        held_back: Whether it is only counted, since one of its kind was told a short while ago.
    """

    by: tuple[str, ...] = ()
    held_back: bool = False

    @property
    def done(self) -> bool:
        """Whether nothing is left to do about it."""
        return self.held_back or bool(self.by)

    def __str__(self) -> str:
        if self.held_back:
            return "held back, since one of its kind was told a short while ago"
        return f"told by {' and '.join(self.by)}" if self.by else "not told: no channel took it"


def utc_now() -> datetime:
    """The present instant."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Teller:
    """Tells by the channels that the settings name.

    Attributes:
        settings: Channels, and for how long repetitions are folded.
        home: Local folder; the state of folding lies below it.
        now: Tells the time.
        logger: For what went wrong.
    """

    settings: AlertSettings
    home: Path
    now: Callable[[], datetime] = utc_now
    logger: logging.Logger = field(default=LOGGER, repr=False)

    def tell(self, alert: Alert) -> Told:
        """Tell at once, whatever was told before."""
        return Told(send(alert, self.settings, self.logger))

    def tell_folded(self, alert: Alert) -> Told:
        """Tell unless another of its kind was told within the window; then only count it."""
        try:
            folded = fold(alert, self._state, self.now(), self.settings.fold_window)
        except OSError as error:
            self._warn(error)
            return self.tell(alert)
        if folded is None:
            return Told(held_back=True)
        told = self.tell(folded)
        if not told.done:
            try:
                not_told(folded, self._state, self.now())
            except OSError as error:
                self._warn(error)
        return told

    def succeeded(self, job: str, at: datetime) -> list[str]:
        """A job has succeeded: its failures before that are over. Returns their kinds."""
        try:
            return end_folds(job, self._state, at, self.now())
        except OSError as error:
            self._warn(error)
            return []

    @property
    def _state(self) -> Path:
        return self.home.joinpath(*STATE)

    def _warn(self, error: OSError) -> None:
        self.logger.warning("What was told cannot be kept, so it may be told again: %s", error)
