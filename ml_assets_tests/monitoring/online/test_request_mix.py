"""How much an error with and without a distance counts: the share of requests that state one."""

import pytest

from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.leaderboard import leaderboard
from ml_assets.evaluation.records import Leaderboard
from ml_assets.monitoring.online.records import OnlineRecord
from ml_assets.monitoring.online.request_mix import RequestMix, configured_share, request_mix
from ml_assets_tests.promotion.test_decision import row


def log(answers: int, stated: int | None) -> OnlineRecord:
    return OnlineRecord(
        dataset="green", synthetic=False, first="2023-06-01", window_answers=answers,
        window_stated=stated,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "stated", "share", "source"),
    [
        (1000, 250, 0.25, "1,000 logged requests since 2023-06-01"),
        (1000, 0, 0.0, "1,000 logged requests since 2023-06-01"),
        (
            999,
            250,
            0.5,
            "the default, as 999 logged requests since 2023-06-01 are fewer than 1,000",
        ),
        (0, 0, 0.5, "the default, as no request log shows it yet"),
        (5000, None, 0.5, "the default, as no request log shows it yet"),
    ],
    ids=["enough", "never stated", "too few", "none in four weeks", "measured before 0.2"],
)
def test_the_share_is_that_of_the_request_log_if_it_has_enough_requests(
    answers, stated, share, source
):
    mix = request_mix(log(answers, stated))
    assert mix == RequestMix(share, source)


def test_without_a_request_log_half_of_the_requests_count_as_stating_a_distance():
    assert request_mix(None) == RequestMix(0.5, "the default, as no request log shows it yet")


def test_the_config_replaces_the_request_log():
    mix = request_mix(log(5000, 4000), configured=0.0)
    assert (mix.share_stated, mix.source) == (0.0, "set in champion_model's config")


def decision(version: str, share: float | None, **changed: object) -> ChampionDecision:
    made = {
        "promoted": True, "reason": "better", "champion": "xgboost", "registry_version": version,
        "previous_version": None, "training_set": "f", "synthetic": False, "description": "fitted",
        "test_rmse": 3.0, "share_stated": share,
    }  # fmt: skip
    return ChampionDecision.model_validate(made | changed)


def test_the_configured_share_is_that_of_the_last_training_that_decided_on_the_champion():
    first = decision("1", 0.9, share_configured=True)
    second = decision("2", 0.5)
    rollback = decision("1", None, kind="rollback")
    assert configured_share([first], "1") == 0.9
    assert configured_share([first, second], "2") is None
    assert configured_share([first, second, rollback], "1") == 0.9
    kept = decision("1", 0.25, promoted=False)
    assert configured_share([first, second, rollback, kept], "1") is None
    zero = decision("1", 0.0, promoted=False, share_configured=True)
    assert configured_share([kept, zero], "1") == 0.0
    assert configured_share([first], "3") is None


def test_a_decision_of_an_earlier_version_has_no_configured_share():
    stored = decision("1", 0.9).model_dump(exclude={"share_configured"})
    assert configured_share([ChampionDecision.model_validate(stored)], "1") is None


def test_the_share_decides_which_of_two_models_is_better():
    planned, unplanned = row("lasso", 4.0, usual=6.0), row("xgboost", 5.0, usual=5.0)
    assert leaderboard([planned, unplanned], 0.9) == [planned, unplanned]
    assert leaderboard([planned, unplanned], 0.1) == [unplanned, planned]
    assert leaderboard([planned, unplanned]) == [unplanned, planned]  # 5.10 to 5.00


def test_a_row_without_the_second_error_is_compared_by_the_first():
    """A row made before 0.2 must not win for having no error without a distance."""
    old = row("lasso", 4.5).model_copy(update={"usual": None})
    new = row("xgboost", 4.0, usual=6.0)
    assert leaderboard([old, new], 0.1) == [new, old]
    board = Leaderboard(
        training_set="f", test_month="2023-03", synthetic=False, caveat=None, rows=[new, old]
    )
    assert RequestMix(0.1, "a log").on(board).share_stated == 1.0
    assert RequestMix(0.1, "a log").on(board.model_copy(update={"rows": [new]})).source == "a log"
    assert old.request_rmse(0.1) == 4.5
