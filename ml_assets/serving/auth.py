"""Access control: clients need the API token or, when none is set, must run on this machine."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from ml_assets.config.http_origin import AllowedHosts, host_rejection, is_loopback, rejection_reason
from ml_assets.config.settings import ALLOWED_HOSTS_VARIABLE, TOKEN_VARIABLE, ServiceSettings
from ml_assets.serving.responses import Reply, get_request_id, send_reply

PUBLIC_PATHS: Final = ("/", "/health", "/ready", "/docs", "/openapi.json")
PUBLIC_FOLDERS: Final = ("/page/", "/docs/")
"""Public paths: health, pages and API documentation."""

_SCHEME: Final = b"bearer "


def read_api_token(environment: Mapping[str, str]) -> str | None:
    """Return the token that clients must send; None when the variable is unset or empty.

    Raises:
        SettingsError: when it cannot be sent in a header; the message does not show it.
    """
    token = ServiceSettings.read(environment).api_token
    return None if token is None else token.get_secret_value()


class AccessControl:
    """Returns 401 for requests that are not allowed, and passes on the others.

    Args:
        token: Token that clients must send as ``Authorization: Bearer``; None: only clients on
            this machine are allowed.
        hosts: Host names of the service, checked when there is no token.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str | None,
        hosts: AllowedHosts,
        on_rejected: Callable[[Scope], None],
    ) -> None:
        self._app = app
        self._on_rejected = on_rejected
        self._token = None if token is None else token.encode("ascii")
        self._hosts = hosts
        # Health checks of containers and load balancers send an IP address as the host.
        self._public_hosts = replace(hosts, any_address=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Return 401, or pass the request on."""
        reason = self._rejection_reason(scope) if scope["type"] == "http" else None
        if reason is None:
            await self._app(scope, receive, send)
            return
        challenge = (b"www-authenticate", b"Bearer")
        reply = Reply(401, orjson.dumps({"detail": reason}), close=True, headers=(challenge,))
        self._on_rejected(scope)
        await send_reply(send, reply, get_request_id(scope))

    def _rejection_reason(self, scope: Scope) -> str | None:
        if self._token is None:
            reason = self._local_access_error(scope)
            return None if reason is None else _with_remedy(reason)
        if is_public(scope["path"]) or self._has_token(scope):
            return None
        return "send the service's token as Authorization: Bearer"

    def _has_token(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"authorization" and value[: len(_SCHEME)].lower() == _SCHEME:
                return hmac.compare_digest(value[len(_SCHEME) :].strip(), self._token or b"")
        return False

    def _local_access_error(self, scope: Scope) -> str | None:
        if is_public(scope["path"]):
            return host_rejection(scope["headers"], self._public_hosts)
        client = scope.get("client")
        if client is None or not is_loopback(client[0]):
            return "is from another machine"
        return rejection_reason(scope["method"], scope["headers"], self._hosts, is_page=False)


def is_public(path: str) -> bool:
    """Whether this path needs neither a token nor a local client."""
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS)


def _with_remedy(reason: str) -> str:
    return (
        f"without a token only clients on this machine are served, and this request {reason}: set "
        f"{TOKEN_VARIABLE} for the service and send it as Authorization: Bearer (add further "
        f"names of this machine, and of a proxy on it, to {ALLOWED_HOSTS_VARIABLE})"
    )
