"""Scrubbing of external text for display: credentials, control characters, length.

Messages of fsspec, requests, MLflow, SQLAlchemy, mail servers and file readers repeat their input:
a URL with its password, a signature, a column name of a megabyte. Every message, record, metadata,
log line and alert passes :func:`scrub` first. It removes

* the secrets in this process's environment, in any encoding (percent-encoded, escaped, as a Basic
  header, or as the fragments that a parser cuts out of an address),
* credentials in anything that looks like a URL, a signed query or an ``Authorization`` header,
* terminal escapes and other control characters,
* the middle of a text that is too long.
"""

import base64
import html
import json
import logging
import os
import re
import sys
import threading
import traceback
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any, Final
from urllib.parse import unquote, unquote_plus

MASK: Final = "***"
MAX_CHARACTERS: Final = 2_000
"""Maximum length of a message from elsewhere."""
MAX_OWN_CHARACTERS: Final = 8_000
"""Maximum length of a message of this project, which may have a sentence for each of many months.
"""
MAX_LOG_CHARACTERS: Final = 20_000
"""Maximum length of a log line or a traceback."""
MAX_VALUE_CHARACTERS: Final = 200
"""Maximum length of a value quoted in a message."""

_MAX_SCANNED: Final = 32_768
"""The middle of a longer text is removed before it is searched, to bound the time."""
_MIN_ANYWHERE: Final = 6
"""A shorter secret, or a plain word, is masked only as a whole word, since it may be part of
others."""
_MIN_FRAGMENT: Final = 3
_ELLIPSIS: Final = " … "

_CREDENTIALS = re.compile(
    r"://(?:[^/?#]*"  # everything up to the last @ of the server's part
    r"|[^/?#@:]*:(?!\d+(?:/|$)|:|//)(?:(?!://)[^@])*)@"  # user:pass/word@, but no port and path
)
_USER_INFO_WITHOUT_SCHEME = re.compile(r"\A[^/\s]*:/?[^@\s]*@")
"""User info of a malformed URL: ``me:password@host``, ``http:/me:password@host``."""
_URL = re.compile(r"(?<![^\s'\"<>])[^\s'\"<>]*://[^\s'\"<>]+")
_URL_VALUE = re.compile(r"[a-z][\w+.-]*(?:::[\w+.-]+)*://", re.IGNORECASE)
_QUERY = re.compile(r"\?[^\s'\"<>()?]*=[^\s'\"<>()]*")
_SECRET_KEY = (
    r"(?:[\w-]*(?:signature|token|password|passwd|secret|credential|api[_-]?key|access[_-]?key"
    r"|account[_-]?key)|sig|pwd)"
)
_ASSIGNMENT = re.compile(rf"(?i)(?<![\w-])({_SECRET_KEY}(?:=|['\"]: ?))(['\"]?)[^\s&;,'\")]+")
_AUTHORIZATION = re.compile(r"(?i)\b(bearer|authorization['\"]?: ?['\"]?\w+) [\w.~+/=-]{6,}")
_SECRET_VARIABLE = (
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "TOKEN",
    "ACCESS_KEY",
    "ACCOUNT_KEY",
    "API_KEY",
    "CONNECTION_STRING",
)
"""Endings of the names of variables whose whole value is a secret."""
_NO_SECRET = re.compile(r".{1,2}|true|false|yes|off|none|null", re.IGNORECASE)
"""Switches (``MYSQL_ALLOW_EMPTY_PASSWORD=yes``), and values too short for a secret: masking them
would remove numbers and words from every message."""
_OWN_VARIABLE = ("ML_ASSETS_", "MLFLOW_")
_WEBHOOK = "ML_ASSETS_ALERT_WEBHOOK"
_PLAIN_VALUE = re.compile(r"[a-z_-]{1,12}|[\dTZ:.+-]{1,32}", re.IGNORECASE)
_PLAIN_WORD = re.compile(r"[a-z]{1,8}|\d+")
_ESCAPE_SEQUENCE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # title of a window, a link
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]"  # colours, movements
)
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"
    r"\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # invisible, or turn the text around
    r"\ud800-\udfff]"  # halves of a character, which cannot be printed
)


class ShownError(Exception):
    """An error whose message is displayed; the message is scrubbed.

    Args:
        message: The problem, its location, and the remedy.

    Attributes:
        wrong_use: Whether an environment variable has an invalid value.
    """

    wrong_use = False

    def __init__(self, message: str = "") -> None:
        super().__init__(scrub(message, limit=MAX_OWN_CHARACTERS))


