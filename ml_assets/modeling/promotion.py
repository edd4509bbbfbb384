"""Which model serves: the promotion decision.

For now the plainest rule that is never wrong: crown the winner when nothing serves, or when it
beats the serving champion on the same judged month. The paired test, guarded slices and rollback
belong here too.
"""

from dataclasses import dataclass

from ml_assets.modeling.records import Leaderboard, ModelRecord


class NothingToPromote(ValueError):
    """No model can be crowned; says why."""


@dataclass(frozen=True)
class Champion:
    """The serving champion as the registry knows it, judged again on the same month.

    Attributes:
        version: Registry version.
        model: Family name.
        served: Which fit of it serves, in words.
        dataset: What it was trained on (``green``, ``sample_green``, …).
        test_rmse: On the leaderboard's judged month, minutes; None when it can no longer be scored.
        saw_judged_month: Whether that month was among those it was fitted on.
    """

    version: str
    model: str
    served: str
    dataset: str
    test_rmse: float | None
    saw_judged_month: bool


@dataclass(frozen=True)
class Promotion:
    """The decision: the winner, whether it is promoted, and the reason in a sentence."""

    winner: ModelRecord
    promoted: bool
    reason: str


def decide(leaderboard: Leaderboard, dataset: str, champion: Champion | None) -> Promotion:
    """Decide whether the leaderboard's best model becomes the champion.

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
    promoted, reason = _compare(winner, leaderboard, dataset, champion)
    return Promotion(winner, promoted, reason)


def _compare(
    winner: ModelRecord, leaderboard: Leaderboard, dataset: str, champion: Champion | None
) -> tuple[bool, str]:
    month, rmse = leaderboard.judged_month, winner.test.rmse
    if champion is None:
        return True, f"nothing served yet; {winner.model} is best on {month} (RMSE {rmse:.3f})"
    name = f"the champion ({champion.model}, version {champion.version})"
    if champion.dataset != dataset:
        return True, f"{name} was trained on {champion.dataset}, not on {dataset}"
    if champion.test_rmse is None:
        return True, f"{name} can no longer be scored on {month}"
    comparison = f"{winner.model} {rmse:.3f} against {champion.test_rmse:.3f} of {name} on {month}"
    if rmse < champion.test_rmse:
        return True, f"better: {comparison}"
    if champion.saw_judged_month:
        return False, f"kept, but it was fitted on that month, which flatters it: {comparison}"
    return False, f"no better: {comparison}"
