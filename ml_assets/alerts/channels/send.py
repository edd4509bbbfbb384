"""An alert by every channel there is; one that fails is a warning, never an error."""

import logging
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from urllib.error import HTTPError, URLError

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.channels.email import SomeRefused, send_email
from ml_assets.alerts.channels.webhook import send_webhook
from ml_assets.config.alert_settings import AlertSettings
from ml_assets.secrets import error_text, one_line, scrub

LOGGER = logging.getLogger(__name__)
DEADLINE_SECONDS = 8.0
"""For all channels together. A tick may tell of five runs, and Dagster gives it a minute."""

_LONGEST_REASON = 300


def send(alert: Alert, settings: AlertSettings, logger: logging.Logger = LOGGER) -> tuple[str, ...]:
    """Send by all channels; returns those that took it. Never raises."""
    faults = attempt(alert, settings)
    for name, (fault, _) in faults.items():
        if fault is not None:
            logger.warning("Alert %r was not sent by %s: %s", alert.kind, name, fault)
    return tuple(name for name, (_, taken) in faults.items() if taken)


def attempt(alert: Alert, settings: AlertSettings) -> dict[str, tuple[str | None, bool]]:
    """Send by all channels at once.

    Returns:
        By channel: what went wrong, in words without a secret (None for nothing), and whether
        anybody has got it.
    """
    secrets = settings.secrets
    told = alert.without(secrets)
    channels: dict[str, Callable[[], None]] = {}
    if (email := settings.email) is not None:
        channels["email"] = lambda: send_email(told, email)
    if (webhook := settings.webhook) is not None:
        channels["webhook"] = lambda: send_webhook(told, webhook)
    late = (f"not done within {DEADLINE_SECONDS:g} s", False)
    found = dict.fromkeys(channels, late)
    answers: dict[str, tuple[str | None, bool]] = {}

    def act(name: str) -> None:
        try:
            channels[name]()
            answers[name] = (None, True)
        except Exception as error:  # noqa: BLE001 - an alert must never fail what it tells of
            fault = one_line(scrub(reason(error), *secrets), _LONGEST_REASON)
            answers[name] = (fault, isinstance(error, SomeRefused))

    threads = [threading.Thread(target=act, args=(name,), daemon=True) for name in channels]
    for thread in threads:
        thread.start()
    end = time.monotonic() + DEADLINE_SECONDS
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    return found | dict(answers)


def reason(error: BaseException) -> str:
    """What went wrong and the way out, in the words of this project where it knows them.

    A server's own words may repeat a secret: they are taken where they tell, and struck by the
    caller.
    """
    if isinstance(error, HTTPError):
        return f"the webhook answers {error.code}: is ML_ASSETS_ALERT_WEBHOOK still the right URL?"
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        return reason(error.reason)
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return (
            f"user and password are refused ({error.smtp_code}): see ML_ASSETS_SMTP_USER and "
            "ML_ASSETS_SMTP_PASSWORD"
        )
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return f"the server offers none of it ({error}): see ML_ASSETS_SMTP_SECURITY"
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return "the server closed the connection: see ML_ASSETS_SMTP_PORT and …_SECURITY"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"refused for {', '.join(sorted(error.recipients))}: see ML_ASSETS_ALERT_EMAIL_TO"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the server refuses ({error.smtp_code} {_decoded(error.smtp_error)})"
    return _connection_reason(error)


def _connection_reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "no TLS is spoken there: see port and ML_ASSETS_SMTP_SECURITY"
    if isinstance(error, socket.gaierror):
        return "the server's name is not known"
    if isinstance(error, TimeoutError):
        return "the server does not answer in time"
    if isinstance(error, ConnectionError):
        return "nobody answers there, or the connection broke"
    if isinstance(error, HTTPException):
        return f"the server's answer makes no sense ({type(error).__name__})"
    return error_text(error) if isinstance(error, SomeRefused) else (type(error).__name__)


def _decoded(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words
