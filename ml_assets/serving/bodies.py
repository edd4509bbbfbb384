"""The body of a request, read within its bounds of length and time."""

import asyncio
from typing import Final

from starlette.types import Receive, Scope

from ml_assets.serving.limits import Limits

DRAINED_TIMES: Final = 16
"""A body over the limit is read to its end, and thrown away, up to so many times the limit: many
clients look at the answer only after they have sent everything."""


class BodyTooLarge(Exception):
    """More bytes than a request may have."""


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


def _stated_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None
