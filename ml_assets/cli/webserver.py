"""``python -m ml_assets.cli.webserver``: Dagster's webserver with access control.

Dagster's UI has no password, its API launches runs, and ``dagster-webserver`` responds to every
request: any page open in a browser on this machine could start runs or roll back the champion. So
``ml-assets dev`` starts this module instead of ``dagster_webserver``; it adds a guard in front of
all paths and the WebSocket.
"""

import os
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import uvicorn
from dagster_webserver import cli
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ml_assets.config.http_origin import (
    AllowedHosts,
    is_loopback_host,
    rejection_reason,
    server_hosts,
)
from ml_assets.config.settings import ALLOWED_HOSTS_VARIABLE, read_allowed_hosts
from ml_assets.serving.http_limits import BoundedHttpProtocol

UI_URL_VARIABLE: Final = "ML_ASSETS_UI_URL"
API_PATH: Final = "/graphql"
"""Links from other sites may not open this path, where requests can change something."""

_MUTATION: Final = re.compile(r"\bmutation\b")
_POLICY_VIOLATION: Final = 1008
"""Close code of a WebSocket (RFC 6455, section 7.4.1); uvicorn returns 403."""


class WebserverGuard:
    """Returns 403 for requests of proxies and of pages from other origins.

    Args:
        is_local: Whether it listens on loopback only: then no proxy may forward requests.
    """

    def __init__(self, app: ASGIApp, hosts: AllowedHosts, *, is_local: bool) -> None:
        self._app, self._hosts, self._is_local = app, hosts, is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Return 403 or 405, or pass the request on."""
        refused = None if scope["type"] == "lifespan" else self._refused(scope)
        if refused is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            await refused(scope, receive, send)

    def _refused(self, scope: Scope) -> PlainTextResponse | None:
        method, is_api = scope.get("method", "GET"), scope["path"].startswith(API_PATH)
        reason = rejection_reason(
            method, scope["headers"], self._hosts, is_page=not is_api, proxies=not self._is_local
        )
        if reason is not None:
            text = (
                f"This request {reason}, which is not allowed: open the address that `ml-assets "
                f"dev` prints. Add further names of this machine, or of a proxy in front of it, to "
                f"{ALLOWED_HOSTS_VARIABLE}.\n"
            )
            return PlainTextResponse(text, 403)
        if is_api and scope["type"] == "http" and method == "GET" and _changes(scope):
            return PlainTextResponse("Send mutations by POST.\n", 405, {"Allow": "POST"})
        return None


def _changes(scope: Scope) -> bool:
    """Whether a query in the URL is a mutation, which a GET must not run (RFC 9110, 9.2.1)."""
    queries = parse_qs(scope["query_string"].decode("latin-1")).get("query", [])
    return any(_MUTATION.search(query) for query in queries)


def guarded(app: ASGIApp, host: str, environment: Mapping[str, str]) -> WebserverGuard:
    """Wrap the webserver in its guard.

    Raises:
        SettingsError: when these are invalid.
    """
    is_local = is_loopback_host(host)
    allowed = [*read_allowed_hosts(environment)]
    linked = urlsplit(environment.get(UI_URL_VARIABLE, "")).hostname
    if linked is not None and linked != host and not is_loopback_host(linked):
        allowed.append(linked)  # alerts link to it
    hosts = server_hosts(host, allowed, any_address=not is_local)
    return WebserverGuard(app, hosts, is_local=is_local)


def main() -> None:
    """Run Dagster's command with the guard in front of its application."""
    run = uvicorn.run

    def run_guarded(app: ASGIApp, *, host: str, **options: Any) -> None:
        run(guarded(app, host, os.environ), host=host, http=BoundedHttpProtocol, **options)

    # Dagster's command calls it by this name and has no option for middleware.
    setattr(uvicorn, "run", run_guarded)  # noqa: B010
    cli.main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
