"""Who may call: whoever sends the token, or, when none is set, this machine alone."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from ml_assets.config.http_origin import KnownHosts, host_refusal, is_loopback, refusal
from ml_assets.config.settings import (
    ALLOWED_HOSTS_VARIABLE,
    TOKEN_VARIABLE,
    ServiceSettings,
)
from ml_assets.serving.responses import Reply, request_id_of, send_reply

OPEN_PATHS: Final = ("/", "/health", "/ready", "/docs", "/openapi.json")
OPEN_FOLDERS: Final = ("/page/", "/docs/")
"""What anybody may fetch: whether the service is well, its pages and its description."""

_SCHEME: Final = b"bearer "


def read_api_token(environment: Mapping[str, str]) -> str | None:
    """The token that clients must send; None when the variable is unset or empty.

    Raises:
        SettingsError: when no header could hold it; the message does not show it.
    """
    token = ServiceSettings.read(environment).api_token
    return None if token is None else token.get_secret_value()


class Guard:
    """Lets requests through to the application, or answers 401.

    Args:
        app: What is guarded.
        token: That clients must send as ``Authorization: Bearer``; None: only this machine calls.
        hosts: Names of the service, which count when there is no token.
        refused: Called with each request that the application does not see.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str | None,
        hosts: KnownHosts,
        refused: Callable[[Scope], None],
    ) -> None:
        self._app = app
        self._refused = refused
        self._token = None if token is None else token.encode("ascii")
        self._hosts = hosts
        # A probe of a container or a load balancer names the address that it calls.
        self._open_hosts = replace(hosts, any_address=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or pass on."""
        reason = self._refusal(scope) if scope["type"] == "http" else None
        if reason is None:
            await self._app(scope, receive, send)
            return
        challenge = (b"www-authenticate", b"Bearer")
        reply = Reply(401, orjson.dumps({"detail": reason}), close=True, headers=(challenge,))
        self._refused(scope)
        await send_reply(send, reply, request_id_of(scope))

    def _refusal(self, scope: Scope) -> str | None:
        if self._token is None:
            reason = self._why_not_local(scope)
            return None if reason is None else _way_out(reason)
        if is_open(scope["path"]) or self._has_token(scope):
            return None
        return "send the service's token as Authorization: Bearer"

    def _has_token(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"authorization" and value[: len(_SCHEME)].lower() == _SCHEME:
                return hmac.compare_digest(value[len(_SCHEME) :].strip(), self._token or b"")
        return False

    def _why_not_local(self, scope: Scope) -> str | None:
        if is_open(scope["path"]):
            return host_refusal(scope["headers"], self._open_hosts)
        client = scope.get("client")
        if client is None or not is_loopback(client[0]):
            return "is from another machine"
        return refusal(scope["method"], scope["headers"], self._hosts, is_page=False)


def is_open(path: str) -> bool:
    """Whether anybody may fetch this path."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def _way_out(reason: str) -> str:
    return (
        f"without a token only this machine is answered, and this request {reason}: set "
        f"{TOKEN_VARIABLE} where the service runs and send that as Authorization: Bearer (further "
        f"names of this machine, and of a proxy on it, go into {ALLOWED_HOSTS_VARIABLE})"
    )
