"""Carry out a promotion: judge what serves again, decide, register, verify, set the alias."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml_assets.modeling.promotion import Champion, Promotion, Serve, decide
from ml_assets.modeling.records import (
    ChampionDecision,
    Leaderboard,
    MetricsRecord,
    ModelRecord,
    TrainingSet,
)
from ml_assets.storage.trip_store import TripStore
from ml_assets.tracking.models import crown, load_pipeline, log_pipeline, register
from ml_assets.tracking.runs import TrackedRun
from ml_assets.tracking.serving_champion import serving_champion
from ml_assets.trips.quality import Verdict
from ml_assets.trips.rules import REQUEST_COLUMNS, TARGET

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from sklearn.pipeline import Pipeline


class UnfitToServe(RuntimeError):
    """A registered version does not do what was judged; the champion before it keeps serving."""


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
class Contest:
    """A promotion, what it was decided on, and the trips of the judged month."""

    promotion: Promotion
    board: Leaderboard
    training_set: TrainingSet
    judged: "pd.DataFrame"

    @property
    def as_judged(self) -> Served:
        """The very model that was judged."""
        winner = self.promotion.winner
        return Served(_logged(winner), "judged", winner.fitted_on, winner)


def crown_winner(
    client: "MlflowClient",
    name: str,
    board: Leaderboard,
    training_set: TrainingSet,
    store: TripStore,
    *,
    serve: Serve = "judged",
    replace_other_dataset: bool = False,
) -> ChampionDecision:
    """Decide on the leaderboard's winner and, if it is promoted, make it the champion.

    The version is registered, loaded back and verified before the alias moves: until then, and if
    it fails, the old champion serves.

    Args:
        client: Of the registry.
        name: Registered model.
        board: The leaderboard.
        training_set: The training set that it was made from.
        store: Where its months lie.
        serve: The judged model itself, or the same parameters fitted again on all months.
        replace_other_dataset: Whether a champion of other real trips may be replaced.

    Returns:
        The decision, carried out.

    Raises:
        NothingToPromote: when no model beats the baselines.
        UnfitToServe: when the registry does not give back what was judged.
    """
    from ml_assets.modeling.training_set import load_trips

    judged = load_trips(store, training_set, "judge")
    champion = serving_champion(client, name, training_set, judged)
    promotion = decide(
        board, training_set.dataset, champion, replace_other_dataset=replace_other_dataset
    )
    if not promotion.promoted and champion is not None:
        return _kept(promotion, board, champion)
    contest = Contest(promotion, board, training_set, judged)
    served = contest.as_judged if serve == "judged" else _refitted(client, contest, store)
    version = _crown(client, name, contest, served)
    return _promoted(contest, served, version, champion)


def _crown(client: "MlflowClient", name: str, contest: Contest, served: Served) -> str:
    """Register what is to serve, verify it, and only then move the alias."""
    run_id = contest.promotion.winner.mlflow_run_id or ""
    version = register(client, name, served.uri, run_id, _tags(contest, served))
    _verify(client, name, version, served.expected, contest.judged)
    crown(client, name, version)
    return version


def _refitted(client: "MlflowClient", contest: Contest, store: TripStore) -> Served:
    """The winner's parameters, fitted on all months and logged to the winner's run."""
    from sklearn.base import clone

    from ml_assets.modeling.training_set import load_trips

    winner, training_set = contest.promotion.winner, contest.training_set
    fresh = clone(load_pipeline(_logged(winner)))
    trips = load_trips(store, training_set, "train", "tune", "judge")
    requests = trips[list(REQUEST_COLUMNS)]
    pipeline = fresh.fit(requests, trips[TARGET])
    run = client.get_run(winner.mlflow_run_id or "")
    tracked = TrackedRun(client, run.info.run_id, run.info.experiment_id)
    uri = log_pipeline(tracked, pipeline, requests.head())
    months = [str(month) for month in training_set.months_of("train", "tune", "judge")]
    expected = _expected_of(pipeline, winner, contest.judged)
    return Served(uri, "refitted_on_all_months", months, expected)


def _expected_of(pipeline: "Pipeline", winner: ModelRecord, judged: "pd.DataFrame") -> ModelRecord:
    from ml_assets.modeling.evaluation import measure
    from ml_assets.modeling.model_quality import predictions_digest

    predicted = pipeline.predict(judged[list(REQUEST_COLUMNS)])
    figures = MetricsRecord.model_validate(measure(judged[TARGET], predicted).as_dict())
    digest = predictions_digest(predicted)
    return winner.model_copy(update={"test": figures, "predictions_sha256": digest})


def _logged(winner: ModelRecord) -> str:
    if winner.model_uri is None or winner.mlflow_run_id is None:
        raise LookupError(f"{winner.model} was never logged to MLflow: materialize it again")
    return winner.model_uri


def _tags(contest: Contest, served: Served) -> dict[str, str]:
    """What the registry shows of a version, and what a later decision reads there."""
    promotion, board, training_set = contest.promotion, contest.board, contest.training_set
    winner = promotion.winner
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
        "reason": promotion.reason,
    }
    return tags if board.caveat is None else {**tags, "caveat": board.caveat}


def _verify(
    client: "MlflowClient", name: str, version: str, expected: ModelRecord, judged: "pd.DataFrame"
) -> None:
    """Load a version as a server would, and hold it to what was judged.

    The champion's check says the same, but only in a run that it is part of.
    """
    from ml_assets.modeling.model_quality import same_predictions, sane_predictions

    try:
        predicted = load_pipeline(f"models:/{name}/{version}").predict(
            judged[list(REQUEST_COLUMNS)]
        )
    except Exception as error:
        raise _unfit(client, name, version, f"{type(error).__name__}: {error}") from error
    for found in (
        sane_predictions(predicted),
        same_predictions(expected, predicted, judged[TARGET]),
    ):
        if found.verdict != Verdict.FINE:
            raise _unfit(client, name, version, found.sentence)


def _unfit(client: "MlflowClient", name: str, version: str, why: str) -> UnfitToServe:
    client.set_model_version_tag(name, version, "refused", why[:5000])
    return UnfitToServe(
        f"version {version} of {name} was registered, but does not serve ({why}); what served "
        "before still does: materialize the model again, then the leaderboard and champion_model"
    )


def _kept(promotion: Promotion, board: Leaderboard, champion: Champion) -> ChampionDecision:
    return ChampionDecision(
        promoted=False,
        reason=promotion.reason,
        champion=champion.model,
        registry_version=champion.version,
        previous_version=champion.version,
        training_set=board.training_set,
        synthetic=champion.synthetic,
        dataset=champion.dataset,
        serve=champion.serve,
        served=champion.served,
        test_rmse=champion.test_rmse,
        caveat=board.caveat or champion.caveat,
    )


def _promoted(
    contest: Contest, served: Served, version: str, champion: Champion | None
) -> ChampionDecision:
    winner, training_set = contest.promotion.winner, contest.training_set
    return ChampionDecision(
        promoted=True,
        reason=contest.promotion.reason,
        champion=winner.model,
        registry_version=version,
        previous_version=champion.version if champion else None,
        training_set=contest.board.training_set,
        synthetic=training_set.synthetic,
        dataset=training_set.dataset,
        serve=served.serve,
        served=served.in_words,
        test_rmse=winner.test.rmse,
        caveat=contest.board.caveat,
        unscored=champion.unscored if champion else None,
    )
