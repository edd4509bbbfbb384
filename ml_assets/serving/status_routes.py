"""Status of the service: health, readiness, model and metrics."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ml_assets.serving.bundle import ModelCard
from ml_assets.serving.model_provider import RegistryState
from ml_assets.serving.state import Service

router = APIRouter(tags=["status"])


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


@router.get("/health")
async def health() -> Health:
    """Whether the process responds; always 200."""
    return Health()


@router.get("/ready", responses={503: {"model": Readiness, "description": "No model is loaded"}})
async def ready(request: Request, response: Response) -> Readiness:
    """Whether the service can predict, with which version, and whether the registry responds."""
    service = _service(request)
    served, registry = service.models.model, service.models.registry
    if served is None:
        response.status_code = 503
        return Readiness(ready=False, registry=registry, detail=service.unavailable_reason)
    return Readiness(ready=True, model_version=served.card.version, registry=registry)


@router.get("/model", responses={503: {"model": Detail, "description": "No model is loaded"}})
async def model(request: Request) -> ModelCard:
    """The version in use: its alias, months and metrics."""
    service = _service(request)
    served = service.models.model
    if served is None:
        unavailable: Any = JSONResponse({"detail": service.unavailable_reason}, status_code=503)
        return unavailable  # type: ignore[no-any-return]
    return served.card


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Metrics for Prometheus."""
    return Response(_service(request).metrics.text(), media_type="text/plain; version=0.0.4")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
