"""Carry out a promotion: register the challenger, examine it, decide, record, move the alias.

The decision is recorded before the alias moves, and marked as carried out after: a process that
dies in between leaves the old champion serving and a decision that says it was not carried out.
"""

import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ml_assets.modeling.champion import Champion, Serve
from ml_assets.modeling.criteria import PromotionLimits
from ml_assets.modeling.decision_log import DecisionLog
from ml_assets.modeling.promotion import Challenge, NothingToPromote, Promotion, decide
from ml_assets.modeling.records import (
    ChampionDecision,
    Leaderboard,
    ModelRecord,
    TrainingSet,
)
from ml_assets.storage.trip_store import TripStore
from ml_assets.tracking.aliases import move_champion, name_challenger, settle
from ml_assets.tracking.challenger import (
    Examined,
    Served,
    as_judged,
    examine,
    refitted,
    registered,
)
from ml_assets.tracking.registry import Registry
from ml_assets.tracking.serving_champion import HOLD, serving_champion
from ml_assets.version import code_version

if TYPE_CHECKING:
    import pandas as pd


class UnfitToServe(RuntimeError):
    """A registered version does not do what was judged; the champion before it keeps serving."""


@dataclass(frozen=True)
class CrowningOptions:
    """What an operator may choose.

    Attributes:
        serve: The judged model itself, or the same parameters fitted again on all months.
        replace_other_dataset: Whether a champion of other real trips may be replaced.
        limits: What a challenger has to show.
        started_because: Why the training started.
        dagster_run_id: The run that decides.
    """

    serve: Serve = "judged"
    replace_other_dataset: bool = False
    limits: PromotionLimits = field(default_factory=PromotionLimits)
    started_because: str = ""
    dagster_run_id: str = ""


def crown_winner(
    registry: Registry,
    board: Leaderboard,
    training_set: TrainingSet,
    store: TripStore,
    log: DecisionLog,
    options: CrowningOptions,
) -> ChampionDecision:
    """Decide on the leaderboard's winner and, if it is promoted, make it the champion.

    Args:
        registry: Where champions are registered.
        board: The leaderboard.
        training_set: The training set that it was made from.
        store: Where its months lie.
        log: Keeps the decision: before the alias moves, and again once it has.
        options: An operator's choices.

    Returns:
        The decision, carried out and recorded.

    Raises:
        NothingToPromote: when the leaderboard holds no model.
        UnfitToServe: when the fit on all months is not given back as it was.
        ChampionMoved: when another process moved the alias meanwhile.
    """
    begun, processed = time.perf_counter(), time.process_time()
    contest = _Contest.prepare(registry, board, training_set, store)
    log.settle(contest.champion.version if contest.champion else None)
    promotion, served, version = contest.decide(options)
    if promotion.promoted and options.serve == "refitted_on_all_months":
        served, version = contest.refit()
    spent = (time.perf_counter() - begun, time.process_time() - processed)
    decision = _decision(contest, promotion, served, version, options, spent)
    if not promotion.promoted:
        log.write(decision)
        contest.tell(decision)
        return decision
    log.write(decision.model_copy(update={"carried_out": False}))
    contest.tell(decision)
    move_champion(
        registry.client,
        registry.name,
        version or "",
        instead_of=contest.champion.version if contest.champion else None,
        lock_folder=registry.lock_folder,
    )
    log.write(decision)
    return decision


