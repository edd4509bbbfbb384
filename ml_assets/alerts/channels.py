"""An alert by every channel there is; one that fails is a warning, never an error."""

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
            answers[name] = (fault, isinstance(error, PartiallyRefused))

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
    return error_text(error) if isinstance(error, PartiallyRefused) else (type(error).__name__)


def _decoded(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words


TIMEOUT_SECONDS = 5.0
_GREETING = "[127.0.0.1]"
"""What this machine calls itself. To look its name up can take longer than an alert may."""


class PartiallyRefused(Exception):
    """The server took the message for some of the addresses only."""


def send_email(alert: Alert, settings: EmailSettings, timeout: float = TIMEOUT_SECONDS) -> None:
    """Hand the alert to the mail server.

    Args:
        alert: What to tell.
        settings: The server, and to whom.
        timeout: Longest silence of the server, in seconds.

    Raises:
        OSError: when the server is not reached, not trusted, or refuses (``SMTPException``).
        PartiallyRefused: when it got through, but not to everyone.
    """
    message = _message(alert, settings)
    server = _connect(settings, timeout)
    try:
        if settings.user is not None and settings.password is not None:
            server.login(settings.user, settings.password)
        refused = server.send_message(message)
        with contextlib.suppress(OSError):  # it has the message by now, however it takes its leave
            server.quit()
    finally:
        server.close()
    if refused:
        raise PartiallyRefused(f"refused for {', '.join(sorted(refused))}")


def _message(alert: Alert, settings: EmailSettings) -> MIMEText:
    """As old servers take it, too: all of it in ASCII.

    Not an ``EmailMessage``, which loses the space between two words that are not.
    """
    message = MIMEText(alert.text, "plain", "utf-8")
    message["Subject"] = Header(alert.subject, None if alert.subject.isascii() else "utf-8")  # type: ignore[assignment]
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="ml-assets.invalid")
    message["Auto-Submitted"] = "auto-generated"  # no vacation notes in answer, please
    return message


def _connect(settings: EmailSettings, timeout: float) -> smtplib.SMTP:
    host, port = settings.host, settings.port
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
    """The message is for the server that was named, and for no other."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Treat a redirect as the failure that it is."""


def send_webhook(alert: Alert, url: str, timeout: float = TIMEOUT_SECONDS) -> None:
    """Post ``{"text": …}``.

    Not by ``requests``: what lies below it writes the path of each URL, here a secret, to its log.

    Raises:
        OSError: when it is not reached or refuses; its text may hold the URL.
    """
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    body = json.dumps({"text": as_slack_shows_it(alert.text)}).encode()
    request = Request(url, body, {"Content-Type": "application/json", "User-Agent": "ml-assets"})
    opener = build_opener(_NoRedirects, HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=timeout) as answer:
            assert isinstance(answer, HTTPResponse)
            answer.read(1000)
    except HTTPError as error:
        error.close()
        raise


def as_slack_shows_it(text: str) -> str:
    """The text so that it is shown as it is: ``<!channel>`` in an error shall call nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
