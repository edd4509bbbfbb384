"""The leaderboard in a terminal."""

import io

import pytest
from rich.console import Console

from ml_assets.cli.leaderboard import print_leaderboard
from ml_assets.evaluation.records import ChampionDecision, Leaderboard, MetricsRecord, ModelRecord


def row(model: str, rmse: float) -> ModelRecord:
    figures = MetricsRecord(
        rmse=rmse, mae=2.0, mape=0.2, r2=0.8, share_within_5_minutes=0.8, rows=9
    )
    return ModelRecord(
        model=model, kind="model", training_set="0", training_months=["2023-01"], validation=figures,
        test=figures, slices=[], predict_seconds=0.1, size_bytes=1,
    )  # fmt: skip


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
