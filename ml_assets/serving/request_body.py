"""Reading and decompressing request bodies, with limits of length and time."""

import asyncio
import zlib
from dataclasses import dataclass
from typing import Final

from starlette.types import Receive, Scope


@dataclass(frozen=True)
class Limits:
    """Limits of a request.

    Attributes:
        waiting: Maximum number of lists and explanations that wait for a thread.
        inline_bytes: Bodies up to this length are processed in the event loop, not in a thread.
    """

    body_bytes: int = 2 * 2**20
    list_length: int = 10_000
    explained_length: int = 100
    errors: int = 100
    body_seconds: float = 10.0
    waiting: int = 64
    inline_bytes: int = 4096


DRAIN_FACTOR: Final = 16
"""A body over the limit is read and discarded up to this multiple of the limit: many clients read
the response only after they have sent the whole body."""


CONTENT_CODINGS: Final = ("gzip", "deflate")
"""Content codings of RFC 9110 (section 8.4.1) that the standard library supports."""

_MAX_GZIP_MEMBERS: Final = 100
"""A gzip file may consist of several members, and each one copies the data after it."""

_GZIP_BITS: Final = 16 + zlib.MAX_WBITS


class BodyTooLarge(Exception):
    """The body is longer than allowed."""


class UnsupportedCoding(Exception):
    """The body's content coding is not in ``CONTENT_CODINGS``."""


class DamagedBody(ValueError):
    """The body cannot be decompressed by its content coding."""


class BodyTooSlow(Exception):
    """The body did not arrive in time."""


class ClientDisconnected(Exception):
    """The client has closed the connection."""


async def read_body(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """Read the complete body.

    Raises:
        BodyTooLarge: when it exceeds the limit.
        BodyTooSlow: when it does not arrive in time.
        ClientDisconnected: when the client closes the connection.
    """
    length = _content_length(scope)
    if length is not None and length > DRAIN_FACTOR * limits.body_bytes:
        raise BodyTooLarge
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _read(receive, limits.body_bytes)
    except TimeoutError:
        raise BodyTooSlow from None


async def _read(receive: Receive, limit: int) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise BodyTooLarge
        return body
    parts, length = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        part = message.get("body", b"")
        length += len(part)
        if length <= limit:
            parts.append(part)
        elif length > DRAIN_FACTOR * limit:
            raise BodyTooLarge
        else:
            parts.clear()
    if length > limit:
        raise BodyTooLarge
    return b"".join(parts)


def content_coding(scope: Scope) -> str | None:
    """Return the content coding of the body; None when it is not compressed.

    Raises:
        UnsupportedCoding: with the name of the coding, or of several.
    """
    headers = [value for name, value in scope["headers"] if name == b"content-encoding"]
    if not headers:
        return None
    codings = b",".join(headers).decode("latin-1").lower().split(",")
    names = [coding.strip().removeprefix("x-") for coding in codings]
    applied = [name for name in names if name not in ("", "identity")]
    if not applied:
        return None
    if len(applied) > 1 or applied[0] not in CONTENT_CODINGS:
        raise UnsupportedCoding(", ".join(applied)[:60])
    return applied[0]


def decompress(raw: bytes, coding: str, limit: int) -> bytes:
    """Decompress a body.

    Args:
        limit: Maximum length of the decompressed body in bytes; also bounds the memory used.

    Raises:
        BodyTooLarge: when it is longer.
        DamagedBody: when it is not data of this coding, or incomplete.
    """
    bits, members = _GZIP_BITS, _MAX_GZIP_MEMBERS
    if coding == "deflate":
        # In RFC 9110 this is the zlib format; some clients send raw deflate data.
        bits, members = zlib.MAX_WBITS if _is_zlib(raw) else -zlib.MAX_WBITS, 1
    parts: list[bytes] = []
    remaining = limit + 1
    try:
        for _ in range(members):
            member = zlib.decompressobj(bits)
            part = member.decompress(raw, remaining)
            remaining -= len(part)
            if not remaining:
                raise BodyTooLarge
            if not member.eof:
                raise DamagedBody(f"the body is incomplete {coding} data")
            parts.append(part)
            raw = member.unused_data
            if not raw:
                return b"".join(parts)
    except zlib.error:
        raise DamagedBody(f"the body is not {coding} data, as its Content-Encoding says") from None
    raise DamagedBody(f"there is more in the body than {coding} data")


def _is_zlib(raw: bytes) -> bool:
    """Whether data begins with a zlib header (RFC 1950)."""
    return len(raw) >= 2 and raw[0] & 15 == zlib.DEFLATED and (raw[0] << 8 | raw[1]) % 31 == 0


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None
