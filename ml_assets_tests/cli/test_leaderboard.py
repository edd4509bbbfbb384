"""The leaderboard in a terminal."""

import io

import pytest
from rich.console import Console

from ml_assets.cli.leaderboard import print_leaderboard, summary
from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.records import (
    FittedRows,
    IntervalRecord,
    Leaderboard,
    MetricsRecord,
    ModelRecord,
    UsualRecord,
)


def row(model: str, rmse: float) -> ModelRecord:
    figures = MetricsRecord(
        rmse=rmse, mae=2.0, mape=0.2, r2=0.8, share_within_5_minutes=0.8, rows=9
    )
    return ModelRecord(
        model=model, kind="model", training_set="0", training_months=["2023-01"], validation=figures,
        test=figures, slices=[], predict_seconds=0.1, size_bytes=1,
    )  # fmt: skip


def test_both_modes_are_shown_and_fit_80_columns():
    interval = IntervalRecord(
        nominal=0.8, coverage=0.801, mean_width=8, rows=9, calibrated_rows=9, slices=[]
    )
    without = interval.model_copy(update={"coverage": 0.794})
    usual = UsualRecord(test=row("", 5.25).test, slices=[], interval=without)
    measured = {"interval": interval, "usual": usual}
    board = Leaderboard(
        training_set="0", test_month="2023-03", synthetic=False, caveat=None,
        rows=[
            row("gradient_boosting", 4.125).model_copy(update={**measured, "fit_seconds": 123.4}),
            row("global_mean", 9.0),
        ],
    )  # fmt: skip
    champion = ChampionDecision(
        promoted=True, reason="because", champion="gradient_boosting", registry_version="7",
        previous_version=None, training_set="0", synthetic=False, description="fitted on 2023-01", test_rmse=4.0,
    )  # fmt: skip
    out = io.StringIO()
    print_leaderboard(Console(file=out, width=80), board, champion)
    table = out.getvalue().partition("RMSE in minutes")[0]
    assert max(len(line) for line in table.splitlines()) <= 80
    (line,) = [line for line in table.splitlines() if "gradient_boosting" in line]
    places = [line.index(text) for text in ("4.125", "5.250", "80.1%", "79.4%")]
    assert places == sorted(places)
    assert "Best first" not in out.getvalue()  # a row has no error without a distance
    ranked = board.model_copy(update={"rows": board.rows[:1]})
    print_leaderboard(Console(file=out, width=200), ranked, champion)
    assert "Best first if 50% of requests state their distance." in out.getvalue()
    (found,) = [row for row in summary(board, None)["models"] if row["model"] != "global_mean"]
    assert (found["test_rmse"], found["test_rmse_usual"]) == (4.125, 5.25)
    assert (found["interval_coverage"], found["interval_coverage_usual"]) == (0.801, 0.794)


def test_models_that_were_fitted_on_a_sample_are_named():
    sampled = FittedRows(fitted=2_000, available=131_935, max_rows=2_000)
    board = Leaderboard(
        training_set="0", test_month="2023-03", synthetic=False, caveat=None,
        rows=[
            row("lasso", 4.0).model_copy(update={"rows": sampled}),
            row("xgboost", 5.0).model_copy(update={"rows": FittedRows(fitted=9, available=9)}),
        ],
    )  # fmt: skip
    out = io.StringIO()
    print_leaderboard(Console(file=out, width=200), board, None)
    assert "\nlasso: 2,000 of 131,935 trips, a sample" in out.getvalue()
    assert "\nxgboost: " not in out.getvalue()
    lasso, xgboost = summary(board, None)["models"]
    assert (lasso["fitted_rows"], lasso["available_rows"]) == (2_000, 131_935)
    assert (xgboost["fitted_rows"], xgboost["available_rows"]) == (9, 9)


@pytest.mark.parametrize(("promoted", "marked"), [(True, True), (False, False)])
def test_only_the_champion_promoted_from_this_leaderboard_is_marked(promoted, marked):
    board = Leaderboard(
        training_set="0", test_month="2023-03", synthetic=False, caveat=None,
        rows=[row("lasso", 4.0), row("xgboost", 5.0)],
    )  # fmt: skip
    decision = ChampionDecision(
        promoted=promoted, reason="because", champion="lasso", registry_version="7",
        previous_version=None, training_set="0", synthetic=False, description="fitted on 2023-01", test_rmse=4.0,
    )  # fmt: skip
    out = io.StringIO()
    print_leaderboard(Console(file=out, width=120), board, decision)
    assert ("lasso ♛" in out.getvalue()) is marked
    assert "Champion: lasso, version 7" in out.getvalue()
