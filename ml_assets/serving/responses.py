"""Answers of the service: JSON, with the request's id in a header."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.types import Scope, Send

REQUEST_ID: Final = b"x-request-id"
_FIT_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back.

    Attributes:
        status: Of HTTP.
        body: JSON.
        close: Whether the connection is of no use any more.
        headers: More of them.
    """

    status: int
    body: bytes
    close: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()


def told(status: int, detail: str, *, close: bool = False) -> Reply:
    """A refusal in one sentence."""
    return Reply(status, orjson.dumps({"detail": detail}), close)


def wrong(problems: Sequence[dict[str, Any]], most: int, count: int | None = None) -> Reply:
    """A 422 with the wrong fields, in the shape that FastAPI gives them.

    Args:
        problems: As of :func:`problem`; the first ``most`` of them are in the body.
        most: Entries in the body.
        count: How many there are, where ``problems`` holds only the first of them.
    """
    total = len(problems) if count is None else count
    return Reply(422, orjson.dumps({"detail": problems[:most], "problems": total}))


def problem(loc: Sequence[str | int], message: str, kind: str = "value_error") -> dict[str, Any]:
    """One entry of a 422: where, what, and of which kind."""
    return {"loc": list(loc), "msg": message, "type": kind}


def request_id_of(scope: Scope) -> str:
    """The client's own id for its request if that is fit to be kept, else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID and _FIT_REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid.uuid4().hex


async def send_reply(send: Send, reply: Reply, request_id: str) -> None:
    """Send an answer."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(reply.body)),
        (REQUEST_ID, request_id.encode("ascii")),
        *reply.headers,
    ]
    if reply.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
