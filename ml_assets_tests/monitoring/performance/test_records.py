"""Scores from decisions: added to the measured ones without replacing them."""

import math

import pytest

from ml_assets.evaluation.decision_record import ChampionDecision, PreviousChampion
from ml_assets.evaluation.records import MetricsRecord, MonthSplit
from ml_assets.monitoring.performance.records import (
    PerformanceRecord,
    Reference,
    performance_finding,
    scores_from_decisions,
)
from ml_assets.trips.quality.finding import Verdict


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


def measured(usual: float | None, reference_usual: float | None, share: float):
    score = scores_from_decisions([decision(month="2023-05")])[0].model_copy(
        update={"relative_error_usual": usual, "rmse_usual": usual and 10 * usual}
    )
    reference = Reference(
        version="1", month="2023-04", relative_error=0.48, relative_error_usual=reference_usual,
        newest_fitted="2023-03",
    )  # fmt: skip
    return PerformanceRecord(
        dataset="green", synthetic=False, status="measured", version="1", model="lasso",
        scores=[score], references={score.champion: reference}, share_stated=share,
    )  # fmt: skip


def test_the_limit_is_for_requests_as_they_are_made():
    """The error without a distance has grown by a quarter, the other by 4 %."""
    decayed = measured(usual=0.75, reference_usual=0.6, share=0.25)
    [value] = decayed.monthly_values
    assert value.value == pytest.approx((0.25 * 0.5**2 + 0.75 * 0.75**2) ** 0.5)
    assert value.limit == pytest.approx(1.1 * (0.25 * 0.48**2 + 0.75 * 0.6**2) ** 0.5)
    assert value.breached and performance_finding(decayed).verdict == Verdict.WARN
    assert "of requests (25% state their distance)" in performance_finding(decayed).sentence
    only_stated = measured(usual=0.75, reference_usual=0.6, share=1.0)
    assert performance_finding(only_stated).verdict == Verdict.PASS


@pytest.mark.parametrize(("usual", "reference"), [(None, 0.6), (0.75, None), (None, None)])
def test_a_record_without_errors_of_both_modes_has_the_limit_of_metered_distances(usual, reference):
    old = measured(usual, reference, share=0.25)
    [value] = old.monthly_values
    assert (value.value, value.limit) == pytest.approx((0.5, 1.1 * 0.48))
    assert "of requests" not in performance_finding(old).sentence
