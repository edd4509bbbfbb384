"""Training-serving parity: the champion predicts the same minutes over every channel."""

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import polars as pl
from sklearn.pipeline import Pipeline

from ml_assets.pipeline.conformal_intervals import interval_bounds, seen_pairs
from ml_assets.pipeline.predict import Model
from ml_assets.pipeline.serialization import UntrustedModel
from ml_assets.promotion.candidate_service import ServiceUnresponsive, candidate_service
from ml_assets.registry import ModelNotFound
from ml_assets.registry.loading import load_model
from ml_assets.registry.registry import Registry
from ml_assets.requests.batch import predict_file
from ml_assets.requests.parse import InvalidRequest, parse_request, request_columns, states_distance
from ml_assets.requests.validate import DISTANCE, DISTANCE_MILES, check_requests
from ml_assets.secrets import error_text
from ml_assets.storage.atomic import StorageError
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.request_columns import REQUEST_COLUMNS, STATED, USUAL
from ml_assets.trips.target import TARGET

REQUESTS: Final = 1000
"""Number of trips compared."""

MIN_SINGLE_REQUESTS: Final = 20
TRIPS_PER_SINGLE_REQUEST: Final = 30
"""Single requests, and those of the page (each with an explanation, which takes 20 ms), are sent
for all of these trips if the test month has 30,000 trips or more; for fewer in a smaller month, but
at least 20."""

SEED: Final = 4
PAGE_PATH: Final = "/predict?explain=true"
PREDICTED: Final = (*TARGET.prediction_fields, DISTANCE, DISTANCE_MILES)

Post = Callable[..., Mapping[str, Any]]
"""Sends a body, optionally to another path than ``/predict``, and returns the JSON response."""
Prediction = Mapping[str, Any]
"""``PREDICTED`` and ``model_version`` of one request."""


@dataclass
class ParityResult:
    """Result of a comparison.

    Attributes:
        compared: Number of requests compared by channel.
        difference: The first difference: channel, request, both values. None without one.
        skipped_reason: Why nothing was compared, if another check covers the reason.
    """

    compared: dict[str, int] = field(default_factory=dict)
    difference: str | None = None
    skipped_reason: str | None = None

    def finding(self) -> Finding:
        """Return the result as a finding."""
        if self.difference is not None:
            return Finding(Verdict.FAIL, self.difference)
        if self.skipped_reason is not None:
            return Finding(Verdict.SKIP, self.skipped_reason)
        channels = ", ".join(f"{channel} {count:,}" for channel, count in self.compared.items())
        total = float(sum(self.compared.values()))
        return Finding(Verdict.PASS, f"predictions identical to the last bit: {channels}", total)


def compare_champion(registry: Registry, test_trips: pd.DataFrame) -> ParityResult:
    """Compare the champion's predictions for trips of the test month over every channel.

    Returns:
        The result; a champion or a service that cannot be used counts as a difference.
    """
    version = registry.champion()
    if version is None:
        return ParityResult(skipped_reason="the registry has no champion")
    trips = sample_requests(test_trips)
    if not len(trips):
        return ParityResult(skipped_reason="the test month has no trip that is a valid request")
    try:
        with candidate_service(version, registry.name) as service:
            model = load_model(registry, version.version)
            return compare(model, trips, service.post, single_requests(len(test_trips)))
    except (ModelNotFound, ServiceUnresponsive, UntrustedModel, StorageError) as error:
        return ParityResult(difference=error_text(error))


