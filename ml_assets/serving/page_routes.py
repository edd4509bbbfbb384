"""The playground: a page at ``/`` for people without code, and the two lists that it reads.

The page asks ``POST /predict`` like everybody, so it has no way of its own to the model. Its files
are static, and the policy that goes with them lets it load and ask nothing but this server.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.staticfiles import StaticFiles

from ml_assets.serving.state import Service
from ml_assets.serving.status_routes import Detail
from ml_assets.trips.rules import FIRST_ZONE, LAST_ZONE
from ml_assets.trips.zones import (
    OUTSIDE_BOROUGH,
    OUTSIDE_ZONE,
    UNKNOWN_BOROUGH,
    UNKNOWN_ZONE,
    taxi_zones,
)

PAGE_HEADERS: Final = {
    # Asked for again with its ETag: after an upgrade nobody runs yesterday's script.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # the page's address holds the form
    "X-Content-Type-Options": "nosniff",
}
ZONES_CACHED: Final = "private, max-age=3600"
"""Zones change with a release at most."""

_PAGE: Final = StaticFiles(packages=[("ml_assets.serving", "page")])
ZoneNumber = Annotated[int, Query(ge=FIRST_ZONE, le=LAST_ZONE)]


class Zone(BaseModel):
    """A taxi zone; two may share a name, never a number."""

    zone: int = Field(description="Location number, from 1 to 265")
    name: str
    borough: str


class TypicalDistance(BaseModel):
    """How far past trips between two zones went."""

    trip_distance: float | None = Field(description="Miles; null when the model does not know")


router = APIRouter(tags=["playground"])


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The page itself."""
    return await _page_file("index.html", request)


@router.get("/page/{name}", include_in_schema=False)
async def page_file(name: str, request: Request) -> Response:
    """A style sheet, script or picture of the page."""
    return await _page_file(name, request)


@router.get("/zones")
async def zones(response: Response) -> list[Zone]:
    """Every zone that a request may name, with what people call it."""
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


@router.get(
    "/typical-distance",
    response_model=TypicalDistance,
    responses={503: {"model": Detail, "description": "There is no model"}},
)
async def typical_distance(
    PULocationID: ZoneNumber, DOLocationID: ZoneNumber, request: Request
) -> Any:
    """How far past trips between two zones went, as the model in use has learnt it."""
    service: Service = request.app.state.service
    served = service.model
    if served is None:
        return JSONResponse({"detail": service.why_no_model}, status_code=503)

    from ml_assets.pipeline.explain import expected_miles

    miles = expected_miles(served.model.pipeline, PULocationID, DOLocationID)
    return TypicalDistance(trip_distance=miles)


async def _page_file(name: str, request: Request) -> Response:
    response = await _PAGE.get_response(name, request.scope)
    response.headers.update(PAGE_HEADERS)
    return response
