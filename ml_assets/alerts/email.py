"""An alert by e-mail: STARTTLS, TLS or plain; certificates are verified."""

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.settings import EmailSettings, Security

TIMEOUT_SECONDS = 15.0


def send_email(alert: Alert, settings: EmailSettings, timeout: float = TIMEOUT_SECONDS) -> None:
    """Hand the alert to the mail server.

    Raises:
        OSError: when the server is not reached, not trusted, or refuses (``SMTPException``).
    """
    message = EmailMessage()
    message["Subject"] = alert.subject
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="ml-assets.invalid")
    message.set_content(alert.text)
    with _connect(settings, timeout) as server:
        if settings.user is not None and settings.password is not None:
            server.login(settings.user, settings.password)
        server.send_message(message)


def _connect(settings: EmailSettings, timeout: float) -> smtplib.SMTP:
    if settings.security is Security.PLAIN:
        return smtplib.SMTP(settings.host, settings.port, timeout=timeout)
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.security is Security.TLS:
        return smtplib.SMTP_SSL(settings.host, settings.port, timeout=timeout, context=context)
    server = smtplib.SMTP(settings.host, settings.port, timeout=timeout)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server
