"""Which model serves: the promotion decision.

For now the plainest rule that is never wrong: crown the winner when nothing serves, or when it
beats the serving champion on the same judged month, on equal terms. The paired test, guarded slices
and rollback belong here too.
"""

from dataclasses import dataclass
from typing import Literal

from ml_assets.modeling.records import Leaderboard, ModelRecord

Serve = Literal["judged", "refitted_on_all_months"]


class NothingToPromote(ValueError):
    """No model can be crowned; says why."""


@dataclass(frozen=True)
class Champion:
    """The serving champion as the registry knows it, judged again on the same month.

    Attributes:
        version: Registry version.
        model: Family name.
        serve: Which fit of it serves.
        served: The same in words.
        dataset: What it was trained on (``green``, ``sample_green``, …); empty when nobody knows.
        synthetic: Whether that is the synthetic sample.
        test_rmse: On the leaderboard's judged month, minutes; None when it was not scored.
        unscored: Why it can no longer be scored.
        saw_judged_month: Whether that month was among those it was fitted or tuned on.
        caveat: What its figure must be shown with.
    """

    version: str
    model: str
    serve: Serve
    served: str
    dataset: str
    synthetic: bool
    test_rmse: float | None = None
    unscored: str | None = None
    saw_judged_month: bool = False
    caveat: str | None = None

    def __str__(self) -> str:
        return f"the champion ({self.model}, version {self.version})"


@dataclass(frozen=True)
class Promotion:
    """The decision: the winner, whether it is promoted, and the reason in a sentence."""

    winner: ModelRecord
    promoted: bool
    reason: str


def decide(
    leaderboard: Leaderboard,
    dataset: str,
    champion: Champion | None,
    *,
    replace_other_dataset: bool = False,
) -> Promotion:
    """Decide whether the leaderboard's best model becomes the champion.

    Args:
        leaderboard: Of the training set.
        dataset: What its models were trained on.
        champion: What serves; None when nothing does.
        replace_other_dataset: Whether a champion of other real trips may be replaced.

    Raises:
        NothingToPromote: when the leaderboard holds no model, or its best is worse than a baseline.
    """
    if not leaderboard.models:
        raise NothingToPromote("the leaderboard holds no model: materialize one model asset first")
    winner = leaderboard.models[0]
    if leaderboard.rows[0].kind == "baseline":
        raise NothingToPromote(
            f"the best model, {winner.model} (RMSE {winner.test.rmse:.3f}), is worse than the "
            f"baseline {leaderboard.rows[0].model} ({leaderboard.rows[0].test.rmse:.3f}) on "
            f"{leaderboard.judged_month}: look at the data checks before training again"
        )
    if champion is None:
        month, rmse = leaderboard.judged_month, winner.test.rmse
        reason = f"nothing served yet; {winner.model} is best on {month} (RMSE {rmse:.3f})"
        return Promotion(winner, True, reason)
    if champion.dataset != dataset:
        promoted, reason = _of_other_trips(winner, dataset, champion, replace_other_dataset)
    else:
        promoted, reason = _compare(winner, leaderboard, champion)
    return Promotion(winner, promoted, reason)


def _of_other_trips(
    winner: ModelRecord, dataset: str, champion: Champion, replace: bool
) -> tuple[bool, str]:
    trips = champion.dataset or "unknown trips"
    apart = f"{champion} was trained on {trips}, not on {dataset}"
    if champion.synthetic:
        return True, f"{apart}; a champion of the synthetic sample may always be replaced"
    if replace:
        return True, f"{apart}; replace_other_dataset lets {winner.model} take its place"
    return False, (
        f"{apart}, so {winner.model} does not take its place: give {dataset} a registry of its own "
        "(another ML_ASSETS_HOME or MLFLOW_TRACKING_URI), or set `replace_other_dataset: true` in "
        "champion_model's config"
    )


def _compare(winner: ModelRecord, leaderboard: Leaderboard, champion: Champion) -> tuple[bool, str]:
    month, rmse = leaderboard.judged_month, winner.test.rmse
    if champion.test_rmse is None:
        why = f" ({champion.unscored})" if champion.unscored else ""
        return True, f"{champion} can no longer be scored on {month}{why}"
    comparison = f"{winner.model} {rmse:.3f} against {champion.test_rmse:.3f} of {champion}"
    comparison += f" on {month}"
    if rmse >= champion.test_rmse:
        if champion.saw_judged_month:
            reason = "kept, but it was fitted or tuned on that month, which flatters it"
            return False, f"{reason}: {comparison}"
        return False, f"no better: {comparison}"
    if leaderboard.caveat is not None and not champion.saw_judged_month:
        return False, (
            f"kept, since that month also tuned {winner.model}, which flatters it and not the "
            f"champion: {comparison}; a third month would tell"
        )
    return True, f"better: {comparison}"
