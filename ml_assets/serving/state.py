"""State that the routes share: model provider, limits, request log and Prometheus metrics."""

import time
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ml_assets.serving.list_thread import ListThread
from ml_assets.serving.model_provider import ModelProvider
from ml_assets.serving.request_body import Limits
from ml_assets.serving.request_log.writer import RequestLog
from ml_assets.trips.request_columns import STATED, USUAL

_SECONDS: Final = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
_STATUSES: Final = (200, 401, 408, 413, 415, 422, 500, 503)


class Metrics:
    """Counters of predictions, and the state of model, registry and request log."""

    def __init__(self, models: ModelProvider, log: RequestLog | None) -> None:
        self._registry = CollectorRegistry()
        requests = Counter(
            "ml_assets_predict_requests",
            "Responses of /predict by status",
            ["status"],
            registry=self._registry,
        )
        seconds = Histogram(
            "ml_assets_predict_duration_seconds",
            "From the complete request to the response, for responses with predictions",
            ["kind"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._by_status = {status: requests.labels(str(status)) for status in _STATUSES}
        self._single, self._list = seconds.labels("one"), seconds.labels("list")
        self._predictions = Counter(
            "ml_assets_predictions", "Predictions made", registry=self._registry
        )
        by_distance = Counter(
            "ml_assets_predictions_by_distance",
            "Predictions made for the stated distance, or for the usual one of the two zones",
            ["distance"],
            registry=self._registry,
        )
        self._stated, self._usual = by_distance.labels(STATED), by_distance.labels(USUAL)
        self._disconnects = Counter(
            "ml_assets_client_disconnects",
            "Clients that disconnected before their response",
            registry=self._registry,
        )
        self._registry.register(_CurrentState(models, log))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def count_response(self, status: int) -> None:
        """Count a response of /predict."""
        self._by_status[status].inc()

    def count_predictions(
        self, stated: npt.NDArray[np.bool_], seconds: float, *, is_list: bool
    ) -> None:
        """Count predictions and observe the duration of their request.

        Args:
            stated: Whether each prediction is for the request's own distance, shape (n,).
        """
        with_distance = int(np.count_nonzero(stated))
        self._predictions.inc(len(stated))
        self._stated.inc(with_distance)
        self._usual.inc(len(stated) - with_distance)
        (self._list if is_list else self._single).observe(seconds)

    def count_disconnect(self) -> None:
        """Count a client that disconnected before its response."""
        self._disconnects.inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class _CurrentState(Collector):
    """Metrics that are read on each scrape."""

    def __init__(self, models: ModelProvider, log: RequestLog | None) -> None:
        self._models, self._log = models, log

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        served, registry = self._models.model, self._models.registry
        model = GaugeMetricFamily("ml_assets_model_info", "The version in use", labels=["version"])
        if served is not None:
            model.add_metric([served.card.version], 1)
        yield model
        loaded = served.card.loaded_at.timestamp() if served else 0
        yield GaugeMetricFamily(
            "ml_assets_model_loaded_timestamp_seconds",
            "When the model was loaded, seconds since 1970; 0 without a model",
            loaded,
        )
        yield GaugeMetricFamily(
            "ml_assets_registry_up", "1 if the registry responds", int(registry.reachable)
        )
        answered = registry.last_response_at
        if answered is not None:
            age = time.time() - answered.timestamp()
            yield GaugeMetricFamily(
                "ml_assets_registry_last_response_age_seconds",
                "Seconds since the registry's last response",
                max(age, 0.0),
            )
        yield GaugeMetricFamily(
            "ml_assets_model_load_failed",
            "1 if the registry's champion cannot be served",
            int(registry.problem is not None),
        )
        if self._log is not None:
            yield CounterMetricFamily(
                "ml_assets_request_log_written",
                "Predictions written to the request log",
                self._log.written,
            )
            yield CounterMetricFamily(
                "ml_assets_request_log_dropped",
                "Predictions that could not be written to the request log",
                self._log.dropped,
            )


NO_CHAMPION: Final = (
    "there is no champion yet: train one first (`ml-assets run`, or the job train_models); the "
    "service loads it automatically"
)
REGISTRY_NOT_READ: Final = (
    "the registry has not answered yet, so it is not known whether there is a champion: try again "
    "in a few seconds"
)
_LOG_SECONDS = 5.0


class ModelStatus(Enum):
    """Status of the model, in the words of the server's announcement."""

    UNKNOWN = "Reading the registry"
    PROBLEM = "No model yet"
    NO_CHAMPION = "No champion yet, the service loads it once there is one"
    SERVING = "serving"


class Service:
    """State of a service process."""

    def __init__(self, models: ModelProvider, limits: Limits, log: RequestLog | None) -> None:
        self.models = models
        self.limits = limits
        self.log = log
        self.metrics = Metrics(models, log)
        self.lists = ListThread()

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

    async def stop(self) -> None:
        """Stop watching for changes, and write the rest of the request log."""
        await self.models.stop()
        self.lists.shutdown()
        if self.log is not None:
            self.log.close(_LOG_SECONDS)
