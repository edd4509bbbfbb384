"""Text that leaves this machine, without what must not: credentials and control characters."""

import base64
import re
import unicodedata
from urllib.parse import quote, unquote, urlsplit

from ml_assets.alerts.settings import AlertSettings, EmailSettings
from ml_assets.settings import without_credentials

STRUCK = "***"
_LEAST_TOKEN = 6
"""Parts of a webhook's path shorter than that are words such as ``hooks``, not tokens."""


def secrets_of(settings: AlertSettings) -> tuple[str, ...]:
    """Everything in the settings that must be in no text, the longest first."""
    found = {*_of_email(settings.email), *_of_url(settings.webhook)} - {""}
    return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def without_secrets(text: str, secrets: tuple[str, ...] = ()) -> str:
    """The text with each of the secrets, and the credentials of every URL in it, struck out."""
    for secret in secrets:
        text = text.replace(secret, STRUCK)
    return re.sub(r"\S*://\S+", lambda url: without_credentials(url[0]), text)


def one_line(text: str, longest: int) -> str:
    """The text on a line, of so many characters at most.

    Whatever a mail reader or a terminal could take for a line's end or a command becomes a space.
    """
    printable = "".join(
        " " if unicodedata.category(character)[0] in "CZ" else character for character in text
    )
    line = " ".join(printable.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _of_email(email: EmailSettings | None) -> set[str]:
    if email is None or not email.user or not email.password:
        return set()
    user, password = email.user, email.password
    # As they go over the line, a server may send them back.
    encoded = {
        base64.b64encode(form.encode()).decode() for form in (password, f"\0{user}\0{password}")
    }
    known = user in (email.sender, *email.to) or len(user) < _LEAST_TOKEN
    return {password, quote(password, safe=""), *encoded} | (set() if known else {user})


def _of_url(url: str | None) -> set[str]:
    if url is None:
        return set()
    parts = urlsplit(url)
    pieces = {*parts.path.split("/"), *re.split(r"[&=]", parts.query), parts.password or ""}
    whole = {url, parts.path.strip("/"), f"{parts.path}?{parts.query}".strip("/?")}
    found = {piece for piece in whole | pieces if len(piece) >= _LEAST_TOKEN}
    return found | {unquote(piece) for piece in found}
