"""The promotion decision: who may take whose place, and the sentence that says why."""

from typing import Any

import pytest

from ml_assets.modeling.promotion import Champion, NothingToPromote, decide
from ml_assets.modeling.records import Leaderboard, MetricsRecord, ModelRecord


def row(model: str, rmse: float, kind: Any = "model") -> ModelRecord:
    figures = MetricsRecord(
        rmse=rmse, mae=rmse, mape=0.3, r2=0.5, share_within_5_minutes=0.7, rows=100
    )
    return ModelRecord(
        model=model, kind=kind, training_set="f", fitted_on=["2023-01"], validation=figures,
        test=figures, slices=[], predict_seconds=0.1, size_bytes=1,
    )  # fmt: skip


def board(*rows: ModelRecord, caveat: str | None = None) -> Leaderboard:
    return Leaderboard(
        training_set="f", judged_month="2023-03", synthetic=False, caveat=caveat, rows=list(rows)
    )


def champion(**values: Any) -> Champion:
    given = {
        "version": "7", "model": "lasso", "serve": "judged", "served": "", "dataset": "green",
        "synthetic": False, "test_rmse": 5.0,
    }  # fmt: skip
    return Champion(**{**given, **values})


BEST = board(row("xgboost", 4.0), row("lasso", 4.5), row("global_mean", 9.0, "baseline"))
WORSE = board(row("xgboost", 6.0), row("global_mean", 9.0, "baseline"))
TWO_MONTHS = BEST.model_copy(update={"caveat": "two months only"})


def test_no_model_on_the_leaderboard():
    with pytest.raises(NothingToPromote, match="materialize one model asset first"):
        decide(board(row("global_mean", 9.0, "baseline")), "green", None)


def test_a_baseline_that_wins_leaves_nothing_to_promote():
    with pytest.raises(NothingToPromote, match=r"xgboost .* worse than the baseline global_mean"):
        decide(board(row("global_mean", 3.0, "baseline"), row("xgboost", 4.0)), "green", None)


@pytest.mark.parametrize("leaderboard", [BEST, TWO_MONTHS])
def test_the_best_is_crowned_when_nothing_serves(leaderboard):
    decision = decide(leaderboard, "green", None)
    assert (decision.promoted, decision.winner.model) == (True, "xgboost")
    assert decision.reason == "nothing served yet; xgboost is best on 2023-03 (RMSE 4.000)"


def test_a_better_model_takes_the_place():
    decision = decide(BEST, "green", champion())
    assert decision.promoted
    assert decision.reason == (
        "better: xgboost 4.000 against 5.000 of the champion (lasso, version 7) on 2023-03"
    )


@pytest.mark.parametrize("rmse", [4.0, 3.0])
def test_an_equal_or_worse_one_does_not(rmse):
    decision = decide(BEST, "green", champion(test_rmse=rmse))
    assert not decision.promoted
    assert decision.reason.startswith("no better: xgboost 4.000 against")


def test_a_champion_that_saw_the_month_is_kept_and_the_reason_says_so():
    decision = decide(WORSE, "green", champion(saw_judged_month=True))
    assert not decision.promoted
    assert "fitted or tuned on that month, which flatters it" in decision.reason


def test_a_champion_that_cannot_be_scored_is_replaced_and_the_reason_says_why():
    broken = champion(test_rmse=None, unscored="OSError: no such file")
    for leaderboard in (BEST, WORSE, TWO_MONTHS):
        decision = decide(leaderboard, "green", broken)
        assert decision.promoted
        assert decision.reason == (
            "the champion (lasso, version 7) can no longer be scored on 2023-03 "
            "(OSError: no such file)"
        )


def test_a_winner_that_its_month_has_tuned_does_not_replace_one_that_it_has_not():
    decision = decide(TWO_MONTHS, "green", champion())
    assert not decision.promoted
    assert "that month also tuned xgboost, which flatters it and not the champion" in (
        decision.reason
    )
    assert "4.000 against 5.000" in decision.reason


def test_it_replaces_one_that_was_flattered_as_well():
    assert decide(TWO_MONTHS, "green", champion(saw_judged_month=True)).promoted


@pytest.mark.parametrize("leaderboard", [BEST, WORSE, TWO_MONTHS])
@pytest.mark.parametrize(
    ("serves", "dataset"),
    [("sample_green", "green"), ("sample_green", "yellow"), ("sample_green", "sample_yellow")],
)
def test_a_synthetic_champion_may_always_be_replaced_by_other_trips(leaderboard, serves, dataset):
    synthetic = champion(dataset=serves, synthetic=True, test_rmse=None)
    decision = decide(leaderboard, dataset, synthetic)
    assert decision.promoted
    assert f"was trained on {serves}, not on {dataset}" in decision.reason


def test_on_the_same_sample_it_has_to_be_beaten():
    synthetic = champion(dataset="sample_green", synthetic=True)
    assert decide(BEST, "sample_green", synthetic).promoted
    assert not decide(WORSE, "sample_green", synthetic).promoted


@pytest.mark.parametrize("dataset", ["sample_green", "sample_yellow", "yellow"])
def test_a_champion_of_real_trips_is_never_replaced_by_other_ones(dataset):
    decision = decide(BEST, dataset, champion(test_rmse=None))
    assert not decision.promoted
    for part in (
        f"was trained on green, not on {dataset}",
        "ML_ASSETS_HOME or MLFLOW_TRACKING_URI",
        "`replace_other_dataset: true`",
    ):
        assert part in decision.reason


def test_unless_the_operator_says_so():
    decision = decide(BEST, "yellow", champion(test_rmse=None), replace_other_dataset=True)
    assert decision.promoted
    assert "replace_other_dataset" in decision.reason


def test_a_champion_of_unknown_trips_is_taken_for_real_ones():
    decision = decide(BEST, "green", champion(dataset="", test_rmse=None))
    assert not decision.promoted
    assert "unknown trips" in decision.reason
