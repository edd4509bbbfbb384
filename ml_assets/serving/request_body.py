"""The body of a request, read and decompressed within its bounds of length and time."""

import asyncio
import zlib
from dataclasses import dataclass
from typing import Final

from starlette.types import Receive, Scope


@dataclass(frozen=True)
class Limits:
    """Bounds of a request.

    Attributes:
        body_bytes: Of a body.
        list_length: Requests in one list.
        explained_length: Requests in one list that are to be explained.
        problems: So many wrong fields are named in an answer.
        body_seconds: Until a body has arrived.
        waiting: Lists and explanations that may wait for their turn.
        inline_bytes: A body up to this length is answered at once rather than in a thread.
    """

    body_bytes: int = 2 * 2**20
    list_length: int = 10_000
    explained_length: int = 100
    problems: int = 100
    body_seconds: float = 10.0
    waiting: int = 64
    inline_bytes: int = 4096


DRAINED_TIMES: Final = 16
"""A body over the limit is read to its end, and thrown away, up to so many times the limit: many
clients look at the answer only after they have sent everything."""


CONTENT_CODINGS: Final = ("gzip", "deflate")
"""Of RFC 9110, section 8.4.1, those that need no further library."""

_MAX_GZIP_MEMBERS: Final = 100
"""A gzip file may consist of several; each copies what follows it."""

_GZIP_BITS: Final = 16 + zlib.MAX_WBITS


class BodyTooLarge(Exception):
    """More bytes than a request may have."""


class UnsupportedCoding(Exception):
    """The body has a content coding that is not among ``CONTENT_CODINGS``."""


class DamagedBody(ValueError):
    """The body is not what its content coding says."""


class BodyTooSlow(Exception):
    """The body did not arrive in time."""


class ClientGone(Exception):
    """The client has hung up; there is nobody to answer."""


async def read_body(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: when it is over the limit.
        BodyTooSlow: when it is late.
        ClientGone: when the connection ended before.
    """
    stated = _stated_length(scope)
    if stated is not None and stated > DRAINED_TIMES * limits.body_bytes:
        raise BodyTooLarge
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _read(receive, limits.body_bytes)
    except TimeoutError:
        raise BodyTooSlow from None


async def _read(receive: Receive, limit: int) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise BodyTooLarge
        return body
    parts, length = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        length += len(part)
        if length <= limit:
            parts.append(part)
        elif length > DRAINED_TIMES * limit:
            raise BodyTooLarge
        else:
            parts.clear()
    if length > limit:
        raise BodyTooLarge
    return b"".join(parts)


def content_coding(scope: Scope) -> str | None:
    """How the body is compressed; None when it is not.

    Raises:
        UnsupportedCoding: naming the coding, or several of them.
    """
    stated = [value for name, value in scope["headers"] if name == b"content-encoding"]
    if not stated:
        return None
    codings = b",".join(stated).decode("latin-1").lower().split(",")
    named = [coding.strip().removeprefix("x-") for coding in codings]
    applied = [coding for coding in named if coding not in ("", "identity")]
    if not applied:
        return None
    if len(applied) > 1 or applied[0] not in CONTENT_CODINGS:
        raise UnsupportedCoding(", ".join(applied)[:60])
    return applied[0]


def decompress(raw: bytes, coding: str, limit: int) -> bytes:
    """The body without its content coding.

    Args:
        raw: As it was sent.
        coding: One of ``CONTENT_CODINGS``.
        limit: Bytes that it may have when decompressed; no more memory than that is taken.

    Raises:
        BodyTooLarge: when it has more.
        DamagedBody: when it is not of this coding, or not whole.
    """
    bits, members = _GZIP_BITS, _MAX_GZIP_MEMBERS
    if coding == "deflate":
        # RFC 9110 means zlib's format; some clients send what is inside of it.
        bits, members = zlib.MAX_WBITS if _is_zlib(raw) else -zlib.MAX_WBITS, 1
    parts: list[bytes] = []
    room = limit + 1
    try:
        for _ in range(members):
            member = zlib.decompressobj(bits)
            part = member.decompress(raw, room)
            room -= len(part)
            if not room:
                raise BodyTooLarge
            if not member.eof:
                raise DamagedBody(f"the body is not whole {coding} data")
            parts.append(part)
            raw = member.unused_data
            if not raw:
                return b"".join(parts)
    except zlib.error:
        raise DamagedBody(f"the body is not {coding} data, as its Content-Encoding says") from None
    raise DamagedBody(f"there is more in the body than {coding} data")


def _is_zlib(raw: bytes) -> bool:
    """Whether it begins as RFC 1950 has it."""
    return len(raw) >= 2 and raw[0] & 15 == zlib.DEFLATED and (raw[0] << 8 | raw[1]) % 31 == 0


def _stated_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None
