"""What the routes share: the model of the moment, bounds, log and figures."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from ml_assets.serving.limits import Limits
from ml_assets.serving.metrics import Metrics
from ml_assets.serving.model_source import ModelSource

if TYPE_CHECKING:
    from ml_assets.serving.bundle import ServedModel
    from ml_assets.storage.request_log import RequestLog

NO_MODEL: Final = (
    "there is no champion yet: train one first (`ml-assets run`, or the job train_models); the "
    "service takes it up by itself"
)
_LOG_SECONDS = 5.0
_THREADS = 2


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
    def model(self) -> "ServedModel | None":
        """The version in use; a request takes it once and stays with it."""
        return self.models.model

    @property
    def why_no_model(self) -> str:
        """What a client is told while there is none."""
        problem = self.models.registry.problem
        return NO_MODEL if problem is None else f"{NO_MODEL} ({problem})"

    async def start(self) -> None:
        """Load the model, if there is one."""
        await self.models.start()

    async def stop(self) -> None:
        """Watch no more, and write what the log still holds."""
        await self.models.stop()
        self.threads.shutdown(wait=True)
        if self.log is not None:
            self.log.close(_LOG_SECONDS)