def without_credentials(url: str) -> str:
    """Remove user, password and query (which may have a signature) from a URL for display.

    Also handles passwords with an unencoded ``@``, ``/``, ``?`` or ``#``, which SQLAlchemy accepts.

    Args:
        url: A URL or a chain of URLs (``simplecache::s3://…``); a path is returned unchanged.
    """
    if "://" not in url:
        return url
    return _CREDENTIALS.sub(f"://{MASK}@", url).partition("?")[0]


def shown_value(value: str) -> str:
    """Quote an invalid configured value, possibly a malformed URL, for a message."""
    value = _cut(value)
    text = without_credentials(value)
    if "://" not in value:
        text = _USER_INFO_WITHOUT_SCHEME.sub(f"{MASK}@", _QUERY.sub("", value))
    return repr(shortened(text, MAX_VALUE_CHARACTERS))


def scrub(text: str, *secrets: str, limit: int = MAX_CHARACTERS) -> str:
    """Remove credentials and control characters from a text, and shorten it.

    Args:
        text: Text from elsewhere, or with parts from elsewhere; may have several lines.
        secrets: Configured values that are not in the environment: URLs or secrets.
        limit: Characters to keep; the middle is removed, since remedies are at the end.
    """
    text = _cut(text)
    known = _known_secrets(_relevant(os.environ), secrets)
    if known is not None:
        text = known.sub(MASK, text)
    if "://" in text:
        text = _URL.sub(lambda url: without_credentials(url[0]), text)
    if "=" in text or ":" in text:
        text = _QUERY.sub(f"?{MASK}", text)
        text = _ASSIGNMENT.sub(rf"\1\2{MASK}", text)
    text = _AUTHORIZATION.sub(rf"\1 {MASK}", text)
    text = _CONTROL.sub("", _ESCAPE_SEQUENCE.sub("", text))
    return shortened(text, limit)


