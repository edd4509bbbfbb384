"""What the routes share: the model of the moment, bounds, log and figures."""

from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import TYPE_CHECKING, Final

from ml_assets.serving.metrics import Metrics
from ml_assets.serving.model_provider import ModelSource
from ml_assets.serving.request_body import Limits

if TYPE_CHECKING:
    from ml_assets.serving.request_log.writer import RequestLog

NO_MODEL: Final = (
    "there is no champion yet: train one first (`ml-assets run`, or the job train_models); the "
    "service takes it up by itself"
)
REGISTRY_UNREAD: Final = (
    "the registry has not answered yet, so it is not known whether there is a champion: try again "
    "in a few seconds"
)
_LOG_SECONDS = 5.0
_THREADS = 2


class Outlook(Enum):
    """What a service knows of its model: nothing yet, what keeps it away, or how it is."""

    UNKNOWN = "Reading the registry"
    PROBLEM = "No model yet"
    NO_CHAMPION = "No champion yet, the service takes it up once there is one"
    SERVING = "serving"


class Service:
    """One service process.

    Args:
        models: Where the model comes from.
        limits: Of requests.
        log: Keeps what was answered; None: nobody does.
    """

    def __init__(self, models: ModelSource, limits: Limits, log: "RequestLog | None") -> None:
        self.models = models
        self.limits = limits
        self.log = log
        self.metrics = Metrics(models, log)
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lists")

    @property
    def why_no_model(self) -> str:
        """Why there is none, and what to do."""
        registry = self.models.registry
        if not registry.reachable:
            reason = REGISTRY_UNREAD
        elif registry.champion_version is not None:
            version = registry.champion_version
            reason = f"version {version} is being loaded: try again in a few seconds"
        else:
            reason = NO_MODEL
        return reason if registry.problem is None else f"{reason} ({registry.problem})"

    @property
    def outlook(self) -> Outlook:
        """What is known of the model."""
        registry = self.models.registry
        if self.models.model is not None:
            return Outlook.SERVING
        if registry.reachable and registry.champion_version is None:
            return Outlook.NO_CHAMPION
        if registry.problem is not None:
            return Outlook.PROBLEM
        return Outlook.UNKNOWN

    async def start(self) -> None:
        """Load the model, if there is one."""
        await self.models.start()

    async def stop(self) -> None:
        """Watch no more, and write what the log still holds."""
        await self.models.stop()
        self.threads.shutdown(wait=True)
        if self.log is not None:
            self.log.close(_LOG_SECONDS)
