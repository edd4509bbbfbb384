"""An alert by e-mail: STARTTLS, TLS or plain; certificates are verified."""

import contextlib
import smtplib
import ssl
from email.header import Header
from email.mime.text import MIMEText
from email.utils import formatdate, make_msgid

from ml_assets.alerts.alert import Alert
from ml_assets.config.alert_settings import EmailSettings, Security

TIMEOUT_SECONDS = 5.0
_GREETING = "[127.0.0.1]"
"""What this machine calls itself. To look its name up can take longer than an alert may."""


class SomeRefused(Exception):
    """The server took the message for some of the addresses only."""


def send_email(alert: Alert, settings: EmailSettings, timeout: float = TIMEOUT_SECONDS) -> None:
    """Hand the alert to the mail server.

    Args:
        alert: What to tell.
        settings: The server, and to whom.
        timeout: Longest silence of the server, in seconds.

    Raises:
        OSError: when the server is not reached, not trusted, or refuses (``SMTPException``).
        SomeRefused: when it got through, but not to everyone.
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
        raise SomeRefused(f"refused for {', '.join(sorted(refused))}")


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