def one_line(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return the text on one line of at most ``limit`` characters.

    All characters that a mail reader or a terminal could interpret become spaces.
    """
    printable = "".join(
        " " if unicodedata.category(character)[0] in "CZ" else character for character in text
    )
    line = " ".join(printable.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def error_text(error: BaseException, *secrets: str, limit: int = MAX_CHARACTERS) -> str:
    """Return the type and the message of an error, scrubbed, on one line.

    Args:
        secrets: See :func:`scrub`.
    """
    return one_line(scrub(f"{type(error).__name__}: {error}", *secrets), limit)


def shortened(text: str, limit: int) -> str:
    """Return the text, without its middle if it is longer than the limit."""
    if len(text) <= limit:
        return text
    tail = limit // 4
    return f"{text[: limit - tail - len(_ELLIPSIS)]}{_ELLIPSIS}{text[-tail:]}"


def secrets_in(url: str) -> set[str]:
    """Return the secret parts of a URL or a chain of URLs: password and signed query."""
    found: set[str] = set()
    for match in _CREDENTIALS.finditer(url):
        found |= _of_user_info(match[0][3:-1])
    if "://" not in url and (slip := _USER_INFO_WITHOUT_SCHEME.match(url)):
        found |= _of_user_info(slip[0][:-1])
    query = _CREDENTIALS.sub("://", url).partition("?")[2]
    values = {
        value
        for key, _, value in (part.partition("=") for part in re.split(r"[&;#?]|::", query))
        if value and (re.fullmatch(_SECRET_KEY, key, re.IGNORECASE) or not _is_plain(value))
    }
    return found | values | ({query} if values else set())


def secrets_of_webhook(url: str) -> set[str]:
    """Return a webhook URL, which is a secret as a whole, and the parts of its path."""
    address = url.partition("://")[2]
    path = f"/{address.partition('/')[2]}"
    pieces = {piece for piece in re.split(r"[/?&=#]", path) if len(piece) >= _MIN_ANYWHERE}
    return secrets_in(url) | {url, path.strip("/"), *pieces} - {""}


def scrub_logs() -> None:
    """Scrub every log record and every uncaught traceback of this process from now on.

    Libraries log unscrubbed addresses (urllib3 logs its retries with the query).
    """
    make_record = logging.getLogRecordFactory()
    if getattr(make_record, "scrubs", False):
        return

    def make_scrubbed_record(*args: Any, **options: Any) -> logging.LogRecord:
        record = make_record(*args, **options)
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - logging itself reports wrong arguments later
            return record
        scrubbed = scrub(message, limit=MAX_LOG_CHARACTERS)
        if scrubbed != message:
            record.msg, record.args = scrubbed, None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = _traceback_text(record.exc_info[1])
        return record

    make_scrubbed_record.scrubs = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_scrubbed_record)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda uncaught: _print_uncaught(
            uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback
        )


def _traceback_text(error: BaseException | None) -> str:
    text = "".join(traceback.format_exception(error)) if error else ""
    return scrub(text, limit=MAX_LOG_CHARACTERS).rstrip("\n")


def _print_uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error or kind(), trace)
    elif not issubclass(kind, SystemExit):
        print(_traceback_text(error), file=sys.stderr, flush=True)


def _cut(text: str) -> str:
    if len(text) <= _MAX_SCANNED:
        return text
    head, tail = text[: _MAX_SCANNED // 2], text[-_MAX_SCANNED // 2 :]
    # A secret cut in two would not be found, so the words at the cut are removed.
    return f"{head.rpartition(' ')[0] or head[:MAX_CHARACTERS]}{_ELLIPSIS}{tail.partition(' ')[2]}"


def _relevant(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the variables that may contain a secret."""
    return tuple(
        (name, value)
        for name, value in environment.items()
        if value
        and (
            name.startswith(_OWN_VARIABLE)
            or name.endswith(_SECRET_VARIABLE)
            or ("://" in value and _URL_VALUE.match(value))
        )
    )


@lru_cache(maxsize=16)
def _known_secrets(
    variables: tuple[tuple[str, str], ...], further: tuple[str, ...]
) -> re.Pattern[str] | None:
    """Return a pattern of all secrets in the environment and in the further values."""
    found: set[str] = set()
    for name, value in variables:
        found |= secrets_of_webhook(value) if name == _WEBHOOK else secrets_in(value)
        is_path = value.startswith(("/", "~", "./"))
        if name.endswith(_SECRET_VARIABLE) and not is_path and not _NO_SECRET.fullmatch(value):
            found |= _encoded(value)
    for value in further:
        found |= secrets_in(value) if "://" in value else _encoded(value)
    found = {form for secret in found for form in (secret, unquote(secret), unquote_plus(secret))}
    patterns = [_pattern(secret) for secret in sorted(found, key=len, reverse=True) if secret]
    return re.compile("|".join(patterns)) if patterns else None


def _of_user_info(user_info: str) -> set[str]:
    user, separator, password = user_info.partition(":")
    if not separator:
        return set() if _is_plain(user) or len(user) < 2 * _MIN_ANYWHERE else {user}
    if not password:
        return set()
    # A parser may take parts of a password with a separator for a port or a host.
    fragments = re.split(r"[/?#@:&=\s]", password)
    return {
        user_info,
        unquote(user_info),
        *_encoded(password),
        *_encoded(unquote(password)),
        base64.b64encode(unquote(user_info).encode("utf-8", "replace")).decode(),
        *(fragment for fragment in fragments if len(fragment) >= _MIN_FRAGMENT),
    }


def _encoded(secret: str) -> set[str]:
    """Return a secret and its Base64 form, which mail and HTTP use."""
    return {secret, base64.b64encode(secret.encode("utf-8", "replace")).decode()}


def _is_plain(value: str) -> bool:
    """Whether a value is an ordinary word, number or date (``sslmode=require``)."""
    return _PLAIN_VALUE.fullmatch(value) is not None


def _pattern(secret: str) -> str:
    """Return a pattern of the secret in any encoding: percent (once or twice), escaped, HTML."""
    encoded = "".join(map(_character_pattern, secret))
    if len(secret) >= _MIN_ANYWHERE and not _PLAIN_WORD.fullmatch(secret):
        return encoded
    return rf"(?<![\w./\\-]){encoded}(?![\w./\\-])"


def _character_pattern(character: str) -> str:
    if character.isascii() and (character.isalnum() or character == "_"):
        return character
    encoded = "".join(_percent(byte) for byte in character.encode("utf-8", "replace"))
    forms: Iterable[str] = _plain_forms(character)
    return f"(?:{'|'.join(dict.fromkeys([*forms, encoded]))})"


def _plain_forms(character: str) -> Iterator[str]:
    yield re.escape(character)
    yield re.escape(html.escape(character))
    if character in "'\"\\":
        yield re.escape(f"\\{character}")
    if character == " ":
        yield re.escape("+")
    if not character.isprintable():
        yield re.escape(repr(character)[1:-1])
    if not character.isascii():
        yield re.escape(json.dumps(character)[1:-1])


def _percent(byte: int) -> str:
    digits = "".join(f"[{digit}{digit.lower()}]" for digit in f"{byte:02X}")
    return f"%(?:25)*{digits}"