def single_requests(test_trips: int) -> int:
    """Return the number of single requests for a test month with this number of trips."""
    return max(MIN_SINGLE_REQUESTS, min(REQUESTS, test_trips // TRIPS_PER_SINGLE_REQUEST))


def sample_requests(test_trips: pd.DataFrame, requests: int = REQUESTS) -> pd.DataFrame:
    """Draw a fixed random sample of the trips that are valid requests.

    Every other one leaves its distance out, as the page does unless a user states one.
    """
    trips = test_trips[list(REQUEST_COLUMNS)]
    valid = trips[check_requests(pl.from_pandas(trips)).valid.to_numpy()]
    drawn = valid.sample(min(requests, len(valid)), random_state=SEED).reset_index(drop=True)
    drawn.loc[drawn.index % 2 == 1, "trip_distance"] = np.nan
    return drawn


def compare(model: Model, trips: pd.DataFrame, post: Post, single: int = REQUESTS) -> ParityResult:
    """Compare the predictions for the same trips over every channel.

    Args:
        single: Number of trips sent as single requests, and as requests of the page.
    """
    expected = _predict_in_process(model, trips)
    requests = _to_json(trips)
    few = requests[:single]
    result = ParityResult()
    channels: dict[str, tuple[list[dict[str, Any]], Callable[[], Sequence[Prediction]]]] = {
        "batch_parquet": (requests, lambda: _predict_file(model, trips, "requests.parquet")),
        "batch_csv": (requests, lambda: _predict_file(model, trips, "requests.csv")),
        "http_list": (requests, lambda: post(json.dumps(requests).encode())["predictions"]),
        "http_single": (few, lambda: [post(json.dumps(one).encode()) for one in few]),
        "page": (few, lambda: [post(_page_body(one), PAGE_PATH) for one in few]),
    }
    for channel, (sent, predict) in channels.items():
        predictions = predict()
        result.compared[channel] = len(predictions)
        result.difference = _difference(channel, sent, expected, predictions)
        if result.difference is not None:
            return result
    result.compared["features"] = len(trips)
    result.difference = _feature_difference(model.pipeline, trips, requests)
    return result


def _predict_in_process(model: Model, trips: pd.DataFrame) -> list[Prediction]:
    minutes = model.pipeline.predict(trips)
    none = [None] * len(minutes)
    stated = states_distance(trips["trip_distance"])
    zones = [trips[name].to_numpy() for name in REQUEST_COLUMNS[:2]]
    bounds = interval_bounds(model.pipeline, minutes, stated, seen_pairs(model.pipeline, *zones))
    lower, upper = (none, none) if bounds is None else (side.tolist() for side in bounds)
    miles = np.where(stated, trips["trip_distance"], model.usual_miles(*zones)).tolist()
    columns = (
        minutes.tolist(),
        lower,
        upper,
        np.where(stated, STATED, USUAL).tolist(),
        [None if math.isnan(value) else value for value in miles],
    )
    return [
        {**dict(zip(PREDICTED, values, strict=True)), "model_version": model.version}
        for values in zip(*columns, strict=True)
    ]


def _to_json(trips: pd.DataFrame) -> list[dict[str, Any]]:
    """Convert trips to requests as clients write them: integers without a point, nulls."""
    return [
        {
            **row,
            "trip_distance": _number(row["trip_distance"]),
            "pickup_datetime": row["pickup_datetime"].isoformat(),
            "passenger_count": _number(row["passenger_count"]),
        }
        for row in pl.from_pandas(trips).iter_rows(named=True)
    ]


def _number(value: float | None) -> float | int | None:
    if value is None or math.isnan(value):
        return None
    return int(value) if value.is_integer() else value


def _predict_file(model: Model, trips: pd.DataFrame, name: str) -> Sequence[Prediction]:
    frame = pl.from_pandas(trips)
    with tempfile.TemporaryDirectory(prefix="ml_assets_parity_") as folder:
        source, target = Path(folder) / name, Path(folder) / "predictions.parquet"
        frame.write_csv(source) if source.suffix == ".csv" else frame.write_parquet(source)
        predict_file(model, source, target)
        return pl.read_parquet(target).select(*PREDICTED, "model_version").to_dicts()


def _page_body(request: Mapping[str, Any]) -> bytes:
    """Return the body that the page sends for a request (``serving/page/form.js``).

    Its time input has minutes only, and empty fields are omitted.
    """
    fields = {name: value for name, value in request.items() if value is not None}
    return json.dumps(fields | {"pickup_datetime": fields["pickup_datetime"][:16]}).encode()


def _difference(
    channel: str,
    requests: Sequence[Mapping[str, Any]],
    expected: Sequence[Prediction],
    predictions: Sequence[Prediction],
) -> str | None:
    if len(predictions) != len(requests):
        return f"{channel}: {len(predictions)} predictions for {len(requests)} requests"
    for request, one, other in zip(requests, expected, predictions, strict=False):
        for name in (*PREDICTED, "model_version"):
            if one[name] != other[name]:
                return (
                    f"{channel}: {name} is {other[name]!r} instead of {one[name]!r} for "
                    f"{json.dumps(request)}"
                )
    return None


def _feature_difference(
    pipeline: Pipeline, trips: pd.DataFrame, requests: Sequence[Mapping[str, Any]]
) -> str | None:
    """Compare the features of the requests with those of the same trips in training."""
    parsed = []
    for request in requests:
        one = parse_request(request)
        if isinstance(one, InvalidRequest):
            return f"features: {json.dumps(request)} is rejected: {one.errors[0].message}"
        parsed.append(one)
    features = pipeline[0]
    trained = features.transform(trips)
    served = features.transform(request_columns(parsed))
    differs = (trained != served) & ~(np.isnan(trained) & np.isnan(served))
    if not differs.any():
        return None
    row, column = np.argwhere(differs)[0]
    name = features.get_feature_names_out()[column]
    return (
        f"features: {name} is {served[row, column]} in the service and "
        f"{trained[row, column]} in training for {json.dumps(requests[row])}"
    )
