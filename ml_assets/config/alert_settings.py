"""Settings of alerts, read from the environment; credentials are never shown."""

import base64
import re
from collections.abc import Mapping
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic.dataclasses import dataclass

from ml_assets.config.environment import EnvironmentSettings, SettingsError, variable
from ml_assets.config.http_origin import LOOPBACK_HOSTS
from ml_assets.secrets import secrets_of_webhook

UI_URL = "http://127.0.0.1:3000"
DEDUP_HOURS = 6.0
MAX_DEDUP_HOURS = 720.0
_MIN_USER = 6
"""A shorter user name is part of other words."""


class Security(StrEnum):
    """Security of the connection to the mail server."""

    STARTTLS = "starttls"
    TLS = "tls"
    PLAIN = "plain"


_PORTS = {Security.STARTTLS: 587, Security.TLS: 465, Security.PLAIN: 25}


@dataclass(frozen=True)
class EmailSettings:
    """A mail server, the sender and the recipients."""

    to: tuple[str, ...]
    sender: str
    host: str
    port: int
    security: Security
    user: SecretStr | None = None
    password: SecretStr | None = None
    ca_file: str | None = None


@dataclass(frozen=True)
class AlertSettings:
    """Channels of alerts, and which alerts are sent.

    Attributes:
        webhook: URL to post to; None without a webhook. It is a secret, since it needs no login.
        dedup_window: Time after a message in which repeated failures of its kind are only counted.
        ui_url: Base URL of links, without a slash at the end.
    """

    email: EmailSettings | None = None
    webhook: SecretStr | None = None
    on_success: bool = False
    dedup_window: timedelta = timedelta(hours=DEDUP_HOURS)
    ui_url: str = UI_URL

    @property
    def on(self) -> bool:
        """Whether there is a channel."""
        return self.email is not None or self.webhook is not None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secrets to remove from messages: password, user (unless an address) and webhook."""
        found = secrets_of_webhook(self.webhook.get_secret_value()) if self.webhook else set()
        if (email := self.email) is not None and email.user and email.password:
            user, password = email.user.get_secret_value(), email.password.get_secret_value()
            found |= {password, base64.b64encode(f"\0{user}\0{password}".encode()).decode()}
            if user not in (email.sender, *email.to) and len(user) >= _MIN_USER:
                found.add(user)
        return tuple(sorted(found))

    @property
    def shown_webhook(self) -> str | None:
        """The webhook's server, without the secret path."""
        if self.webhook is None:
            return None
        parts = urlsplit(self.webhook.get_secret_value())
        return f"{parts.scheme}://{parts.hostname}/…"


def read_alert_settings(environment: Mapping[str, str] | None = None) -> AlertSettings:
    """Read alert settings from environment variables (by default this process's and ``.env``).

    Raises:
        SettingsError: for the first variable with an invalid value; shows no secret.
    """
    variables = AlertVariables.read(environment)
    return AlertSettings(
        email=_email(variables),
        webhook=variables.webhook,
        on_success=variables.on_success,
        dedup_window=timedelta(hours=variables.dedup_hours),
        ui_url=variables.ui_url,
    )


def _email(given: "AlertVariables") -> EmailSettings | None:
    to = tuple(each.strip() for each in given.email_to.split(",") if each)
    if not to:
        return None
    for each in to:
        _check_address("ML_ASSETS_ALERT_EMAIL_TO", each)
    user = given.user.get_secret_value() if given.user else ""
    sender = given.email_from or (user if "@" in user else to[0])
    _check_address("ML_ASSETS_ALERT_EMAIL_FROM", sender)
    host = given.host
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", host) or host.count(":") == 1:
        allowed = "name the mail server alerts go through; its port goes into ML_ASSETS_SMTP_PORT"
        raise SettingsError("ML_ASSETS_SMTP_HOST", host, allowed)
    if (given.user is None) != (given.password is None):
        name = "ML_ASSETS_SMTP_PASSWORD" if given.user else "ML_ASSETS_SMTP_USER"
        raise SettingsError(name, "", "set user and password, or neither")
    if given.user and given.security is Security.PLAIN and not LOOPBACK_HOSTS.is_own(host):
        allowed = "use starttls or tls: with plain, the password is sent unencrypted"
        raise SettingsError("ML_ASSETS_SMTP_SECURITY", given.security, allowed)
    if given.ca_file and not Path(given.ca_file).is_file():
        raise SettingsError("ML_ASSETS_SMTP_CA_FILE", given.ca_file, "name a file of certificates")
    return EmailSettings(
        to,
        sender,
        host,
        given.port or _PORTS[given.security],
        given.security,
        given.user,
        given.password,
        str(Path(given.ca_file).resolve()) if given.ca_file else None,
    )


