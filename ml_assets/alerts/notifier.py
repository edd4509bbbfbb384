"""Tell people of something, at most once in a while for failures of one kind. Never raises."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.channels import LOGGER, send
from ml_assets.alerts.deduplication import deduplicate, end_folds, give_up, next_waiting, settle
from ml_assets.config.alert_settings import AlertSettings

STATE = ("alerts", "told.json")
"""Where the state of folding lies below the local home."""
_MAX_SECONDS = 25.0
"""So long what waits is told in one go; a tick has a minute, and a dead channel takes 8 s."""


@dataclass(frozen=True)
class Delivery:
    """What became of an alert.

    Attributes:
        by: Channels that took it.
        held_back: Whether it is only counted, since one of its kind was told a short while ago.
        waiting: Whether it is kept, to be told as soon as a channel takes it.
    """

    by: tuple[str, ...] = ()
    held_back: bool = False
    waiting: bool = False

    def __str__(self) -> str:
        if self.held_back:
            return "held back, since one of its kind was told a short while ago"
        if self.by:
            return f"told by {' and '.join(self.by)}"
        return f"not told: no channel took it{', it is tried again' if self.waiting else ''}"


def utc_now() -> datetime:
    """The present instant."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Notifier:
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

    def tell(self, alert: Alert) -> Delivery:
        """Tell at once, whatever was told before; what no channel takes waits for the next look."""
        alert = alert.without(self.settings.secrets)
        by = send(alert, self.settings, self.logger)
        try:
            settle(alert, self._state, self.now(), taken=bool(by))
        except OSError as error:
            self._warn(error)
            return Delivery(by)
        return Delivery(by, waiting=not by)

    def send_deduplicated(self, alert: Alert) -> Delivery:
        """Tell unless another of its kind was told within the window; then only count it."""
        alert = alert.without(self.settings.secrets)
        try:
            folded = deduplicate(alert, self._state, self.now(), self.settings.fold_window)
        except OSError as error:
            self._warn(error)
            return self.tell(alert)
        return Delivery(held_back=True) if folded is None else self.tell(folded)

    def retry_pending(self) -> list[str]:
        """Tell what no channel took when it happened, and how often what was folded has repeated.

        Returns:
            What became of each, a line each.
        """
        outcomes: dict[str, str] = {}
        end = time.monotonic() + _MAX_SECONDS
        try:
            for late in give_up(self._state, self.now()):
                self.logger.warning("No channel took this alert for days, given up: %s", late.what)
            while time.monotonic() < end:
                window = self.settings.fold_window
                alert = next_waiting(self._state, self.now(), window, but=outcomes)
                if alert is None:
                    break
                outcomes[alert.kind] = f"{alert.kind}: {self.tell(alert)}"
        except OSError as error:
            self._warn(error)
        return list(outcomes.values())

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
        self.logger.warning(
            "What was told cannot be kept, so it may be told again, or not if no channel took it: "
            "%s",
            error,
        )
