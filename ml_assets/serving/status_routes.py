"""How the service is: alive, ready, with which model, and its figures."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ml_assets.serving.bundle import ModelCard
from ml_assets.serving.model_provider import RegistryState
from ml_assets.serving.state import Service

router = APIRouter(tags=["status"])


class Health(BaseModel):
    """The process answers."""

    status: str = "alive"


class Readiness(BaseModel):
    """Whether predictions can be had."""

    ready: bool = Field(description="Whether there is a model")
    model_version: str | None = Field(default=None, description="The version in use")
    registry: RegistryState
    detail: str | None = Field(default=None, description="What to do while there is none")


class Detail(BaseModel):
    """Why a request was not answered, and what to do."""

    detail: str


@router.get("/health")
async def health() -> Health:
    """Whether the process answers; always 200."""
    return Health()


@router.get("/ready", responses={503: {"model": Readiness, "description": "There is no model"}})
async def ready(request: Request, response: Response) -> Readiness:
    """Whether predictions can be had, by which version, and whether the registry answers."""
    service = _service(request)
    served, registry = service.models.model, service.models.registry
    if served is None:
        response.status_code = 503
        return Readiness(ready=False, registry=registry, detail=service.why_no_model)
    return Readiness(ready=True, model_version=served.card.version, registry=registry)


@router.get("/model", responses={503: {"model": Detail, "description": "There is no model"}})
async def model(request: Request) -> ModelCard:
    """The version in use: alias, months, figures."""
    service = _service(request)
    served = service.models.model
    if served is None:
        unavailable: Any = JSONResponse({"detail": service.why_no_model}, status_code=503)
        return unavailable  # type: ignore[no-any-return]
    return served.card


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    return Response(_service(request).metrics.text(), media_type="text/plain; version=0.0.4")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
