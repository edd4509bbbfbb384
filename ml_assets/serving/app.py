"""The service as an ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_assets.config.code_version import package_version
from ml_assets.config.http_origin import LOOPBACK_HOSTS, KnownHosts
from ml_assets.serving import page_routes, status_routes
from ml_assets.serving.auth import Guard
from ml_assets.serving.model_provider import ModelSource
from ml_assets.serving.openapi import INTRODUCTION, PREDICT, add_access, predict_route
from ml_assets.serving.predict_endpoint import PredictEndpoint
from ml_assets.serving.request_body import Limits
from ml_assets.serving.state import Service

_ALL_METHODS: Final = "GET, HEAD, OPTIONS, POST"

if TYPE_CHECKING:
    from ml_assets.serving.request_log.writer import RequestLog


class PredictionService(FastAPI):
    """The application; the one path that has to be quick goes past the framework's own routing.

    Attributes:
        guard: What every request passes first; it hands on to ``route``.
        predict: Answers ``POST /predict``.
        with_token: Whether clients must send a token.
    """

    guard: ASGIApp
    predict: ASGIApp
    with_token: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        await self.guard(scope, receive, send)

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that may be answered."""
        if _is_predict(scope):
            await self.predict(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made when it is first requested."""
        if self.openapi_schema is None:
            document = super().openapi()
            add_access(document, with_token=self.with_token)
        return super().openapi()


def _is_predict(scope: Scope) -> bool:
    is_post: bool = scope["type"] == "http" and scope["method"] == "POST"
    return is_post and scope["path"] == PREDICT


class CommonMethods:
    """HEAD wherever there is a GET, OPTIONS everywhere, and both in ``Allow`` (RFC 9110, 9.3).

    Args:
        app: Answers 405 with ``Allow`` to a method that a path does not have.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
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
                message = _with_common_methods(message, is_options=method == "OPTIONS")
            elif message["type"] == "http.response.body" and not has_body:
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"} if method == "HEAD" else scope, receive, adapt)


def _with_common_methods(message: Message, *, is_options: bool) -> Message:
    """The beginning of a 405 with all that is allowed; to OPTIONS, that is the answer."""
    headers = Headers(raw=message["headers"])
    allowed = {name.strip() for name in headers.get("allow", "").split(",")} - {""}
    allowed |= {"OPTIONS", *(("HEAD",) if "GET" in allowed else ())}
    allow = (b"allow", ", ".join(sorted(allowed)).encode("ascii"))
    others = [] if is_options else [entry for entry in headers.raw if entry[0] != b"allow"]
    return {**message, "status": 204 if is_options else 405, "headers": [*others, allow]}


def create_app(
    models: ModelSource,
    *,
    token: str | None = None,
    hosts: KnownHosts = LOOPBACK_HOSTS,
    limits: Limits | None = None,
    log: "RequestLog | None" = None,
) -> PredictionService:
    """The application; ``app.state.service`` is what its routes share.

    Args:
        models: Where the model comes from.
        token: That clients must send; None: only this machine asks.
        hosts: Names of the service, for when there is no token.
        limits: Of requests.
        log: Keeps what was answered, and is closed when the application ends.
    """
    service = Service(models, limits or Limits(), log)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
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

    def count_refused(scope: Scope) -> None:
        if _is_predict(scope):
            service.metrics.answered(401)

    app.guard = Guard(app.route, token, hosts, count_refused)
    app.with_token = token is not None
    app.include_router(predict_route(service.limits))
    app.include_router(status_routes.router)
    app.include_router(page_routes.router)
    app.add_middleware(CommonMethods)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "the service failed; its log tells why"}, status_code=500)

    return app
