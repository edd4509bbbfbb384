"""One pipeline answers everywhere: the champion asked in each way, its answers held together."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import polars as pl
from mlflow import MlflowClient
from sklearn.pipeline import Pipeline

from ml_assets.pipeline.conformal_intervals import interval_bounds
from ml_assets.pipeline.predict import Model
from ml_assets.pipeline.serialization import UntrustedModel
from ml_assets.promotion.candidate_service import ServiceUnresponsive, candidate_service
from ml_assets.registry.loading import ModelNotFound, load_model
from ml_assets.registry.registry import champion_version
from ml_assets.requests.batch import predict_file
from ml_assets.requests.parse import Refused, read_request, request_columns
from ml_assets.requests.validate import check_requests
from ml_assets.secrets import error_text
from ml_assets.storage.atomic import StorageError
from ml_assets.trips.quality import Finding, Verdict
from ml_assets.trips.rules import REQUEST_COLUMNS

REQUESTS: Final = 1000
"""Trips that are asked for at once."""

MIN_ONE_BY_ONE: Final = 20
TRIPS_FOR_ONE: Final = 30
"""One by one, and as the page asks (with an explanation of each, which takes 20 ms), all of them
are asked for in a month of 30,000 trips or more, fewer in a smaller one, 20 at least."""

SEED: Final = 4
PAGE_PATH: Final = "/predict?explain=true"
MINUTES: Final = ("predicted_minutes", "lower_minutes", "upper_minutes")

Ask = Callable[..., Mapping[str, Any]]
"""A body, and the path if it is another than ``/predict``, to the JSON that is answered."""
Answer = Mapping[str, Any]
"""``MINUTES`` and ``model_version`` of one request."""


@dataclass
class Comparison:
    """What came of it.

    Attributes:
        compared: Requests by the way in which they were asked.
        difference: The first: way, request, and what was answered instead of what.
        impossible: Why nothing could be asked, where that is another check's matter.
    """

    compared: dict[str, int] = field(default_factory=dict)
    difference: str | None = None
    impossible: str | None = None

    def finding(self) -> Finding:
        """For people."""
        if self.difference is not None:
            return Finding(Verdict.FAIL, self.difference)
        if self.impossible is not None:
            return Finding(Verdict.SKIP, self.impossible)
        ways = ", ".join(f"{way} {count:,}" for way, count in self.compared.items())
        total = float(sum(self.compared.values()))
        return Finding(Verdict.PASS, f"requests answered alike to the last bit: {ways}", total)


def compare_champion(client: MlflowClient, name: str, test_trips: pd.DataFrame) -> Comparison:
    """Ask the champion for trips of the test month in every way there is.

    Args:
        client: MLflow client.
        name: Name of the registered model.
        test_trips: Request columns, as models are trained on them.

    Returns:
        What came of it; a champion or a service that cannot be asked is a difference, too.
    """
    version = champion_version(client, name)
    if version is None:
        return Comparison(impossible="the registry names no champion")
    trips = chosen(test_trips)
    if not len(trips):
        return Comparison(impossible="the test month has no trip that is a valid request")
    try:
        with candidate_service(version, name) as service:
            model = load_model(client, name, version.version)
            one_by_one = max(MIN_ONE_BY_ONE, min(REQUESTS, len(test_trips) // TRIPS_FOR_ONE))
            return compare(model, trips, service.ask, one_by_one)
    except (ModelNotFound, ServiceUnresponsive, UntrustedModel, StorageError) as error:
        return Comparison(difference=error_text(error))


def chosen(test_trips: pd.DataFrame, requests: int = REQUESTS) -> pd.DataFrame:
    """Some of the trips, always the same ones, that are valid requests (fewer than 1,000 miles)."""
    trips = test_trips[list(REQUEST_COLUMNS)]
    valid = trips[check_requests(pl.from_pandas(trips)).valid.to_numpy()]
    return valid.sample(min(requests, len(valid)), random_state=SEED).reset_index(drop=True)


def compare(
    model: Model,
    trips: pd.DataFrame,
    ask: Ask,
    one_by_one: int = REQUESTS,
) -> Comparison:
    """Ask for the same trips in each way.

    Args:
        model: As this process has it.
        trips: Request columns, as models are trained on them.
        ask: The service.
        one_by_one: How many of them are asked for one by one, and as the page asks.
    """
    expected = _of_process(model, trips)
    requests = _as_json(trips)
    found = Comparison()
    ways: dict[str, Callable[[], Sequence[Answer]]] = {
        "batch_parquet": lambda: _of_file(model, trips, "requests.parquet"),
        "batch_csv": lambda: _of_file(model, trips, "requests.csv"),
        "http_list": lambda: ask(json.dumps(requests).encode())["predictions"],
        "http_single": lambda: [ask(json.dumps(one).encode()) for one in requests[:one_by_one]],
        "page": lambda: [ask(_form(one), PAGE_PATH) for one in requests[:one_by_one]],
    }
    by_channel = {"http_single": requests[:one_by_one], "page": requests[:one_by_one]}
    for way, answer in ways.items():
        answers = answer()
        found.compared[way] = len(answers)
        found.difference = _difference(way, by_channel.get(way, requests), expected, answers)
        if found.difference is not None:
            return found
    found.compared["features"] = len(trips)
    found.difference = _features_differ(model.pipeline, trips, requests)
    return found


def _of_process(model: Model, trips: pd.DataFrame) -> list[Answer]:
    minutes = model.pipeline.predict(trips)
    none = [None] * len(minutes)
    bounds = interval_bounds(model.pipeline, minutes)
    lower, upper = (none, none) if bounds is None else (side.tolist() for side in bounds)
    return [
        {**dict(zip(MINUTES, values, strict=True)), "model_version": model.version}
        for values in zip(minutes.tolist(), lower, upper, strict=True)
    ]


def _as_json(trips: pd.DataFrame) -> list[dict[str, Any]]:
    """The trips as a client writes them: whole numbers without a point, null where unknown."""
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
    return int(value) if value is not None and value.is_integer() else value


def _of_file(model: Model, trips: pd.DataFrame, name: str) -> Sequence[Answer]:
    frame = pl.from_pandas(trips)
    with tempfile.TemporaryDirectory(prefix="ml_assets_trial_") as folder:
        source, target = Path(folder) / name, Path(folder) / "answers.parquet"
        frame.write_csv(source) if source.suffix == ".csv" else frame.write_parquet(source)
        predict_file(model, source, target)
        return pl.read_parquet(target).select(*MINUTES, "model_version").to_dicts()


def _form(request: Mapping[str, Any]) -> bytes:
    """What the page sends for it (``serving/page/form.js``).

    An input for times holds minutes, and one that is empty is left out.
    """
    body = {name: value for name, value in request.items() if value is not None}
    return json.dumps(body | {"pickup_datetime": body["pickup_datetime"][:16]}).encode()


def _difference(
    way: str,
    requests: Sequence[Mapping[str, Any]],
    expected: Sequence[Answer],
    answers: Sequence[Answer],
) -> str | None:
    if len(answers) != len(requests):
        return f"{way}: {len(answers)} answers to {len(requests)} requests"
    for request, one, other in zip(requests, expected, answers, strict=False):
        for name in (*MINUTES, "model_version"):
            if one[name] != other[name]:
                return (
                    f"{way}: {name} is {other[name]!r} instead of {one[name]!r} for "
                    f"{json.dumps(request)}"
                )
    return None


def _features_differ(
    pipeline: Pipeline, trips: pd.DataFrame, requests: Sequence[Mapping[str, Any]]
) -> str | None:
    """Whether a request's features are another's than those of its trip in training."""
    read = []
    for request in requests:
        found = read_request(request)
        if isinstance(found, Refused):
            return f"features: {json.dumps(request)} is refused: {found.problems[0].message}"
        read.append(found)
    features = pipeline[0]
    trained = features.transform(trips)
    served = features.transform(request_columns(read))
    other = (trained != served) & ~(np.isnan(trained) & np.isnan(served))
    if not other.any():
        return None
    row, column = np.argwhere(other)[0]
    name = features.get_feature_names_out()[column]
    return (
        f"features: {name} is {served[row, column]} in the service and "
        f"{trained[row, column]} in training for {json.dumps(requests[row])}"
    )
