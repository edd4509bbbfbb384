"""Which model serves: the promotion decision.

The best model of a leaderboard asks for the champion's place. It gets it when it has shown every
criterion: better than the baselines and, by a paired bootstrap over the trips of a month that
neither was tuned on, better than the champion; no guarded slice much worse; its checks passed; and
fast enough to serve. Whatever is missing keeps the champion, and so does a tie. When what is
missing is the model's own (a check, a slice, its speed), the next of the leaderboard may ask.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.records import Criterion, Leaderboard, ModelRecord, TrainingSet
from ml_assets.promotion import criteria as shown
from ml_assets.promotion.criteria import PromotionLimits
from ml_assets.promotion.paired_bootstrap import paired_bootstrap
from ml_assets.promotion.slice_guardrails import compare_slices
from ml_assets.registry.manual_hold import Champion
from ml_assets.secrets import ShownError
from ml_assets.trips.quality import Finding
from ml_assets.trips.rules import TARGET


class NoCandidate(ShownError, ValueError):
    """No model asks for the place; says why."""


@dataclass(frozen=True)
class PromotionInputs:
    """All that a decision is made on.

    Attributes:
        board: The leaderboard; its best model is the challenger.
        training_set: What it was made from.
        champion: What serves; None when nothing does.
        judged: Trips of the judged month.
        fitted_on: Trips that the challenger was fitted on.
        predicted: The challenger's predictions for the judged month, as loaded from where it was
            logged; None when it could not be loaded, which ``findings`` then tell.
        findings: What its checks say, by name.
        milliseconds: Time of one request; None when it could not be loaded.
    """

    board: Leaderboard
    training_set: TrainingSet
    champion: Champion | None
    judged: pd.DataFrame
    fitted_on: pd.DataFrame
    predicted: npt.NDArray[np.float64] | None
    findings: Mapping[str, Finding]
    milliseconds: float | None

    @property
    def winner(self) -> ModelRecord:
        """The best model of the leaderboard.

        Raises:
            NoCandidate: when there is none.
        """
        if not self.board.models:
            raise NoCandidate("the leaderboard holds no model: materialize one model asset first")
        return self.board.models[0]


@dataclass(frozen=True)
class Promotion:
    """The decision: the challenger, whether it is promoted, the reason, and what it had to show."""

    winner: ModelRecord
    promoted: bool
    reason: str
    criteria: list[Criterion] = field(default_factory=list)

    @property
    def should_try_next(self) -> bool:
        """Whether it was refused for what the next model of the leaderboard may have.

        That is so when a check of its own failed, or when it was better than the champion but slow
        or worse on a slice. One that errs more than the champion or a baseline is followed by
        models that err more still; and trips, months and a person's choice are the same for all.
        """
        failed = {criterion.name for criterion in self.criteria if not criterion.passed}
        if not failed or failed & _GLOBAL_CRITERIA:
            return False
        return not failed & _RANKING_CRITERIA or any(name.startswith("check: ") for name in failed)


_GLOBAL_CRITERIA = {"champion_may_be_replaced", "on_new_data", "on_equal_terms"}
_RANKING_CRITERIA = {"beats_baselines", "better_by_paired_bootstrap"}


def decide(
    challenge: PromotionInputs,
    limits: PromotionLimits | None = None,
    *,
    replace_other_dataset: bool = False,
) -> Promotion:
    """Decide whether the leaderboard's best model becomes the champion.

    Args:
        challenge: The two, and the trips of the judged month.
        limits: What is asked.
        replace_other_dataset: Whether a champion of other real trips may be replaced.

    Raises:
        NoCandidate: when the leaderboard holds no model.
    """
    limits = limits or PromotionLimits()
    winner = challenge.winner
    if _serves_already(winner, challenge.champion):
        reason = f"{challenge.champion} is the best model of this training already"
        return Promotion(winner, False, reason)
    criteria = _on_its_own(challenge, limits)
    champion = challenge.champion
    if champion is not None and champion.dataset != challenge.training_set.dataset:
        dataset = challenge.training_set.dataset
        criteria.append(shown.same_dataset(winner, dataset, champion, replace_other_dataset))
    elif champion is not None and champion.predicted is not None:
        criteria += _against(champion, challenge, limits)
    failed = [criterion for criterion in criteria if not criterion.passed]
    reason = _refused(failed, challenge) if failed else _promoted(criteria, challenge)
    return Promotion(winner, not failed, reason, criteria)


def _serves_already(winner: ModelRecord, champion: Champion | None) -> bool:
    """Whether the champion came from the winner's own training."""
    return (
        champion is not None and bool(champion.run_id) and champion.run_id == winner.mlflow_run_id
    )


def _on_its_own(challenge: PromotionInputs, limits: PromotionLimits) -> list[Criterion]:
    criteria = [shown.beats_baselines(challenge.board)]
    criteria += [shown.passes_check(name, found) for name, found in challenge.findings.items()]
    if challenge.milliseconds is not None:
        criteria.append(shown.meets_latency(challenge.milliseconds, limits))
    return criteria


def _against(
    champion: Champion, challenge: PromotionInputs, limits: PromotionLimits
) -> list[Criterion]:
    held = shown.newer_than_override(challenge.training_set, champion)
    criteria = [shown.fair_comparison(challenge.board, champion), *([held] if held else [])]
    before, after = champion.predicted, challenge.predicted
    if before is None or after is None:
        return criteria
    actual = challenge.judged[TARGET].to_numpy()
    difference = paired_bootstrap(actual, before, after, confidence=limits.confidence)
    winner, month = challenge.winner.model, challenge.board.judged_month
    changes = compare_slices(challenge.judged, before, after, challenge.fitted_on, limits.guard)
    return [
        *criteria,
        shown.better_by_paired_bootstrap(difference, limits, winner, month),
        *shown.slice_guardrails_hold(changes),
    ]


def _promoted(criteria: list[Criterion], challenge: PromotionInputs) -> str:
    winner, month = challenge.winner, challenge.board.judged_month
    champion = challenge.champion
    if champion is None:
        return (
            f"nothing served yet; {winner.model} is best on {month} (RMSE {winner.test.rmse:.3f})"
        )
    found = {criterion.name: criterion.finding for criterion in criteria}
    if "champion_may_be_replaced" in found:
        return found["champion_may_be_replaced"]
    if champion.predicted is None:
        why = f" ({champion.unscored})" if champion.unscored else ""
        return (
            f"{champion} can no longer be scored on {month}{why}, so the baselines decide: "
            f"{found['beats_baselines']}"
        )
    return f"better than {champion}: {found['better_by_paired_bootstrap']}"


def _refused(failed: list[Criterion], challenge: PromotionInputs) -> str:
    champion, winner = challenge.champion, challenge.winner.model
    said = "; ".join(f"{criterion.name}: {criterion.finding}" for criterion in failed)
    if champion is None:
        return f"{winner} is not fit to serve: {said}"
    found = {criterion.name: criterion.finding for criterion in failed}
    no_better = found.pop("better_by_paired_bootstrap", None)
    # One that is worse on the whole is so on its slices: they are among the criteria.
    if no_better and all(name.startswith("guarded_slice") for name in found):
        flattered = ", which was fitted or tuned on that month" if champion.saw_judged_month else ""
        return f"no better than {champion}{flattered}: {no_better}"
    kept = f"{champion} is kept, since {winner} lacks {said}"
    return (
        f"{kept}. It can no longer be scored ({champion.unscored})" if champion.unscored else kept
    )
