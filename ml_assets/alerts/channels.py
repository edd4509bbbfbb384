"""Deliver an alert by e-mail and webhook; a channel that fails is a warning, never an error."""

import contextlib
import json
import logging
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from email.header import Header
from email.mime.text import MIMEText
from email.utils import formatdate, make_msgid
from http.client import HTTPException, HTTPResponse
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from ml_assets.alerts.alert import Alert
from ml_assets.config.alert_settings import AlertSettings, EmailSettings, Security
from ml_assets.secrets import error_text, one_line, scrub

LOGGER = logging.getLogger(__name__)
DEADLINE_SECONDS = 8.0
"""For all channels together: a tick may report five runs, and Dagster gives it a minute."""

_LONGEST_REASON = 300


def send(alert: Alert, settings: AlertSettings, logger: logging.Logger = LOGGER) -> tuple[str, ...]:
    """Send by all channels; returns those that accepted it. Never raises."""
    outcomes = deliver(alert, settings)
    for name, (error, _) in outcomes.items():
        if error is not None:
            logger.warning("Alert %r was not sent by %s: %s", alert.kind, name, error)
    return tuple(name for name, (_, delivered) in outcomes.items() if delivered)


def deliver(alert: Alert, settings: AlertSettings) -> dict[str, tuple[str | None, bool]]:
    """Send by all channels in parallel.

    Returns:
        For each channel the error, without secrets (None for success), and whether at least one
        recipient got the message.
    """
    secrets = settings.secrets
    redacted = alert.redacted(secrets)
    channels: dict[str, Callable[[], None]] = {}
    if (email := settings.email) is not None:
        channels["email"] = lambda: send_email(redacted, email)
    if (webhook := settings.webhook) is not None:
        channels["webhook"] = lambda: send_webhook(redacted, webhook.get_secret_value())
    late = (f"not done within {DEADLINE_SECONDS:g} s", False)
    unfinished = dict.fromkeys(channels, late)
    outcomes: dict[str, tuple[str | None, bool]] = {}

    def run(name: str) -> None:
        try:
            channels[name]()
            outcomes[name] = (None, True)
        except Exception as error:  # noqa: BLE001 - an alert must never fail what it reports
            message = one_line(scrub(delivery_error(error), *secrets), _LONGEST_REASON)
            outcomes[name] = (message, isinstance(error, PartiallyRejected))

    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in channels]
    for thread in threads:
        thread.start()
    end = time.monotonic() + DEADLINE_SECONDS
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    return unfinished | dict(outcomes)


def delivery_error(error: BaseException) -> str:
    """Return what went wrong and the setting to check.

    A server's own text may repeat a secret; the caller redacts it.
    """
    if isinstance(error, HTTPError):
        return f"the webhook returned {error.code}: is ML_ASSETS_ALERT_WEBHOOK still the right URL?"
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        return delivery_error(error.reason)
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return (
            f"user or password rejected ({error.smtp_code}): see ML_ASSETS_SMTP_USER and "
            "ML_ASSETS_SMTP_PASSWORD"
        )
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return f"not supported by the server ({error}): see ML_ASSETS_SMTP_SECURITY"
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return "the server closed the connection: see ML_ASSETS_SMTP_PORT and …_SECURITY"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"rejected for {', '.join(sorted(error.recipients))}: see ML_ASSETS_ALERT_EMAIL_TO"
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return f"the server rejected it ({error.smtp_code} {text})"
    return _connection_reason(error)


def _connection_reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "the server does not use TLS on this port: see port and ML_ASSETS_SMTP_SECURITY"
    if isinstance(error, socket.gaierror):
        return "unknown host name"
    if isinstance(error, TimeoutError):
        return "the server did not respond in time"
    if isinstance(error, ConnectionError):
        return "connection refused or lost"
    if isinstance(error, HTTPException):
        return f"invalid HTTP response ({type(error).__name__})"
    return error_text(error) if isinstance(error, PartiallyRejected) else type(error).__name__


TIMEOUT_SECONDS = 5.0
"""Timeout of each network operation."""
_GREETING = "[127.0.0.1]"
"""This machine's name in EHLO: a DNS lookup of the real one may exceed the deadline."""


class PartiallyRejected(Exception):
    """The server accepted the message for some of the recipients only."""


def send_email(alert: Alert, settings: EmailSettings) -> None:
    """Send the alert by SMTP.

    Raises:
        OSError: when the server is not reachable, not trusted, or rejects the message
            (``SMTPException``).
        PartiallyRejected: when some recipients were rejected.
    """
    message = _message(alert, settings)
    server = _connect(settings)
    try:
        if settings.user is not None and settings.password is not None:
            server.login(settings.user.get_secret_value(), settings.password.get_secret_value())
        rejected = server.send_message(message)
        with contextlib.suppress(OSError):  # the message is accepted by now
            server.quit()
    finally:
        server.close()
    if rejected:
        raise PartiallyRejected(f"rejected for {', '.join(sorted(rejected))}")


def _message(alert: Alert, settings: EmailSettings) -> MIMEText:
    """Build the message, all ASCII, as old servers need it.

    Not an ``EmailMessage``, which loses the space between two words that are not ASCII.
    """
    message = MIMEText(alert.text, "plain", "utf-8")
    message["Subject"] = Header(alert.subject, None if alert.subject.isascii() else "utf-8")  # type: ignore[assignment]
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="ml-assets.invalid")
    message["Auto-Submitted"] = "auto-generated"  # suppresses vacation replies
    return message


def _connect(settings: EmailSettings) -> smtplib.SMTP:
    host, port, timeout = settings.host, settings.port, TIMEOUT_SECONDS
    if settings.security is Security.PLAIN:
        return smtplib.SMTP(host, port, _GREETING, timeout)
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.security is Security.TLS:
        return smtplib.SMTP_SSL(host, port, _GREETING, timeout=timeout, context=context)
    server = smtplib.SMTP(host, port, _GREETING, timeout)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


class _NoRedirects(HTTPRedirectHandler):
    """Sends the message to the configured server only."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Treat a redirect as a failure."""


def send_webhook(alert: Alert, url: str) -> None:
    """Post ``{"text": …}``.

    Not with ``requests``: urllib3 below it logs the path of each URL, which is a secret here.

    Raises:
        OSError: when the server is not reachable or rejects the message; the error text may hold
            the URL.
    """
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    body = json.dumps({"text": escape_for_slack(alert.text)}).encode()
    request = Request(url, body, {"Content-Type": "application/json", "User-Agent": "ml-assets"})
    opener = build_opener(_NoRedirects, HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            assert isinstance(response, HTTPResponse)
            response.read(1000)
    except HTTPError as error:
        error.close()
        raise


def escape_for_slack(text: str) -> str:
    """Escape the text for Slack: ``<!channel>`` in an error must not notify a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
