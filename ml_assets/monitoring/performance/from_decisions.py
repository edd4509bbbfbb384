"""Scores that decisions have made: how a champion did on the month that judged its challenger.

A champion that is replaced as soon as a month comes in is never watched on that month; the decision
has scored it there.
"""

from collections.abc import Iterable
from math import sqrt

from ml_assets.evaluation.records import ChampionDecision
from ml_assets.monitoring.performance.records import Score


def scores_from_decisions(decisions: Iterable[ChampionDecision]) -> list[Score]:
    """One score for each decision that was made against a champion, in their order.

    The relative error follows from R² = 1 - RMSE² / variance: it is √(1 - R²).
    """
    scores = []
    for decision in decisions:
        before = decision.champion_before
        judged = [use for use in decision.months if use.role == "judge"]
        if before is None or not judged or not before.test.r2 <= 1:
            continue
        scores.append(
            Score(
                version=before.version,
                model=before.model,
                month=decision.judged_month,
                raw_sha256=judged[0].raw_sha256,
                trips=before.test.rows,
                rmse=before.test.rmse,
                mae=before.test.mae,
                relative_error=sqrt(1 - before.test.r2),
                seen=before.saw_judged_month,
                run_id=before.run_id,
            )
        )
    return scores
