"""Where the service has its model from, and what it knows of the registry behind it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel, Field

from ml_assets.serving.bundle import ServedModel


class RegistryState(BaseModel):
    """Whether the registry answers."""

    reachable: bool = Field(description="Whether it has answered within the last ten seconds")
    answered_at: datetime | None = Field(default=None, description="When it last answered (UTC)")
    names: str | None = Field(default=None, description="The version that it calls champion")
    problem: str | None = Field(
        default=None, description="What keeps it, or its champion, from serving"
    )


class ModelSource(Protocol):
    """Gives the model of the moment; a request takes it once."""

    @property
    def model(self) -> ServedModel | None:
        """The version in use; None before there is one."""

    @property
    def registry(self) -> RegistryState:
        """What is known of the registry."""

    async def start(self) -> None:
        """Load what is there, and begin to watch for changes."""

    async def stop(self) -> None:
        """Watch no longer."""


@dataclass
class FixedModel:
    """One model for good, without any registry: for tests, notebooks and benchmarks.

    Attributes:
        model: The version in use.
        registry: As it is told.
    """

    model: ServedModel | None
    registry: RegistryState = field(default_factory=lambda: RegistryState(reachable=True))

    async def start(self) -> None:
        """There is nothing to load."""

    async def stop(self) -> None:
        """There is nothing to stop."""
