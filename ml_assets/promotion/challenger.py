"""The leaderboard's winner in the registry: registered, loaded as a server would, examined."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow import MlflowClient
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ml_assets.evaluation.memorization import check_memorization
from ml_assets.evaluation.metrics import measure
from ml_assets.evaluation.model_checks import (
    predictions_digest,
    predictions_in_range,
    same_predictions,
)
from ml_assets.evaluation.records import Leaderboard, MetricsRecord, ModelRecord, TrainingSet
from ml_assets.pipeline.background_sample import attach_background_sample
from ml_assets.pipeline.conformal_intervals import attach_intervals, get_intervals
from ml_assets.pipeline.fingerprint import known_minutes
from ml_assets.pipeline.predict import predict_trips
from ml_assets.promotion.latency import measure_latency_ms
from ml_assets.registry.artifacts import ModelNotLogged, load_pipeline, log_pipeline, register
from ml_assets.registry.descriptions import describe_version
from ml_assets.registry.loading import INTERVAL_TAGS, KNOWN_MINUTES
from ml_assets.registry.manual_hold import Serve
from ml_assets.registry.mlflow_runs import TrackedRun
from ml_assets.secrets import error_text
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.training_set import load_trips
from ml_assets.trips.quality import Finding, Verdict
from ml_assets.trips.rules import REQUEST_COLUMNS, TARGET


@dataclass(frozen=True)
class Served:
    """A logged model that is to serve.

    Attributes:
        uri: Where it was logged.
        serve: The judged model itself, or its parameters fitted on all months.
        fitted_on: The months that it was fitted on.
        expected: The winner's record, with what this fit predicts for the judged month.
    """

    uri: str
    serve: Serve
    fitted_on: list[str]
    expected: ModelRecord

    @property
    def in_words(self) -> str:
        """Which fit serves, and what its figures are of."""
        said = f"{self.serve}: fitted on {', '.join(self.fitted_on)}"
        return said if self.serve == "judged" else f"{said}; figures are those of the judged fit"


@dataclass(frozen=True)
class Examined:
    """A registered version after it was loaded and asked.

    Attributes:
        predicted: Minutes for the judged month; None when it could not be loaded and used.
        findings: What its checks say, by name.
        milliseconds: Time of one request; None when it could not be loaded and used.
        by_heart: Whether it knows the judged trips by heart, which a model that was fitted on them
            may; None when it could not be loaded and used.
    """

    predicted: npt.NDArray[np.float64] | None
    findings: Mapping[str, Finding]
    milliseconds: float | None
    by_heart: Finding | None = None

    @property
    def faults(self) -> list[str]:
        """What keeps it from serving; nothing when it is fit."""
        found = self.findings.values()
        return [finding.sentence for finding in found if finding.verdict != Verdict.PASS]


def as_judged(winner: ModelRecord) -> Served:
    """The very model that was judged.

    Raises:
        ModelNotLogged: when it was never logged.
    """
    return Served(_logged(winner), "judged", winner.fitted_on, winner)


def refitted(
    client: MlflowClient,
    winner: ModelRecord,
    training_set: TrainingSet,
    store: TripStore,
    judged: pd.DataFrame,
) -> Served:
    """The winner's parameters, fitted on all months and logged to the winner's run.

    Its intervals stay the winner's: no month is left that it has not seen to calibrate others on.
    """
    judged_fit = load_pipeline(_logged(winner))
    intervals, fresh = get_intervals(judged_fit), clone(judged_fit)
    del judged_fit  # a forest takes much memory, and so does fitting the next
    trips = load_trips(store, training_set, "train", "tune", "judge")
    requests = trips[list(REQUEST_COLUMNS)]
    pipeline = fresh.fit(requests, trips[TARGET])
    attach_intervals(pipeline, intervals)
    attach_background_sample(pipeline, requests)
    run = client.get_run(winner.mlflow_run_id or "")
    tracked = TrackedRun(client, run.info.run_id, run.info.experiment_id)
    uri = log_pipeline(tracked, pipeline, requests.head(), winner.model)
    months = [str(month) for month in training_set.months_of("train", "tune", "judge")]
    expected = _expected_of(pipeline, winner, judged)
    return Served(uri, "refitted_on_all_months", months, expected)


def registered(
    client: MlflowClient, name: str, served: Served, board: Leaderboard, training_set: TrainingSet
) -> str:
    """The version of a model in the registry: registered now, unless it was before.

    A process that dies between registering and deciding leaves a version behind, which the next
    one takes up.
    """
    run_id = served.expected.mlflow_run_id or ""
    tags = _tags(served, board, training_set)
    for version in client.search_model_versions(f"name='{name}' and run_id='{run_id}'"):
        if version.source == served.uri:
            for tag, value in tags.items():
                client.set_model_version_tag(name, version.version, tag, value)
            return str(version.version)
    description = describe_version(board, training_set, served.fitted_on, served.serve)
    return register(client, name, served.uri, run_id, tags, description)


def examine(
    client: MlflowClient, name: str, version: str, expected: ModelRecord, judged: pd.DataFrame
) -> Examined:
    """Load a version as a server would, ask it for the judged month, and hold it to its rules.

    What it answers to the known requests becomes a tag of it, by which later code can tell whether
    it still is the same model.
    """
    try:
        pipeline = load_pipeline(f"models:/{name}/{version}")
        predicted = predict_trips(pipeline, judged)
        answers = json.dumps(known_minutes(pipeline))
        milliseconds = measure_latency_ms(pipeline)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from predicting is the finding
        sentence = f"cannot be loaded and used ({error_text(error)})"
        return Examined(None, {"loads": Finding(Verdict.FAIL, sentence)}, None)
    client.set_model_version_tag(name, version, KNOWN_MINUTES, answers)
    findings = {
        "predictions_in_range": predictions_in_range(predicted),
        "serialization_round_trip": same_predictions(expected, predicted, judged[TARGET]),
    }
    return Examined(
        predicted,
        findings,
        milliseconds,
        check_memorization(pipeline, judged, predicted),
    )


def _expected_of(pipeline: Pipeline, winner: ModelRecord, judged: pd.DataFrame) -> ModelRecord:
    predicted = predict_trips(pipeline, judged)
    figures = MetricsRecord.model_validate(measure(judged[TARGET], predicted).as_dict())
    digest = predictions_digest(predicted)
    return winner.model_copy(update={"test": figures, "predictions_sha256": digest})


def _logged(winner: ModelRecord) -> str:
    if winner.model_uri is None or winner.mlflow_run_id is None:
        raise ModelNotLogged(f"{winner.model} was never logged to MLflow: materialize it again")
    return winner.model_uri


def _tags(served: Served, board: Leaderboard, training_set: TrainingSet) -> dict[str, str]:
    """What the registry shows of a version, and what a later decision reads there."""
    winner = board.models[0]
    tags = {
        "model": winner.model,
        "dataset": training_set.dataset,
        "synthetic": str(training_set.synthetic).lower(),
        "fitted_on": ",".join(served.fitted_on),
        "tuned_on": ",".join(str(month) for month in training_set.months_of("tune")),
        "judged_month": board.judged_month,
        "test_rmse": f"{winner.test.rmse:.6f}",
        "training_set": training_set.fingerprint,
        "served": served.in_words,
    }
    if winner.interval is not None:
        figures = (winner.interval.nominal, winner.interval.coverage, winner.interval.mean_width)
        tags |= {tag: f"{figure:.6f}" for tag, figure in zip(INTERVAL_TAGS, figures, strict=True)}
    return tags if board.caveat is None else {**tags, "caveat": board.caveat}