def _check_address(variable: str, value: str) -> None:
    allowed = "use addresses such as name@example.org, separated by commas"
    try:
        address = Address(addr_spec=value)
    except (MessageError, ValueError, IndexError) as error:
        raise SettingsError(variable, value, allowed) from error
    if not address.username or not address.domain:
        raise SettingsError(variable, value, allowed)


def _url(value: str | None) -> str | None:
    if value and _parts(value) is None:
        raise ValueError("use a URL that starts with http:// or https://")
    return value


def _ui_url(value: str) -> str:
    parts = _parts(_url(value) or "")
    if parts and (parts.username is not None or parts.query or parts.fragment):
        raise ValueError(f"use the address of Dagster's UI and nothing more, for example {UI_URL}")
    return value.rstrip("/")


def _parts(value: str) -> SplitResult | None:
    """Return the parts of an http(s) URL; None if it is invalid."""
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if valid and re.fullmatch(r"[!-~]+", value) else None


class AlertVariables(EnvironmentSettings):
    """Environment variables of alerts; those of e-mail are used only with a recipient."""

    email_to: str = variable(
        "ML_ASSETS_ALERT_EMAIL_TO",
        "",
        meaning="recipients of e-mail, separated by commas",
        shown="no e-mail",
    )
    email_from: str = variable(
        "ML_ASSETS_ALERT_EMAIL_FROM",
        "",
        meaning="the sender",
        shown="the user if that is an address, else the first recipient",
    )
    host: str = variable(
        "ML_ASSETS_SMTP_HOST", "", meaning="mail server", shown="required for e-mail"
    )
    port: Annotated[int, Field(ge=1, le=65535)] | None = variable(
        "ML_ASSETS_SMTP_PORT",
        meaning="its port",
        shown="587, 465 or 25, by security",
        allowed="use a number from 1 to 65535",
    )
    security: Security = variable(
        "ML_ASSETS_SMTP_SECURITY",
        Security.STARTTLS,
        meaning="`starttls`, `tls`, or `plain` (with a password: to this machine only)",
        allowed="use starttls, tls or plain",
    )
    user: SecretStr | None = variable(
        "ML_ASSETS_SMTP_USER", meaning="user, with the password", shown="no login"
    )
    password: SecretStr | None = variable(
        "ML_ASSETS_SMTP_PASSWORD", meaning="password", shown="no login"
    )
    ca_file: str = variable(
        "ML_ASSETS_SMTP_CA_FILE",
        "",
        meaning="certificates of your own certificate authority",
        shown="the system's",
    )
    webhook: Annotated[SecretStr | None, BeforeValidator(_url)] = variable(
        "ML_ASSETS_ALERT_WEBHOOK",
        meaning='URL that accepts `{"text": …}`; a secret',
        shown="no webhook",
    )
    on_success: bool = variable(
        "ML_ASSETS_ALERT_ON_SUCCESS",
        False,
        meaning="`true` also sends an alert when a run succeeds",
        shown="`false`",
        allowed="use true or false",
    )
    dedup_hours: Annotated[float, Field(ge=0, le=MAX_DEDUP_HOURS, allow_inf_nan=False)] = variable(
        "ML_ASSETS_ALERT_DEDUP_HOURS",
        DEDUP_HOURS,
        meaning="hours during which repeated failures with the same cause are counted and not "
        "sent; 0 sends each",
        shown=f"`{DEDUP_HOURS:g}`",
        allowed=f"use hours from 0 (each failure is sent) to {MAX_DEDUP_HOURS:.0f}",
        former="ML_ASSETS_ALERT_FOLD_HOURS",
    )
    ui_url: Annotated[str, AfterValidator(_ui_url)] = variable(
        "ML_ASSETS_UI_URL", UI_URL, meaning="base URL of links to runs"
    )
