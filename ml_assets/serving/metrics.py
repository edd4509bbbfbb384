"""Figures of the service for Prometheus, in a registry of their own."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from ml_assets.serving.model_provider import ModelSource
    from ml_assets.serving.request_log.writer import RequestLog

_SECONDS: Final = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
_STATUSES: Final = (200, 401, 408, 413, 415, 422, 500, 503)


class Metrics:
    """What happened so far, and what is the case now.

    Args:
        models: Asked when somebody looks.
        log: Likewise; None when answers are not kept.
    """

    def __init__(self, models: "ModelSource", log: "RequestLog | None") -> None:
        self._registry = CollectorRegistry()
        requests = Counter(
            "ml_assets_predict_requests", "Answers of /predict", ["status"], registry=self._registry
        )
        seconds = Histogram(
            "ml_assets_predict_duration_seconds",
            "From the whole request read to the answer made, of answers with predictions",
            ["kind"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._by_status = {status: requests.labels(str(status)) for status in _STATUSES}
        self._one, self._many = seconds.labels("one"), seconds.labels("list")
        self._predictions = Counter(
            "ml_assets_predictions", "Requests that were answered", registry=self._registry
        )
        self._gone = Counter(
            "ml_assets_client_disconnects", "Clients that hung up", registry=self._registry
        )
        self._registry.register(_Present(models, log))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def answered(self, status: int) -> None:
        """Count an answer of /predict."""
        self._by_status[status].inc()

    def predicted(self, count: int, seconds: float, *, is_list: bool) -> None:
        """Count predictions that were made in so many seconds."""
        self._predictions.inc(count)
        (self._many if is_list else self._one).observe(seconds)

    def client_gone(self) -> None:
        """Count a client that has not waited."""
        self._gone.inc()

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry)


class _Present(Collector):
    """Figures that are looked up when they are asked for."""

    def __init__(self, models: "ModelSource", log: "RequestLog | None") -> None:
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
            "ml_assets_model_loaded_timestamp_seconds", "When (seconds since 1970)", loaded
        )
        yield GaugeMetricFamily(
            "ml_assets_registry_up", "1 if the registry answers", int(registry.reachable)
        )
        answered = registry.last_response_at
        if answered is not None:
            age = time.time() - answered.timestamp()
            yield GaugeMetricFamily(
                "ml_assets_registry_last_response_age_seconds",
                "Since its last answer",
                max(age, 0.0),
            )
        yield GaugeMetricFamily(
            "ml_assets_model_load_failed",
            "1 if something keeps the registry's champion from serving",
            int(registry.problem is not None),
        )
        if self._log is not None:
            written, lost = self._log.written, self._log.lost
            yield CounterMetricFamily(
                "ml_assets_request_log_written", "Answers in the request log", written
            )
            yield CounterMetricFamily(
                "ml_assets_request_log_dropped", "Answers that are not in it", lost
            )
