"""Scores from decisions: added to the measured ones without replacing them."""

import math

import pytest

from ml_assets.evaluation.records import (
    ChampionDecision,
    MetricsRecord,
    MonthSplit,
    PreviousChampion,
)
from ml_assets.monitoring.performance.records import PerformanceRecord, scores_from_decisions


def decision(version="1", month="2023-04", r2=0.75, **changed):
    figures = MetricsRecord(
        rmse=4.0, mae=3.0, mape=0.2, r2=r2, share_within_5_minutes=0.8, rows=900
    )
    test_month = MonthSplit(
        month=month, role="test", rows=900, raw_sha256=f"sha of {month}", source="s",
        code_version="1",
    )  # fmt: skip
    before = PreviousChampion(
        model="lasso", version=version, test=figures, trained_on_test_month=False
    )
    made = {
        "promoted": True, "reason": "better", "champion": "xgboost", "registry_version": "2",
        "previous_version": version, "previous_champion": before, "training_set": "f",
        "synthetic": False, "description": "fitted on 2023-01", "test_rmse": 3.0, "test_month": month,
        "months": [test_month],
    }  # fmt: skip
    return ChampionDecision(**{**made, **changed})


def test_the_relative_error_follows_from_the_explained_variance():
    [score] = scores_from_decisions([decision()])
    assert score.relative_error == pytest.approx(0.5)
    assert (score.version, score.model, score.month, score.rmse) == ("1", "lasso", "2023-04", 4.0)
    assert score.key == ("1", "2023-04", "sha of 2023-04", 900)


def test_a_decision_that_evaluated_both_modes_gives_a_score_of_both():
    made = decision()
    assert scores_from_decisions([made])[0].rmse_usual is None
    usual = made.previous_champion.test.model_copy(update={"rmse": 5.0, "r2": 0.64})
    before = made.previous_champion.model_copy(update={"usual": usual})
    [score] = scores_from_decisions([decision(previous_champion=before)])
    assert (score.rmse_usual, score.mae_usual) == (5.0, 3.0)
    assert score.relative_error_usual == pytest.approx(0.6)


@pytest.mark.parametrize(
    "made",
    [decision(previous_champion=None), decision(months=[]), decision(r2=math.nan)],
    ids=["no champion before", "manual", "a single trip"],
)
def test_decisions_without_a_usable_champion_score_are_skipped(made):
    assert scores_from_decisions([made, decision()]) == scores_from_decisions([decision()])


def test_measured_scores_take_precedence():
    [decided] = scores_from_decisions([decision()])
    measured = decided.model_copy(update={"rmse": 4.5, "raw_sha256": "republished"})
    measured_only = PerformanceRecord(dataset="green", synthetic=False).add_score(measured)
    later = scores_from_decisions([decision(), decision(month="2023-05")])
    found = measured_only.add_missing(later)
    assert found.scores == [measured, later[1]]