@dataclass(frozen=True)
class _Contest:
    registry: Registry
    board: Leaderboard
    training_set: TrainingSet
    store: TripStore
    judged: "pd.DataFrame"
    champion: Champion | None

    @classmethod
    def prepare(
        cls, registry: Registry, board: Leaderboard, training_set: TrainingSet, store: TripStore
    ) -> "_Contest":
        from ml_assets.modeling.training_set import load_trips

        if not board.models:
            raise NothingToPromote(
                "the leaderboard holds no model: materialize one model asset first"
            )
        settle(registry.client, registry.name)
        judged = load_trips(store, training_set, "judge")
        champion = serving_champion(registry.client, registry.name, training_set, judged)
        return cls(registry, board, training_set, store, judged, champion)

    def decide(self, options: CrowningOptions) -> tuple[Promotion, Served, str | None]:
        """The decision on the winner as it was judged, and its version in the registry."""
        winner = self.board.models[0]
        served = as_judged(winner)
        if self.champion is not None and self.champion.run_id == winner.mlflow_run_id:
            examined, version = Examined(None, {}, None), self.champion.version
        else:
            version = self._register(served)
            examined = self._examine(served, version)
            if not examined.faults:
                name_challenger(self.registry.client, self.registry.name, version)
        challenge = Challenge(
            board=self.board,
            training_set=self.training_set,
            champion=self.champion,
            judged=self.judged,
            fitted_on=self._fitted_on(),
            predicted=examined.predicted,
            findings=examined.findings,
            milliseconds=examined.milliseconds,
        )
        promotion = decide(
            challenge, options.limits, replace_other_dataset=options.replace_other_dataset
        )
        return promotion, served, version

    def refit(self) -> tuple[Served, str]:
        """The winner's parameters fitted on all months, registered and held to what was fitted.

        Raises:
            UnfitToServe: when the registry does not give that back.
        """
        client, name = self.registry.client, self.registry.name
        winner = self.board.models[0]
        served = refitted(client, winner, self.training_set, self.store, self.judged)
        version = self._register(served)
        faults = self._examine(served, version).faults
        if faults:
            client.set_model_version_tag(name, version, "refused", "; ".join(faults)[:5000])
            raise UnfitToServe(
                f"version {version} of {name}, fitted on all months, does not serve "
                f"({'; '.join(faults)}); what served before still does: materialize the model "
                "again, then the leaderboard and champion_model"
            )
        return served, version

    def tell(self, decision: ChampionDecision) -> None:
        """Keep the decision with the version in the registry, and whole with the training's run."""
        client, name = self.registry.client, self.registry.name
        version = decision.challenger_version
        if version is None or (self.champion is not None and version == self.champion.version):
            return
        told = {
            HOLD: "",  # a person may have chosen this version once
            "decision": "promoted" if decision.promoted else "refused",
            "decision_id": decision.decision_id,
            "decided_at": decision.decided_at,
            "started_because": decision.started_because,
            "reason": decision.reason[:5000],
            "criteria": ", ".join(
                f"{'✓' if criterion.passed else '✗'} {criterion.name}"
                for criterion in decision.criteria
            )[:5000],
        }
        for tag, value in told.items():
            client.set_model_version_tag(name, version, tag, value)
        run_id = self.board.models[0].mlflow_run_id
        if run_id:
            file = f"decision_{decision.decision_id}.json"
            client.log_dict(run_id, decision.model_dump(), file)

    def _register(self, served: Served) -> str:
        return registered(
            self.registry.client, self.registry.name, served, self.board, self.training_set
        )

    def _examine(self, served: Served, version: str) -> Examined:
        from ml_assets.modeling.model_quality import knows_nothing_of

        found = examine(
            self.registry.client, self.registry.name, version, served.expected, self.judged
        )
        if served.serve != "judged":
            return found
        baselines = [row for row in self.board.rows if row.kind == "baseline"]
        leak = knows_nothing_of(self.training_set, served.expected, baselines)
        return replace(found, findings={**found.findings, "knows_no_judged_trip": leak})

    def _fitted_on(self) -> "pd.DataFrame":
        from ml_assets.modeling.judged import fitted_roles
        from ml_assets.modeling.training_set import load_trips

        roles = fitted_roles(self.training_set, self.board.models[0].fit_on)
        return load_trips(self.store, self.training_set, *roles)


def _decision(
    contest: _Contest,
    promotion: Promotion,
    served: Served,
    version: str | None,
    options: CrowningOptions,
    spent: tuple[float, float],
) -> ChampionDecision:
    board, training_set, before = contest.board, contest.training_set, contest.champion
    parts: list[ModelRecord | Leaderboard] = [*board.models, board]
    serves = _serving(contest, promotion, served, version)
    return ChampionDecision(
        promoted=promotion.promoted,
        reason=promotion.reason,
        previous_version=before.version if before else None,
        training_set=board.training_set,
        unscored=before.unscored if before else None,
        decision_id=uuid.uuid4().hex[:8],
        decided_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        started_because=options.started_because,
        dagster_run_id=options.dagster_run_id,
        judged_month=board.judged_month,
        challenger=promotion.winner.model,
        challenger_version=version,
        criteria=promotion.criteria,
        months=training_set.months,
        code_version=code_version(),
        seconds=sum(part.seconds for part in parts) + spent[0],
        cpu_seconds=sum(part.cpu_seconds for part in parts) + spent[1],
        **serves,
    )


def _serving(
    contest: _Contest, promotion: Promotion, served: Served, version: str | None
) -> dict[str, Any]:
    """What the record says of the model that serves after the decision."""
    board, training_set, before = contest.board, contest.training_set, contest.champion
    if promotion.promoted:
        return {
            "champion": promotion.winner.model,
            "registry_version": version,
            "synthetic": training_set.synthetic,
            "dataset": training_set.dataset,
            "serve": served.serve,
            "served": served.in_words,
            "test_rmse": promotion.winner.test.rmse,
            "caveat": board.caveat,
        }
    if before is None:
        return {
            "champion": None,
            "registry_version": None,
            "synthetic": training_set.synthetic,
            "dataset": training_set.dataset,
            "served": "nothing serves",
            "test_rmse": None,
        }
    return {
        "champion": before.model,
        "registry_version": before.version,
        "synthetic": before.synthetic,
        "dataset": before.dataset,
        "serve": before.serve,
        "served": before.served,
        "test_rmse": before.test_rmse,
        "caveat": board.caveat or before.caveat,
    }
