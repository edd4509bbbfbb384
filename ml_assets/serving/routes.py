"""GET routes: the service's status, the playground at ``/``, and Swagger UI at ``/docs``.

Both pages call ``POST /predict`` like any client. They consist of static files of this package, and
their Content-Security-Policy restricts them to this server.
"""

import functools
import hashlib
import math
import re
from base64 import b64encode
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.staticfiles import StaticFiles

from ml_assets.serving.bundle import ModelCard
from ml_assets.serving.model_provider import RegistryState
from ml_assets.serving.state import Service
from ml_assets.trips.request_columns import FIRST_ZONE, LAST_ZONE
from ml_assets.trips.zones import (
    OUTSIDE_BOROUGH,
    OUTSIDE_ZONE,
    UNKNOWN_BOROUGH,
    UNKNOWN_ZONE,
    taxi_zones,
)

status = APIRouter(tags=["status"])
pages = APIRouter(tags=["playground"])


class Health(BaseModel):
    """The process responds."""

    status: str = "alive"


class Readiness(BaseModel):
    """Whether the service can predict."""

    ready: bool = Field(description="Whether a model is loaded")
    model_version: str | None = Field(default=None, description="Version in use")
    registry: RegistryState
    detail: str | None = Field(default=None, description="What to do if no model is loaded")


class Detail(BaseModel):
    """Why a request failed, and what to do."""

    detail: str


@status.get("/health")
async def health() -> Health:
    """Whether the process responds; always 200."""
    return Health()


@status.get("/ready", responses={503: {"model": Readiness, "description": "No model is loaded"}})
async def ready(request: Request, response: Response) -> Readiness:
    """Whether the service can predict, with which version, and whether the registry responds."""
    service = _service(request)
    served, registry = service.models.model, service.models.registry
    if served is None:
        response.status_code = 503
        return Readiness(ready=False, registry=registry, detail=service.unavailable_reason)
    return Readiness(ready=True, model_version=served.card.version, registry=registry)


@status.get("/model", responses={503: {"model": Detail, "description": "No model is loaded"}})
async def model(request: Request) -> ModelCard:
    """The version in use: its alias, months and metrics."""
    service = _service(request)
    served = service.models.model
    if served is None:
        unavailable: Any = JSONResponse({"detail": service.unavailable_reason}, status_code=503)
        return unavailable  # type: ignore[no-any-return]
    return served.card


@status.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Metrics for Prometheus."""
    return Response(_service(request).metrics.text(), media_type="text/plain; version=0.0.4")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


_POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'"
)
PAGE_HEADERS: Final = {
    # Revalidated with the ETag, so that an upgrade takes effect at once.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",  # the page's URL contains the form's values
    "X-Content-Type-Options": "nosniff",
}
ZONES_CACHED: Final = "private, max-age=3600"
"""Zones change only with a release."""

_PAGE: Final = StaticFiles(packages=[("ml_assets.serving", "page")])
_SWAGGER_UI: Final = StaticFiles(packages=[("ml_assets.serving", "swagger_ui")])
ZoneNumber = Annotated[int, Query(ge=FIRST_ZONE, le=LAST_ZONE)]


class Zone(BaseModel):
    """A taxi zone; names are not unique."""

    zone: int = Field(description="Location number, from 1 to 265")
    name: str
    borough: str


class TypicalDistance(BaseModel):
    """Usual distance between two zones."""

    trip_distance: float | None = Field(description="Miles; null when unknown to the model")


@pages.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The playground."""
    return await _static_file(_PAGE, "index.html", request)


@pages.get("/page/{name}", include_in_schema=False)
async def page_file(name: str, request: Request) -> Response:
    """A style sheet, script or image of the playground."""
    return await _static_file(_PAGE, name, request)


@pages.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Swagger UI for the service's OpenAPI document."""
    page, policy = _docs_page(request.app.title)
    headers = {**PAGE_HEADERS, "Content-Security-Policy": policy}
    return Response(page, media_type="text/html", headers=headers)


@pages.get("/docs/{name}", include_in_schema=False)
async def docs_file(name: str, request: Request) -> Response:
    """A file of Swagger UI."""
    return await _static_file(_SWAGGER_UI, name, request)


@pages.get("/zones")
async def zones(response: Response) -> list[Zone]:
    """All zones that are valid in a request, with their names."""
    response.headers["Cache-Control"] = ZONES_CACHED
    on_the_map = [
        Zone(zone=row["LocationID"], name=row["zone"], borough=row["borough"])
        for row in taxi_zones().to_pylist()
    ]
    return [
        *on_the_map,
        Zone(zone=UNKNOWN_ZONE, name="Unknown zone", borough=UNKNOWN_BOROUGH),
        Zone(zone=OUTSIDE_ZONE, name="Outside of New York City", borough=OUTSIDE_BOROUGH),
    ]


@pages.get(
    "/typical-distance",
    response_model=TypicalDistance,
    responses={503: {"model": Detail, "description": "No model is loaded"}},
)
async def typical_distance(
    PULocationID: ZoneNumber, DOLocationID: ZoneNumber, request: Request
) -> Any:
    """Usual distance between two zones, learned from past trips by the model in use.

    A request without a distance is predicted for it.
    """
    service = _service(request)
    served = service.models.model
    if served is None:
        return JSONResponse({"detail": service.unavailable_reason}, status_code=503)
    (miles,) = served.model.usual_miles(np.array([PULocationID]), np.array([DOLocationID])).tolist()
    return TypicalDistance(trip_distance=None if math.isnan(miles) else miles)


@functools.cache
def _docs_page(title: str) -> tuple[bytes, str]:
    """Return FastAPI's page with local URLs, and the policy that allows its inline script."""
    page = bytes(
        get_swagger_ui_html(
            openapi_url="openapi.json",
            title=f"{title}: API",
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url="page/favicon.svg",
            # The validator would send the document's URL to a Swagger server.
            swagger_ui_parameters={"tryItOutEnabled": True, "validatorUrl": None},
        ).body
    )
    (script,) = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(hashlib.sha256(script).digest()).decode("ascii")
    # The style sheet contains its icons as data URLs.
    return page, f"{_POLICY}; script-src 'self' 'sha256-{digest}'; img-src 'self' data:"


async def _static_file(folder: StaticFiles, name: str, request: Request) -> Response:
    response = await folder.get_response(name, request.scope)
    response.headers.update(PAGE_HEADERS)
    return response
