"""An alert by every channel there is; one that fails is a warning, never an error."""

import logging
from collections.abc import Callable

import requests

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.email import send_email
from ml_assets.alerts.settings import AlertSettings
from ml_assets.alerts.webhook import send_webhook

LOGGER = logging.getLogger(__name__)


def send(alert: Alert, settings: AlertSettings, logger: logging.Logger = LOGGER) -> tuple[str, ...]:
    """Send by all channels; returns those that took it. Never raises."""
    channels: dict[str, Callable[[], None]] = {}
    if (email := settings.email) is not None:
        channels["email"] = lambda: send_email(alert, email)
    if (webhook := settings.webhook) is not None:
        channels["webhook"] = lambda: send_webhook(alert, webhook)
    return tuple(name for name, act in channels.items() if _sent(name, act, alert, logger))


def _sent(name: str, act: Callable[[], None], alert: Alert, logger: logging.Logger) -> bool:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - an alert must never fail what it tells of
        logger.warning("Alert %r was not sent by %s: %s", alert.kind, name, _reason(error))
        return False
    return True


def _reason(error: Exception) -> str:
    """Kind and code only: a server's words or a URL may repeat a secret."""
    code = getattr(error, "smtp_code", None)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        code = error.response.status_code
    return type(error).__name__ + (f" ({code})" if code is not None else "")
