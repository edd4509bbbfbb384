"""A contest for the champion's place: the leaderboard's models ask in turn, each is examined."""

from dataclasses import dataclass, replace
from typing import Self

import pandas as pd
from mlflow import MlflowClient

from ml_assets.evaluation.model_checks import check_leakage
from ml_assets.evaluation.records import (
    ChampionDecision,
    Criterion,
    Leaderboard,
    ModelRecord,
    OtherChallenger,
    TrainingSet,
)
from ml_assets.promotion.challenger import (
    Examined,
    Served,
    as_judged,
    examine,
    refitted,
    registered,
)
from ml_assets.promotion.criteria import PromotionLimits
from ml_assets.promotion.policy import NoCandidate, Promotion, PromotionInputs, decide
from ml_assets.promotion.serving_champion import serving_champion
from ml_assets.registry.artifacts import ModelNotLogged
from ml_assets.registry.descriptions import with_decision
from ml_assets.registry.loading import HOLD
from ml_assets.registry.manual_hold import Champion
from ml_assets.registry.registry import Registry, set_challenger, settle
from ml_assets.secrets import ShownError
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.train_and_evaluate import fit_roles
from ml_assets.training.training_set import load_trips
from ml_assets.trips.quality import Finding, Verdict, worst


class NotServable(ShownError, RuntimeError):
    """A registered version does not do what was judged; the champion before it keeps serving."""


@dataclass(frozen=True)
class CandidateEvaluation:
    """The champion and the models that ask for its place, on the same trips.

    Attributes:
        registry: Where champions are registered.
        board: The leaderboard; its best model is the one that asks.
        training_set: What it was made from.
        store: Where its months lie.
        judged: Trips of the judged month.
        champion: What serves, asked for these trips; None when nothing does.
    """

    registry: Registry
    board: Leaderboard
    training_set: TrainingSet
    store: TripStore
    judged: pd.DataFrame
    champion: Champion | None

    @classmethod
    def prepare(
        cls, registry: Registry, board: Leaderboard, training_set: TrainingSet, store: TripStore
    ) -> Self:
        """Finish what a killed process left undone, and ask the champion for the judged month.

        Raises:
            NoCandidate: when the leaderboard holds no model.
        """
        if not board.models:
            raise NoCandidate("the leaderboard holds no model: materialize one model asset first")
        settle(registry.client, registry.name)
        judged = load_trips(store, training_set, "judge")
        champion = serving_champion(registry.client, registry.name, training_set, judged)
        return cls(registry, board, training_set, store, judged, champion)

    def evaluate_in_order(
        self, limits: PromotionLimits, *, replace_other_dataset: bool
    ) -> "tuple[Asked, list[Asked]]":
        """The one that gets the place, or the best one when nobody does; and the others that asked.

        The next of the leaderboard asks only if it may do better, and never the champion itself.
        """
        asked = [self.ask(limits, replace_other_dataset=replace_other_dataset)]
        while (last := asked[-1]).promotion.should_try_next:
            others = last.contest.board.without(last.promotion.winner.model)
            if not others.models or self._serves(others.models[0]):
                break
            contest = replace(last.contest, board=others)
            asked.append(contest.ask(limits, replace_other_dataset=replace_other_dataset))
        chosen = asked[-1] if asked[-1].promotion.promoted else asked[0]
        if chosen.sound and chosen.version is not None:
            set_challenger(self.registry.client, self.registry.name, chosen.version)
        return chosen, [other for other in asked if other is not chosen]

    def ask(self, limits: PromotionLimits, *, replace_other_dataset: bool) -> "Asked":
        """The decision on the leaderboard's best model as it was judged."""
        winner = self.board.models[0]
        served, version, examined = None, None, Examined(None, {}, None)
        if self.champion is not None and self._serves(winner):
            served, version = as_judged(winner), self.champion.version
        else:
            try:
                served = as_judged(winner)
                version = self._register(served)
                examined = self._examine(served, version)
            except ModelNotLogged as error:
                lost = {"logged": Finding(Verdict.FAIL, str(error))}
                examined = Examined(None, lost, None)
        challenge = PromotionInputs(
            board=self.board,
            training_set=self.training_set,
            champion=self.champion,
            judged=self.judged,
            fitted_on=self._fitted_on(),
            predicted=examined.predicted,
            findings=examined.findings,
            milliseconds=examined.milliseconds,
        )
        promotion = decide(challenge, limits, replace_other_dataset=replace_other_dataset)
        return Asked(
            self, promotion, served, version, bool(examined.findings) and not examined.faults
        )

    def refit(self) -> tuple[Served, str]:
        """The best model's parameters fitted on all months, registered and held to that fit.

        Raises:
            NotServable: when the registry does not give that back.
        """
        client, name = self.registry.client, self.registry.name
        winner = self.board.models[0]
        served = refitted(client, winner, self.training_set, self.store, self.judged)
        version = self._register(served)
        faults = self._examine(served, version).faults
        if faults:
            client.set_model_version_tag(name, version, "refused", "; ".join(faults)[:5000])
            raise NotServable(
                f"version {version} of {name}, fitted on all months, does not serve "
                f"({'; '.join(faults)}); what served before still does: materialize the model "
                "again, then the leaderboard and champion_model"
            )
        return served, version

    def _serves(self, row: ModelRecord) -> bool:
        """Whether the champion came from this very training."""
        return self.champion is not None and self.champion.run_id == row.mlflow_run_id

    def _register(self, served: Served) -> str:
        return registered(
            self.registry.client, self.registry.name, served, self.board, self.training_set
        )

    def _examine(self, served: Served, version: str) -> Examined:
        found = examine(
            self.registry.client, self.registry.name, version, served.expected, self.judged
        )
        if served.serve != "judged":
            return found
        baselines = [row for row in self.board.rows if row.kind == "baseline"]
        leak = check_leakage(self.training_set, served.expected, baselines)
        if found.by_heart is not None:
            leak = worst([leak, found.by_heart])
        return replace(found, findings={**found.findings, "no_test_leakage": leak})

    def _fitted_on(self) -> pd.DataFrame:
        roles = fit_roles(self.training_set, self.board.models[0].fit_on)
        return load_trips(self.store, self.training_set, *roles)


