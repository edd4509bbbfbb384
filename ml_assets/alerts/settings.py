"""Where alerts go, from the environment; credentials are never shown."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from enum import StrEnum
from pathlib import Path

from ml_assets.settings import SettingsError

VARIABLES = (
    "ML_ASSETS_ALERT_EMAIL_TO",
    "ML_ASSETS_ALERT_EMAIL_FROM",
    "ML_ASSETS_SMTP_HOST",
    "ML_ASSETS_SMTP_PORT",
    "ML_ASSETS_SMTP_SECURITY",
    "ML_ASSETS_SMTP_USER",
    "ML_ASSETS_SMTP_PASSWORD",
    "ML_ASSETS_SMTP_CA_FILE",
    "ML_ASSETS_ALERT_WEBHOOK",
    "ML_ASSETS_ALERT_ON_SUCCESS",
    "ML_ASSETS_UI_URL",
)


class Security(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    PLAIN = "plain"


_PORTS = {Security.STARTTLS: 587, Security.TLS: 465, Security.PLAIN: 25}


@dataclass(frozen=True)
class EmailSettings:
    """A mail server and who writes to whom through it."""

    to: tuple[str, ...]
    sender: str
    host: str
    port: int
    security: Security
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None


@dataclass(frozen=True)
class AlertSettings:
    """The channels there are (None for none), and what is told."""

    email: EmailSettings | None = None
    webhook: str | None = field(default=None, repr=False)
    on_success: bool = False
    ui_url: str = "http://localhost:3000"


def read_alert_settings(environment: Mapping[str, str] | None = None) -> AlertSettings:
    """Alert settings from environment variables (``os.environ`` unless given).

    Raises:
        SettingsError: for the first variable whose value is not allowed; shows no secret.
    """
    given = os.environ if environment is None else environment
    values = {name: given.get(name, "").strip() for name in VARIABLES}
    return AlertSettings(
        email=_email(values),
        webhook=_url(values, "ML_ASSETS_ALERT_WEBHOOK", shown="…") or None,
        on_success=_switch(values, "ML_ASSETS_ALERT_ON_SUCCESS"),
        ui_url=(_url(values, "ML_ASSETS_UI_URL") or "http://localhost:3000").rstrip("/"),
    )


def _email(values: Mapping[str, str]) -> EmailSettings | None:
    security = _security(values["ML_ASSETS_SMTP_SECURITY"])
    port = _port(values["ML_ASSETS_SMTP_PORT"], security)
    to = tuple(each.strip() for each in values["ML_ASSETS_ALERT_EMAIL_TO"].split(",") if each)
    if not to:
        return None
    for each in to:
        _check_address("ML_ASSETS_ALERT_EMAIL_TO", each)
    sender = values["ML_ASSETS_ALERT_EMAIL_FROM"] or to[0]
    _check_address("ML_ASSETS_ALERT_EMAIL_FROM", sender)
    host = values["ML_ASSETS_SMTP_HOST"]
    if not host:
        raise SettingsError("ML_ASSETS_SMTP_HOST", host, "name the mail server alerts go through")
    user, password = values["ML_ASSETS_SMTP_USER"], values["ML_ASSETS_SMTP_PASSWORD"]
    if bool(user) != bool(password):
        name = "ML_ASSETS_SMTP_PASSWORD" if user else "ML_ASSETS_SMTP_USER"
        raise SettingsError(name, "", "set user and password, or neither")
    ca_file = values["ML_ASSETS_SMTP_CA_FILE"]
    if ca_file and not Path(ca_file).is_file():
        raise SettingsError("ML_ASSETS_SMTP_CA_FILE", ca_file, "name a file of certificates")
    return EmailSettings(
        to, sender, host, port, security, user or None, password or None, ca_file or None
    )


def _check_address(variable: str, value: str) -> None:
    allowed = "use addresses such as name@example.org, separated by commas"
    try:
        address = Address(addr_spec=value)
    except (MessageError, ValueError, IndexError) as error:
        raise SettingsError(variable, value, allowed) from error
    if not address.username or not address.domain:
        raise SettingsError(variable, value, allowed)


def _security(value: str) -> Security:
    try:
        return Security(value or "starttls")
    except ValueError as error:
        raise SettingsError(
            "ML_ASSETS_SMTP_SECURITY", value, "use starttls, tls or plain"
        ) from error


def _port(value: str, security: Security) -> int:
    if not value:
        return _PORTS[security]
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and 0 < int(value) < 65536):
        raise SettingsError("ML_ASSETS_SMTP_PORT", value, "use a number from 1 to 65535")
    return int(value)


def _switch(values: Mapping[str, str], name: str) -> bool:
    if values[name] not in ("", "0", "1", "true", "false"):
        raise SettingsError(name, values[name], "use true or false")
    return values[name] in ("1", "true")


def _url(values: Mapping[str, str], name: str, shown: str | None = None) -> str:
    value = values[name]
    if value and not value.startswith(("http://", "https://")):
        raise SettingsError(name, shown or value, "use a URL that starts with http:// or https://")
    return value
