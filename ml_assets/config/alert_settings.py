"""Where alerts go, from the environment; credentials are never shown."""

import base64
import ipaddress
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from ml_assets.config.settings import SettingsError
from ml_assets.secrets import secrets_of_webhook

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
    "ML_ASSETS_ALERT_FOLD_HOURS",
    "ML_ASSETS_UI_URL",
)
UI_URL = "http://127.0.0.1:3000"
FOLD_HOURS = 6.0
_MAX_FOLD_HOURS = 720.0
_MIN_USER = 6
"""A shorter user name is part of other words."""


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
    """The channels there are (None for none), and what is told.

    Attributes:
        email: By e-mail.
        webhook: URL to post to. Whoever knows it can post, so it is a secret.
        on_success: Whether runs that succeed are told, too.
        fold_window: For so long after a message, repeated failures of its kind are counted only.
        ui_url: Where links lead to, without a slash at the end.
    """

    email: EmailSettings | None = None
    webhook: str | None = field(default=None, repr=False)
    on_success: bool = False
    fold_window: timedelta = timedelta(hours=FOLD_HOURS)
    ui_url: str = UI_URL

    @property
    def on(self) -> bool:
        """Whether anybody is told."""
        return self.email is not None or self.webhook is not None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold: password, user (unless it is an address) and webhook."""
        found = secrets_of_webhook(self.webhook) if self.webhook else set()
        if (email := self.email) is not None and email.user and email.password:
            login = base64.b64encode(f"\0{email.user}\0{email.password}".encode()).decode()
            found |= {email.password, login}
            if email.user not in (email.sender, *email.to) and len(email.user) >= _MIN_USER:
                found.add(email.user)
        return tuple(sorted(found))

    @property
    def shown_webhook(self) -> str | None:
        """The webhook's server, fit to be shown."""
        if self.webhook is None:
            return None
        parts = urlsplit(self.webhook)
        return f"{parts.scheme}://{parts.hostname}/…"


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
        fold_window=_fold_window(values["ML_ASSETS_ALERT_FOLD_HOURS"] or str(FOLD_HOURS)),
        ui_url=_ui_url(values) or UI_URL,
    )


def _email(values: Mapping[str, str]) -> EmailSettings | None:
    security = _security(values["ML_ASSETS_SMTP_SECURITY"])
    port = _port(values["ML_ASSETS_SMTP_PORT"], security)
    to = tuple(each.strip() for each in values["ML_ASSETS_ALERT_EMAIL_TO"].split(",") if each)
    if not to:
        return None
    for each in to:
        _check_address("ML_ASSETS_ALERT_EMAIL_TO", each)
    user, password = values["ML_ASSETS_SMTP_USER"], values["ML_ASSETS_SMTP_PASSWORD"]
    own = user if "@" in user else to[0]
    sender = values["ML_ASSETS_ALERT_EMAIL_FROM"] or own
    _check_address("ML_ASSETS_ALERT_EMAIL_FROM", sender)
    host = values["ML_ASSETS_SMTP_HOST"]
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", host) or host.count(":") == 1:
        allowed = "name the mail server alerts go through; its port goes into ML_ASSETS_SMTP_PORT"
        raise SettingsError("ML_ASSETS_SMTP_HOST", host, allowed)
    if bool(user) != bool(password):
        name = "ML_ASSETS_SMTP_PASSWORD" if user else "ML_ASSETS_SMTP_USER"
        raise SettingsError(name, "", "set user and password, or neither")
    if user and security is Security.PLAIN and not _is_this_machine(host):
        allowed = "use starttls or tls: with plain, anyone on the way could read the password"
        raise SettingsError("ML_ASSETS_SMTP_SECURITY", security, allowed)
    ca_file = values["ML_ASSETS_SMTP_CA_FILE"]
    if ca_file and not Path(ca_file).is_file():
        raise SettingsError("ML_ASSETS_SMTP_CA_FILE", ca_file, "name a file of certificates")
    certificates = str(Path(ca_file).resolve()) if ca_file else None
    return EmailSettings(
        to, sender, host, port, security, user or None, password or None, certificates
    )


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    if value and _parts(value) is None:
        raise SettingsError(name, shown or value, "use a URL that starts with http:// or https://")
    return value


def _ui_url(values: Mapping[str, str]) -> str:
    value = _url(values, "ML_ASSETS_UI_URL")
    parts = _parts(value)
    if parts and (parts.username is not None or parts.query or parts.fragment):
        allowed = f"use the address of Dagster's UI and nothing more, for example {UI_URL}"
        raise SettingsError("ML_ASSETS_UI_URL", value, allowed)
    return value.rstrip("/")


def _parts(value: str) -> SplitResult | None:
    """The parts of an http(s) URL; None when it is not one that can be asked for."""
    try:
        parts = urlsplit(value)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if known and re.fullmatch(r"[!-~]+", value) else None


def _fold_window(value: str) -> timedelta:
    try:
        hours = float(value)
    except ValueError:
        hours = math.nan
    if not 0 <= hours <= _MAX_FOLD_HOURS:
        allowed = f"use hours from 0 (each failure is told) to {_MAX_FOLD_HOURS:.0f}"
        raise SettingsError("ML_ASSETS_ALERT_FOLD_HOURS", value, allowed)
    return timedelta(hours=hours)
