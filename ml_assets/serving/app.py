"""The prediction service as an ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_assets.config.code_version import package_version
from ml_assets.config.http_origin import LOOPBACK_HOSTS, AllowedHosts
from ml_assets.serving import routes
from ml_assets.serving.auth import AccessControl
from ml_assets.serving.model_provider import ModelProvider
from ml_assets.serving.openapi import INTRODUCTION, PREDICT, add_access, predict_route
from ml_assets.serving.predict_endpoint import PredictEndpoint
from ml_assets.serving.request_body import Limits
from ml_assets.serving.request_log.writer import RequestLog
from ml_assets.serving.state import Service

_ALL_METHODS: Final = "GET, HEAD, OPTIONS, POST"


class PredictionService(FastAPI):
    """FastAPI application that handles ``POST /predict`` without FastAPI's routing, for speed.

    Attributes:
        access_control: Handles every request first, and passes allowed ones to ``route``.
        with_token: Whether clients must send a token.
    """

    access_control: ASGIApp
    predict: ASGIApp
    with_token: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        await self.access_control(scope, receive, send)

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an allowed request."""
        if _is_prediction(scope):
            await self.predict(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, which is built when it is first requested."""
        if self.openapi_schema is None:
            document = super().openapi()
            add_access(document, with_token=self.with_token)
        return super().openapi()


def _is_prediction(scope: Scope) -> bool:
    is_post: bool = scope["type"] == "http" and scope["method"] == "POST"
    return is_post and scope["path"] == PREDICT


class CommonMethods:
    """Middleware for HEAD on every GET path and OPTIONS on every path (RFC 9110, 9.3).

    Args:
        app: Application that returns 405 with ``Allow`` for an unsupported method.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method == "OPTIONS" and scope["path"] == "*":
            await Response(status_code=204, headers={"Allow": _ALL_METHODS})(scope, receive, send)
            return
        has_body = method != "HEAD"

        async def adapt(message: Message) -> None:
            nonlocal has_body
            if message["type"] == "http.response.start" and message["status"] == 405:
                has_body = has_body and method != "OPTIONS"
                message = _allow_common_methods(message, is_options=method == "OPTIONS")
            elif message["type"] == "http.response.body" and not has_body:
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"} if method == "HEAD" else scope, receive, adapt)


def _allow_common_methods(message: Message, *, is_options: bool) -> Message:
    """Add HEAD and OPTIONS to the ``Allow`` of a 405, and make it a 204 for OPTIONS."""
    headers = Headers(raw=message["headers"])
    allowed = {name.strip() for name in headers.get("allow", "").split(",")} - {""}
    allowed |= {"OPTIONS", *(("HEAD",) if "GET" in allowed else ())}
    allow = (b"allow", ", ".join(sorted(allowed)).encode("ascii"))
    others = [] if is_options else [entry for entry in headers.raw if entry[0] != b"allow"]
    return {**message, "status": 204 if is_options else 405, "headers": [*others, allow]}


def create_app(
    models: ModelProvider,
    *,
    token: str | None = None,
    hosts: AllowedHosts = LOOPBACK_HOSTS,
    limits: Limits | None = None,
    log: RequestLog | None = None,
) -> PredictionService:
    """Build the application; its routes share ``app.state.service``.

    Args:
        token: Token that clients must send; None: only clients on this machine are served.
        hosts: Host names of the service, checked when there is no token.
        log: Request log, closed on shutdown; None: nothing is logged.
    """
    service = Service(models, limits or Limits(), log)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await models.start()
        try:
            yield
        finally:
            await service.stop()

    app = PredictionService(
        title="Trip duration",
        description=INTRODUCTION,
        version=package_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.predict = PredictEndpoint(service)

    def count_rejected(scope: Scope) -> None:
        if _is_prediction(scope):
            service.metrics.count_response(401)

    app.access_control = AccessControl(app.route, token, hosts, count_rejected)
    app.with_token = token is not None
    app.include_router(predict_route(service.limits))
    app.include_router(routes.status)
    app.include_router(routes.pages)
    app.add_middleware(CommonMethods)

    @app.exception_handler(Exception)
    async def internal_error(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "internal error: see the service's log"}, status_code=500)

    return app
