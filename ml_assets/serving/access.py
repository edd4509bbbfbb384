"""Who may ask: whoever knows the token, or, when none is set, whoever is on this machine."""

import hmac
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from ml_assets.serving.replies import Reply, request_id_of, send_reply
from ml_assets.settings import SettingsError

TOKEN_VARIABLE: Final = "ML_ASSETS_API_TOKEN"
OPEN_PATHS: Final = ("/", "/health", "/ready", "/docs", "/openapi.json")
OPEN_FOLDERS: Final = ("/page/",)
"""What anybody may fetch: whether the service is well, its pages and its description."""

_FORWARDED: Final = (b"x-forwarded-for", b"forwarded")
_SCHEME: Final = b"bearer "


def read_api_token(environment: Mapping[str, str]) -> str | None:
    """The token that clients must send; None when the variable is unset or empty.

    Raises:
        SettingsError: when no header could hold it; the message does not show it.
    """
    token = environment.get(TOKEN_VARIABLE, "").strip()
    if not token:
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(
            TOKEN_VARIABLE, "***", "use letters, digits and signs of ASCII, without spaces"
        )
    return token


class Guard:
    """Lets requests through to the application, or answers 401.

    Args:
        app: What is guarded.
        token: That clients must send as ``Authorization: Bearer``; None: only this machine asks.
        refused: Told the status of an answer that the application does not see.
    """

    def __init__(
        self, app: ASGIApp, token: str | None, refused: Callable[[int], None] | None = None
    ) -> None:
        self._app = app
        self._refused = refused
        self._token = None if token is None else token.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or pass on."""
        if scope["type"] != "http" or self._allowed(scope):
            await self._app(scope, receive, send)
            return
        if self._token is None:
            told = (
                "this service answers its own machine only, and there no proxy and no page from "
                f"elsewhere: set {TOKEN_VARIABLE} where it runs, and send that as Authorization: "
                "Bearer"
            )
        else:
            told = "send the service's token as Authorization: Bearer"
        challenge = (b"www-authenticate", b"Bearer")
        reply = Reply(401, orjson.dumps({"detail": told}), close=True, headers=(challenge,))
        if self._refused is not None:
            self._refused(reply.status)
        await send_reply(send, reply, request_id_of(scope))

    def _allowed(self, scope: Scope) -> bool:
        if is_open(scope["path"]):
            return True
        if self._token is None:
            return _is_local(scope.get("client")) and not _is_of_others(scope["headers"])
        for name, value in scope["headers"]:
            if name == b"authorization" and value[: len(_SCHEME)].lower() == _SCHEME:
                return hmac.compare_digest(value[len(_SCHEME) :].strip(), self._token)
        return False


def is_open(path: str) -> bool:
    """Whether anybody may fetch this path."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def _is_local(client: tuple[str, int] | None) -> bool:
    return client is not None and is_loopback(client[0])


def _is_of_others(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request on this machine is a proxy's, or that of a page from elsewhere."""
    return any(
        name in _FORWARDED or (name == b"origin" and not _is_page_of_here(value))
        for name, value in headers
    )


def _is_page_of_here(origin: bytes) -> bool:
    try:
        host = urlsplit(origin.decode("latin-1")).hostname or ""
    except ValueError:
        return False
    return host == "localhost" or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine alone."""
    if host == "127.0.0.1":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
