"""Send alerts; repeated alerts of one kind are deduplicated. Nothing here raises."""

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ml_assets.alerts import channels
from ml_assets.alerts.alert import Alert
from ml_assets.alerts.channels import LOGGER
from ml_assets.alerts.deduplication import (
    deduplicate,
    expire,
    next_pending,
    record_delivery,
    resolve,
)
from ml_assets.config.alert_settings import AlertSettings
from ml_assets.trips.month import Clock, utc_now

STATE = ("alerts", "told.json")
"""Path of the deduplication state below the local home."""
_MAX_SECONDS = 25.0
"""Time limit of one round of retries: a tick has a minute, and a dead channel takes 8 s."""


@dataclass(frozen=True)
class Delivery:
    """The outcome of sending an alert.

    Attributes:
        channels: Channels that accepted it.
        suppressed: Whether it was only counted: one of its kind was sent within the window.
        pending: Whether it is stored, to be sent as soon as a channel accepts it.
    """

    channels: tuple[str, ...] = ()
    suppressed: bool = False
    pending: bool = False

    def __str__(self) -> str:
        if self.suppressed:
            return "suppressed: an alert of this kind was sent recently"
        if self.channels:
            return f"sent by {' and '.join(self.channels)}"
        return f"not sent: no channel accepted it{', it will be retried' if self.pending else ''}"


@dataclass(frozen=True)
class Notifier:
    """Sends alerts by the configured channels.

    Attributes:
        home: Local folder that holds the deduplication state.
        logger: Receives warnings of failed deliveries.
    """

    settings: AlertSettings
    home: Path
    now: Clock = utc_now
    logger: logging.Logger = field(default=LOGGER, repr=False)

    def send(self, alert: Alert) -> Delivery:
        """Send at once, without deduplication; what no channel accepts is stored and retried."""
        alert = alert.redacted(self.settings.secrets)
        accepted = channels.send(alert, self.settings, self.logger)
        try:
            record_delivery(alert, self._state, self.now(), delivered=bool(accepted))
        except OSError as error:
            self._warn(error)
            return Delivery(accepted)
        return Delivery(accepted, pending=not accepted)

    def send_deduplicated(self, alert: Alert) -> Delivery:
        """Send, or only count it when one of its kind was sent within the window."""
        alert = alert.redacted(self.settings.secrets)
        try:
            to_send = deduplicate(alert, self._state, self.now(), self.settings.dedup_window)
        except OSError as error:
            self._warn(error)
            return self.send(alert)
        return Delivery(suppressed=True) if to_send is None else self.send(to_send)

    def retry_pending(self) -> list[str]:
        """Send alerts that no channel accepted before, and summaries of suppressed ones.

        Returns:
            The outcome of each, one line per alert.
        """
        outcomes: dict[str, str] = {}
        end = time.monotonic() + _MAX_SECONDS
        try:
            for expired in expire(self._state, self.now()):
                self.logger.warning(
                    "No channel accepted this alert for days, dropped: %s", expired.what
                )
            while time.monotonic() < end:
                window = self.settings.dedup_window
                alert = next_pending(self._state, self.now(), window, exclude=outcomes)
                if alert is None:
                    break
                outcomes[alert.kind] = f"{alert.kind}: {self.send(alert)}"
        except OSError as error:
            self._warn(error)
        return list(outcomes.values())

    def resolve(self, job: str, succeeded: datetime) -> list[str]:
        """Resolve a job's failures before its success. Returns their kinds."""
        try:
            return resolve(job, self._state, succeeded, self.now())
        except OSError as error:
            self._warn(error)
            return []

    @property
    def _state(self) -> Path:
        return self.home.joinpath(*STATE)

    def _warn(self, error: OSError) -> None:
        self.logger.warning(
            "The deduplication state cannot be written, so an alert may be sent twice, or lost if "
            "no channel accepted it: %s",
            error,
        )
