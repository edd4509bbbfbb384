"""Scores of champions taken from promotion decisions.

A champion that is replaced as soon as a month comes in is never monitored on that month, but the
decision has evaluated it on that month, the test month of its challenger.
"""

from collections.abc import Iterable
from math import sqrt

from ml_assets.evaluation.records import ChampionDecision
from ml_assets.monitoring.performance.records import Score


def scores_from_decisions(decisions: Iterable[ChampionDecision]) -> list[Score]:
    """Return one score for each decision made against a champion, in the order of decisions.

    The relative error follows from R² = 1 - RMSE² / variance: it is √(1 - R²).
    """
    scores = []
    for decision in decisions:
        before = decision.previous_champion
        test = [use for use in decision.months if use.role == "test"]
        if before is None or not test or not before.test.r2 <= 1:
            continue
        scores.append(
            Score(
                version=before.version,
                model=before.model,
                month=decision.test_month,
                raw_sha256=test[0].raw_sha256,
                trips=before.test.rows,
                rmse=before.test.rmse,
                mae=before.test.mae,
                relative_error=sqrt(1 - before.test.r2),
                seen=before.trained_on_test_month,
                run_id=before.run_id,
            )
        )
    return scores
