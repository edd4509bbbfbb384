"""Carry out a promotion: judge the serving champion again, decide, register, set the alias."""

from typing import TYPE_CHECKING, Literal

from ml_assets.modeling.promotion import Champion, Promotion, decide
from ml_assets.modeling.records import ChampionDecision, Leaderboard, ModelRecord, TrainingSet
from ml_assets.storage.trip_store import TripStore
from ml_assets.tracking.models import (
    CHAMPION,
    crown,
    load_pipeline,
    log_pipeline,
    register,
    version_with_alias,
)
from ml_assets.tracking.runs import TrackedRun
from ml_assets.trips.rules import REQUEST_COLUMNS, TARGET

if TYPE_CHECKING:
    from mlflow import MlflowClient

Serve = Literal["judged", "refitted_on_all_months"]


def crown_winner(
    client: "MlflowClient",
    name: str,
    board: Leaderboard,
    training_set: TrainingSet,
    store: TripStore,
    serve: Serve = "judged",
) -> ChampionDecision:
    """Decide on the leaderboard's winner and, if it is promoted, make it the champion.

    The version is registered and whole before the alias moves: until then the old champion serves.

    Args:
        client: Of the registry.
        name: Registered model.
        board: The leaderboard.
        training_set: The training set that it was made from.
        store: Where the judged month lies.
        serve: The judged model itself, or the same parameters fitted again on all months.

    Raises:
        NothingToPromote: when no model beats the baselines.
    """
    champion = _serving(client, name, training_set, store)
    promotion = decide(board, training_set.dataset, champion)
    if not promotion.promoted and champion is not None:
        version, served = champion.version, champion.served
        return _decision(
            promotion, board, version, champion.model, version, served, champion.test_rmse
        )
    winner = promotion.winner
    uri, fitted_on = _what_is_served(client, winner, training_set, store, serve)
    tags = {
        "model": winner.model,
        "dataset": training_set.dataset,
        "synthetic": str(training_set.synthetic).lower(),
        "fitted_on": ",".join(fitted_on),
        "judged_month": board.judged_month,
        "test_rmse": f"{winner.test.rmse:.6f}",
        "training_set": training_set.fingerprint,
        "served": f"{serve}: fitted on {', '.join(fitted_on)}",
        "reason": promotion.reason,
    }
    version = register(client, name, uri, winner.mlflow_run_id or "", tags)
    crown(client, name, version)
    previous = champion.version if champion else None
    return _decision(
        promotion, board, version, winner.model, previous, tags["served"], winner.test.rmse
    )


def _serving(
    client: "MlflowClient", name: str, training_set: TrainingSet, store: TripStore
) -> Champion | None:
    """The serving champion, judged on the training set's judged month."""
    version = version_with_alias(client, name, CHAMPION)
    if version is None:
        return None
    dataset = version.tags.get("dataset", "")
    judged = {str(month) for month in training_set.months_of("judge")}
    same = dataset == training_set.dataset
    return Champion(
        version=str(version.version),
        model=version.tags.get("model", "unknown"),
        served=version.tags.get("served", ""),
        dataset=dataset,
        test_rmse=_score(f"models:/{name}/{version.version}", training_set, store)
        if same
        else None,
        saw_judged_month=bool(judged & set(version.tags.get("fitted_on", "").split(","))),
    )


def _score(uri: str, training_set: TrainingSet, store: TripStore) -> float:
    from ml_assets.modeling.evaluation import measure
    from ml_assets.modeling.training_set import load_trips

    trips = load_trips(store, training_set, "judge")
    return measure(trips[TARGET], load_pipeline(uri).predict(trips[list(REQUEST_COLUMNS)])).rmse


def _what_is_served(
    client: "MlflowClient",
    winner: ModelRecord,
    training_set: TrainingSet,
    store: TripStore,
    serve: Serve,
) -> tuple[str, list[str]]:
    """URI of the model to register, and the months that it was fitted on."""
    if winner.model_uri is None or winner.mlflow_run_id is None:
        raise LookupError(f"{winner.model} was never logged to MLflow: materialize it again")
    if serve == "judged":
        return winner.model_uri, winner.fitted_on
    from sklearn.base import clone

    from ml_assets.modeling.training_set import load_trips

    trips = load_trips(store, training_set, "train", "tune", "judge")
    requests = trips[list(REQUEST_COLUMNS)]
    pipeline = clone(load_pipeline(winner.model_uri)).fit(requests, trips[TARGET])
    run = client.get_run(winner.mlflow_run_id)
    tracked = TrackedRun(client, run.info.run_id, run.info.experiment_id)
    uri = log_pipeline(tracked, pipeline, requests.head())
    return uri, [str(month) for month in training_set.months_of("train", "tune", "judge")]


def _decision(
    promotion: Promotion,
    board: Leaderboard,
    version: str,
    model: str,
    previous: str | None,
    served: str,
    test_rmse: float | None,
) -> ChampionDecision:
    return ChampionDecision(
        promoted=promotion.promoted,
        reason=promotion.reason,
        champion=model,
        registry_version=version,
        previous_version=previous,
        training_set=board.training_set,
        synthetic=board.synthetic,
        served=served,
        test_rmse=test_rmse,
    )