@dataclass(frozen=True)
class Asked:
    """A model that asked for the champion's place.

    Attributes:
        contest: What it was the best model of.
        promotion: What was decided on it.
        served: What would serve; None when it is not there.
        version: Its version in the registry.
        sound: Whether it may be tried: another version than the champion, without a fault.
    """

    contest: CandidateEvaluation
    promotion: Promotion
    served: Served | None
    version: str | None
    sound: bool

    @property
    def as_other(self) -> OtherChallenger:
        """The same for the record of a decision on another."""
        promotion = self.promotion
        return OtherChallenger(
            model=promotion.winner.model,
            version=self.version,
            reason=promotion.reason,
            criteria=promotion.criteria,
        )


def tell(contest: CandidateEvaluation, decision: ChampionDecision) -> None:
    """Keep a decision with the versions that asked, and whole with the training's run."""
    registry, champion = contest.registry, contest.champion
    refused = "refused"
    said = [
        (other.version, refused, other.reason, other.criteria)
        for other in decision.other_challengers
    ]
    outcome = "promoted" if decision.promoted else refused
    said.append((decision.challenger_version, outcome, decision.reason, decision.criteria))
    for version, outcome, reason, criteria in said:
        if version is None or (champion is not None and version == champion.version):
            continue
        keep_decision(registry.client, registry.name, version, decision, outcome, reason, criteria)
    asked = [(decision.challenger, decision.challenger_version)]
    asked += [(other.model, other.version) for other in decision.other_challengers]
    registered_ones = {model for model, version in asked if version is not None}
    for row in contest.board.models:
        if row.model in registered_ones and row.mlflow_run_id:
            file = f"decision_{decision.decision_id}.json"
            registry.client.log_dict(row.mlflow_run_id, decision.model_dump(), file)


def keep_decision(
    client: MlflowClient,
    name: str,
    version: str,
    decision: ChampionDecision,
    outcome: str,
    reason: str,
    criteria: list[Criterion],
) -> None:
    """Keep with a version what was decided on it: which decision in tags, why in the description.

    Args:
        client: Of the registry.
        name: Registered model.
        version: The version.
        decision: Of which this is a part.
        outcome: Such as ``promoted``.
        reason: For this version.
        criteria: What it had to show; empty when a person decided.
    """
    record = client.get_model_version(name, version)
    if HOLD in record.tags:  # a person may have chosen this version once
        client.delete_model_version_tag(name, version, HOLD)
    tags = {
        "decision": outcome,
        "decision_id": decision.decision_id,
        "decided_at": decision.decided_at,
    }
    for tag, value in tags.items():
        client.set_model_version_tag(name, version, tag, value)
    description = with_decision(
        record.description,
        outcome,
        decision.decided_at,
        decision.started_because,
        reason,
        criteria,
    )
    client.update_model_version(name, version, description)
