"""A provider of one model, without a registry."""

from dataclasses import dataclass, field

from ml_assets.serving.bundle import ServedModel
from ml_assets.serving.model_provider import RegistryState


@dataclass
class FixedModel:
    """Provides one model without a registry.

    Attributes:
        model: Version in use.
        registry: State of the registry to report.
    """

    model: ServedModel | None
    registry: RegistryState = field(default_factory=lambda: RegistryState(reachable=True))

    async def start(self) -> None:
        """Do nothing: there is nothing to load."""

    async def stop(self) -> None:
        """Do nothing: there is nothing to stop."""
