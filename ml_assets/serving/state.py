"""State that the routes share: model provider, limits, request log and metrics."""

from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Final

from ml_assets.serving.metrics import Metrics
from ml_assets.serving.model_provider import ModelProvider
from ml_assets.serving.request_body import Limits
from ml_assets.serving.request_log.writer import RequestLog

NO_CHAMPION: Final = (
    "there is no champion yet: train one first (`ml-assets run`, or the job train_models); the "
    "service loads it automatically"
)
REGISTRY_NOT_READ: Final = (
    "the registry has not answered yet, so it is not known whether there is a champion: try again "
    "in a few seconds"
)
_LOG_SECONDS = 5.0
_THREADS = 2


class ModelStatus(Enum):
    """Status of the model, in the words of the server's announcement."""

    UNKNOWN = "Reading the registry"
    PROBLEM = "No model yet"
    NO_CHAMPION = "No champion yet, the service loads it once there is one"
    SERVING = "serving"


class Service:
    """State of a service process.

    Args:
        models: Provider of the model.
        limits: Limits of a request.
        log: Request log; None: nothing is logged.
    """

    def __init__(self, models: ModelProvider, limits: Limits, log: RequestLog | None) -> None:
        self.models = models
        self.limits = limits
        self.log = log
        self.metrics = Metrics(models, log)
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lists")

    @property
    def unavailable_reason(self) -> str:
        """Why there is no model, and what to do."""
        registry = self.models.registry
        if not registry.reachable:
            reason = REGISTRY_NOT_READ
        elif registry.champion_version is not None:
            version = registry.champion_version
            reason = f"version {version} is being loaded: try again in a few seconds"
        else:
            reason = NO_CHAMPION
        return reason if registry.problem is None else f"{reason} ({registry.problem})"

    @property
    def model_status(self) -> ModelStatus:
        """Status of the model."""
        registry = self.models.registry
        if self.models.model is not None:
            return ModelStatus.SERVING
        if registry.reachable and registry.champion_version is None:
            return ModelStatus.NO_CHAMPION
        if registry.problem is not None:
            return ModelStatus.PROBLEM
        return ModelStatus.UNKNOWN

    async def start(self) -> None:
        """Load the model if there is one, and watch for changes."""
        await self.models.start()

    async def stop(self) -> None:
        """Stop watching for changes, and write the rest of the request log."""
        await self.models.stop()
        self.threads.shutdown(wait=True)
        if self.log is not None:
            self.log.close(_LOG_SECONDS)
