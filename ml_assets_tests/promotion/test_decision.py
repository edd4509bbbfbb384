"""The promotion decision: who may take whose place, and the sentence that says why."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_assets.evaluation.decision_record import ChampionDecision, Criterion, PreviousChampion
from ml_assets.evaluation.metrics import pair_codes
from ml_assets.evaluation.records import (
    Leaderboard,
    MetricsRecord,
    ModelRecord,
    MonthSplit,
    Role,
    TrainingSet,
    UsualRecord,
)
from ml_assets.monitoring.online.request_mix import ModePredictions, RequestMix
from ml_assets.promotion import NoCandidate
from ml_assets.promotion.criteria import ChampionEvaluation, PromotionLimits
from ml_assets.promotion.decision import (
    Candidate,
    CandidateEvaluation,
    Promotion,
    PromotionInputs,
)
from ml_assets.promotion.decision import decide as decide_on
from ml_assets.promotion.evaluate import Evaluator
from ml_assets.promotion.slice_guardrails import SliceGuardrail
from ml_assets.storage.model_version import ManualOverride, ModelVersion
from ml_assets.trips.quality.finding import Finding, Verdict

TRIPS = 1200
TEST_MONTH = "2023-03"
CHAMPION_RMSE, BETTER, WORSE = 5.0, 4.0, 6.0
RANDOM = np.random.default_rng(1)
ACTUAL = RANDOM.uniform(5, 40, TRIPS)
NOISE = RANDOM.normal(0, 1, TRIPS)
# Every third trip begins at the airport, in Queens; the others in Manhattan.
PICKUP = np.where(np.arange(TRIPS) % 3 == 0, 138, 74)


def trips() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "PULocationID": PICKUP,
            "DOLocationID": 75,
            "trip_distance": 2.0,
            "pickup_datetime": pd.Timestamp("2023-03-06 08:30"),
            "passenger_count": 1.0,
            "duration_minutes": ACTUAL,
        }
    )


def erring(rmse: float, at_the_airport: float | None = None) -> np.ndarray:
    """Predictions with about this RMSE, and another one at the airport."""
    scale = np.where(PICKUP == 138, at_the_airport if at_the_airport is not None else rmse, rmse)
    return ACTUAL + NOISE * scale


def modes(stated: np.ndarray | None, usual: np.ndarray | None = None) -> ModePredictions | None:
    """Predictions in both modes; the same without a distance unless said otherwise."""
    return None if stated is None else ModePredictions(stated, stated if usual is None else usual)


def rmse_of(predicted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((predicted - ACTUAL) ** 2)))


def metrics(rmse: float) -> MetricsRecord:
    return MetricsRecord(
        rmse=rmse, mae=rmse, mape=0.3, r2=0.5, share_within_5_minutes=0.7, rows=TRIPS
    )


def row(
    model: str,
    rmse: float,
    kind: Any = "model",
    run: str | None = None,
    usual: float | None = None,
) -> ModelRecord:
    figures = metrics(rmse)
    return ModelRecord(
        model=model, kind=kind, training_set="f", training_months=["2023-01"], validation=figures,
        test=figures, slices=[], predict_seconds=0.1, size_bytes=1, mlflow_run_id=run,
        usual=UsualRecord(test=metrics(rmse if usual is None else usual), slices=[]),
    )  # fmt: skip


def training_set(
    dataset: str = "green", test_month: str = TEST_MONTH, sha256: str = "a"
) -> TrainingSet:
    months: list[tuple[str, Role]] = [
        ("2023-01", "train"),
        ("2023-02", "validation"),
        (test_month, "test"),
    ]
    uses = [
        MonthSplit(month=month, role=role, rows=TRIPS, raw_sha256=sha256, source="s",
                 code_version="1")
        for month, role in months
    ]  # fmt: skip
    return TrainingSet(
        dataset=dataset, taxi="green", synthetic=False, months=uses, caveat=None, gaps=[],
        code_version="1",
    )  # fmt: skip


def champion(
    predicted: np.ndarray | None = None,
    scoring_error: str | None = None,
    trained_on_test_month: bool = False,
    usual: np.ndarray | None = None,
    **facts: Any,
) -> ChampionEvaluation:
    given: dict[str, Any] = {
        "version": "7", "model": "lasso", "dataset": "green", "run_id": "another",
    }  # fmt: skip
    version = ModelVersion(**{**given, **facts})
    return ChampionEvaluation(
        version, trained_on_test_month, modes(predicted, usual), scoring_error
    )


SERVING = champion(erring(CHAMPION_RMSE))
FINE = {"predictions_in_range": Finding(Verdict.PASS, "sane")}

Challenge = tuple[Candidate, PromotionInputs]


def challenge(
    predicted: np.ndarray | None = None,
    serving: ChampionEvaluation | None = SERVING,
    *,
    baseline: float = 9.0,
    caveat: str | None = None,
    findings: dict[str, Finding] | None = None,
    latency_ms: float | None = 2.0,
    months: TrainingSet | None = None,
    usual: np.ndarray | None = None,
) -> Challenge:
    predicted = erring(BETTER) if predicted is None else predicted
    best = row(
        "xgboost", rmse_of(predicted), run="r", usual=rmse_of(predicted if usual is None else usual)
    )
    board = Leaderboard(
        training_set="f", test_month=TEST_MONTH, synthetic=False, caveat=caveat,
        rows=sorted(
            [best, row("global_mean", baseline, "baseline")], key=lambda entry: entry.test.rmse
        ),
    )  # fmt: skip
    evaluation = CandidateEvaluation(
        predicted=modes(predicted, usual) if latency_ms is not None else None,
        findings=FINE if findings is None else findings,
        latency_ms=latency_ms,
    )
    inputs = PromotionInputs(
        board=board,
        training_set=months or training_set(),
        champion=serving,
        test_trips=trips(),
        train_pairs=pair_codes(trips().head(100)),
    )
    return Candidate(best, ModelVersion(version="8", model="xgboost"), evaluation), inputs


def decide(
    challenge: Challenge, limits: PromotionLimits | None = None, *, replace: bool = False
) -> Promotion:
    return decide_on(*challenge, limits, replace_other_dataset=replace)


def failed(decision: Any) -> list[str]:
    return [criterion.name for criterion in decision.criteria if not criterion.passed]


def test_no_model_on_the_leaderboard():
    _, inputs = challenge()
    board = inputs.board.model_copy(update={"rows": [row("global_mean", 9.0, "baseline")]})
    nowhere: Any = None  # neither the registry nor the store is reached
    with pytest.raises(NoCandidate, match="materialize a model asset first"):
        Evaluator.prepare(nowhere, board, inputs.training_set, nowhere)


@pytest.mark.parametrize("serving", [None, SERVING])
def test_one_that_a_baseline_beats_is_refused(serving):
    decision = decide(challenge(serving=serving, baseline=3.0))
    assert not decision.promoted
    assert failed(decision) == ["beats_baselines"]
    assert "3.000 of the best baseline, global_mean" in decision.reason


def test_the_best_is_promoted_without_a_champion():
    decision = decide(challenge(serving=None))
    assert decision.promoted
    assert decision.reason.startswith("there was no champion; xgboost is best on 2023-03 (RMSE 4.")


def test_a_better_model_takes_the_place_and_every_criterion_is_kept():
    decision = decide(challenge())
    assert decision.promoted
    assert decision.reason.startswith("better than the champion (lasso, version 7): xgboost 4.")
    assert "with 95% confidence" in decision.reason
    assert [criterion.name for criterion in decision.criteria] == [
        "beats_baselines",
        "check: predictions_in_range",
        "latency",
        "fair_comparison",
        "significant_improvement",
        "mode_guardrail: stated",
        "mode_guardrail: usual",
        "slice_guardrail: airport/either end",
        "slice_guardrail: borough/Manhattan",
        "slice_guardrail: borough/Queens",
    ]


def test_a_tie_keeps_the_champion():
    decision = decide(challenge(erring(CHAMPION_RMSE)))
    assert not decision.promoted
    assert failed(decision) == ["significant_improvement"]
    assert decision.reason.startswith("no better than the champion (lasso, version 7): ")


def test_a_worse_one_is_refused():
    decision = decide(challenge(erring(WORSE)))
    assert not decision.promoted
    assert "worse by 1." in decision.reason


def test_a_minimum_improvement_can_be_required():
    enough = decide(challenge(), PromotionLimits(min_improvement=0.9))
    too_little = decide(challenge(), PromotionLimits(min_improvement=1.1))
    assert (enough.promoted, too_little.promoted) == (True, False)
    assert "more than 1.1 min is required" in too_little.reason


def test_one_that_is_better_on_the_whole_and_worse_at_the_airport_is_refused():
    decision = decide(challenge(erring(3.0, at_the_airport=5.5)))
    assert not decision.promoted
    assert failed(decision) == [
        "slice_guardrail: airport/either end",
        "slice_guardrail: borough/Queens",
    ]
    assert "without a distance (+10.0%) on 400 trips, at most +3.0%" in decision.reason


def test_a_tolerance_lets_it_pass_and_the_more_exact_name_counts():
    inputs = challenge(erring(3.0, at_the_airport=5.5))
    tolerance = {"airport": 0.2, "borough": 0.2, "pair": 0.2}
    assert decide(inputs, PromotionLimits(guard=SliceGuardrail(tolerance))).promoted
    tolerance["borough/Queens"] = 0.01
    assert failed(decide(inputs, PromotionLimits(guard=SliceGuardrail(tolerance)))) == [
        "slice_guardrail: borough/Queens"
    ]


def test_slices_of_few_trips_do_not_count():
    inputs = challenge(erring(3.0, at_the_airport=5.5))
    assert decide(inputs, PromotionLimits(guard=SliceGuardrail(min_trips=401))).promoted


def test_one_that_is_better_on_the_whole_and_worse_without_a_distance_is_refused():
    decision = decide(challenge(erring(4.0), usual=erring(5.2)))
    assert not decision.promoted
    assert [name for name in failed(decision) if not name.startswith("slice_")] == [
        "mode_guardrail: usual"
    ]
    assert decision.should_try_next
    assert "fails mode_guardrail: usual: RMSE 5." in decision.reason
    assert "without a distance (+4.0%), at most +3.0%" in decision.reason
    tolerant = SliceGuardrail(dict.fromkeys(("airport", "borough", "pair"), 0.05))
    assert decide(
        challenge(erring(4.0), usual=erring(5.2)),
        PromotionLimits(mode_tolerance=0.05, guard=tolerant),
    ).promoted


def test_a_slice_is_guarded_in_both_modes():
    decision = decide(challenge(usual=erring(3.0, at_the_airport=5.5)))
    assert failed(decision) == [
        "slice_guardrail: airport/either end",
        "slice_guardrail: borough/Queens",
    ]
    assert "with the metered distance (-20.0%)" in decision.reason
    assert "without a distance (+10.0%) on 400 trips, at most +3.0%" in decision.reason


@pytest.mark.parametrize(("share", "promoted"), [(0.9, True), (0.1, False)])
def test_the_share_of_requests_that_state_a_distance_decides(share, promoted):
    """Better by 4 % with the metered distance, worse by 2 % without a distance."""
    limits = PromotionLimits(requests=RequestMix(share, "1,200 logged requests"))
    decision = decide(challenge(erring(4.8), usual=erring(5.1)), limits)
    assert decision.promoted is promoted
    assert failed(decision) == ([] if promoted else ["significant_improvement"])
    assert f"({share:.0%} of requests state their distance)" in decision.reason


@pytest.mark.parametrize(("share", "beaten"), [(0.9, True), (0.1, False)])
def test_baselines_are_compared_by_the_share_too(share, beaten):
    """The candidate is at 4 and 6 minutes, the baseline at 5 in both modes."""
    inputs = challenge(erring(4.0), serving=None, usual=erring(6.0), baseline=5.0)
    limits = PromotionLimits(requests=RequestMix(share, "1,200 logged requests"))
    decision = decide(inputs, limits)
    assert decision.promoted is beaten
    [criterion] = [c for c in decision.criteria if c.name == "beats_baselines"]
    expected = np.sqrt(
        share * inputs[0].row.test.rmse ** 2 + (1 - share) * rmse_of(erring(6.0)) ** 2
    )
    assert criterion.passed is beaten
    assert criterion.value == pytest.approx(expected)


def test_a_check_that_failed_refuses():
    leak = Finding(Verdict.FAIL, "the model seems to have seen the test trips")
    decision = decide(challenge(findings={**FINE, "no_test_leakage": leak}))
    assert not decision.promoted
    assert (
        "fails check: no_test_leakage: the model seems to have seen the test trips"
        in decision.reason
    )


def test_a_slow_one_is_refused():
    decision = decide(challenge(latency_ms=51.0))
    assert failed(decision) == ["latency"]
    assert decide(challenge(latency_ms=51.0), PromotionLimits(max_latency_ms=60)).promoted


def test_one_that_cannot_be_loaded_is_refused_and_nothing_is_compared():
    lost = {"loads": Finding(Verdict.FAIL, "gone")}
    decision = decide(challenge(findings=lost, latency_ms=None))
    assert failed(decision) == ["check: loads"]
    assert decision.promoted is False


LEAK = {**FINE, "no_test_leakage": Finding(Verdict.FAIL, "it seems to know them")}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (challenge(), False),
        (challenge(findings=LEAK), True),
        (challenge(latency_ms=51.0), True),
        (challenge(erring(3.0, at_the_airport=5.5)), True),
        (challenge(erring(WORSE)), False),
        (challenge(erring(WORSE), latency_ms=51.0), False),
        (challenge(erring(WORSE), findings=LEAK), True),
        (challenge(baseline=3.0), False),
        (challenge(findings=LEAK, caveat="two months only"), False),
        (challenge(findings=LEAK, serving=None), True),
        (challenge(serving=champion(), months=training_set("yellow")), False),
    ],
    ids=[
        "promoted", "leaks", "slow", "worse at the airport", "errs more", "errs more and slow",
        "errs more and leaks", "a baseline is better", "its month tuned it", "nothing serves",
        "other trips",
    ],
)  # fmt: skip
def test_the_next_candidate_is_evaluated_when_the_first_is_not_servable(inputs, expected):
    assert decide(inputs).should_try_next is expected


def test_the_champion_of_this_very_training_is_left_alone():
    decision = decide(challenge(serving=champion(erring(CHAMPION_RMSE), run_id="r")))
    assert not decision.promoted
    assert decision.reason.endswith("is the best model of this training already")


def test_a_champion_that_saw_the_month_is_kept_and_the_reason_says_so():
    saw = champion(erring(CHAMPION_RMSE), trained_on_test_month=True)
    decision = decide(challenge(erring(WORSE), saw))
    assert not decision.promoted
    assert "which was fitted or tuned on that month" in decision.reason
    assert decide(challenge(erring(BETTER), saw)).promoted  # even so


def test_a_champion_that_cannot_be_scored_is_said_so_and_the_baselines_decide():
    broken = champion(None, scoring_error="OSError: no such file")
    decision = decide(challenge(erring(WORSE), broken))
    assert decision.promoted
    assert decision.reason.startswith(
        "the champion (lasso, version 7) can no longer be scored on 2023-03 (OSError: no such file)"
        ", so the baselines decide: xgboost 6."
    )
    refused = decide(challenge(erring(WORSE), broken, baseline=5.0))
    assert not refused.promoted
    assert "can no longer be scored (OSError: no such file)" in refused.reason


def test_a_winner_that_its_month_has_tuned_does_not_replace_one_that_it_has_not():
    decision = decide(challenge(caveat="two months only"))
    assert failed(decision) == ["fair_comparison"]
    assert "xgboost was tuned on 2023-03 and the champion was not" in decision.reason
    saw = champion(erring(CHAMPION_RMSE), trained_on_test_month=True)
    assert decide(challenge(serving=saw, caveat="two months only")).promoted


MANUAL_OVERRIDE = ManualOverride(
    kind="rollback", reason="errs at night", test_month=TEST_MONTH, raw_sha256="a"
)


@pytest.mark.parametrize(
    ("months", "promoted"),
    [
        (training_set(), False),
        (training_set(test_month="2023-02"), False),
        (training_set(test_month="2023-04"), True),
        (training_set(sha256="b"), True),
    ],
    ids=["same data", "older data", "newer month", "the month published anew"],
)
def test_a_rollback_is_undone_by_newer_data_only(months, promoted):
    held = champion(erring(CHAMPION_RMSE), manual_override=MANUAL_OVERRIDE)
    decision = decide(challenge(serving=held, months=months))
    assert decision.promoted is promoted
    assert ("newer_than_manual_override" in failed(decision)) is not promoted
    if not promoted:
        assert "rollback: errs at night" in decision.reason


def test_a_rollback_keeps_nothing_that_can_no_longer_be_scored():
    assert decide(
        challenge(serving=champion(None, scoring_error="gone", manual_override=MANUAL_OVERRIDE))
    ).promoted


@pytest.mark.parametrize(
    ("serves", "dataset"),
    [("sample_green", "green"), ("sample_green", "yellow"), ("sample_green", "sample_yellow")],
)
def test_a_synthetic_champion_may_always_be_replaced_by_other_trips(serves, dataset):
    synthetic = champion(dataset=serves, synthetic=True)
    decision = decide(challenge(serving=synthetic, months=training_set(dataset)))
    assert decision.promoted
    assert f"was trained on {serves}, not on {dataset}" in decision.reason


def test_on_the_same_sample_it_has_to_be_beaten():
    synthetic = champion(erring(CHAMPION_RMSE), dataset="sample_green", synthetic=True)
    months = training_set("sample_green")
    assert decide(challenge(serving=synthetic, months=months)).promoted
    assert not decide(challenge(erring(WORSE), synthetic, months=months)).promoted


@pytest.mark.parametrize("dataset", ["sample_green", "sample_yellow", "yellow"])
def test_a_champion_of_real_trips_is_never_replaced_by_other_ones(dataset):
    decision = decide(challenge(serving=champion(), months=training_set(dataset)))
    assert not decision.promoted
    for part in (
        f"was trained on green, not on {dataset}",
        "ML_ASSETS_HOME or MLFLOW_TRACKING_URI",
        "`replace_other_dataset: true`",
    ):
        assert part in decision.reason


def test_unless_the_operator_says_so():
    inputs = challenge(serving=champion(), months=training_set("yellow"))
    decision = decide(inputs, replace=True)
    assert decision.promoted
    assert "replace_other_dataset" in decision.reason


def test_a_champion_of_unknown_trips_is_taken_for_real_ones():
    decision = decide(challenge(serving=champion(dataset="")))
    assert not decision.promoted
    assert "unknown trips" in decision.reason


def test_the_summary_of_a_decision_says_who_serves_how_well_and_why():
    bar = Criterion(name="beats_baselines", passed=True, finding="", value=4.0, limit=8.0)
    figures = MetricsRecord(
        rmse=5.0, mae=3.0, mape=0.2, r2=0.5, share_within_5_minutes=0.8, rows=10
    )
    before = PreviousChampion(model="lasso", version="1", test=figures, trained_on_test_month=False)
    made = ChampionDecision(
        promoted=True,
        reason="better",
        champion="xgboost",
        registry_version="2",
        previous_version="1",
        previous_champion=before,
        training_set="0",
        synthetic=False,
        description="fitted on 2023-01",
        test_rmse=4.0,
        test_month="2023-05",
        criteria=[bar],
    )
    assert made.summary == (
        "xgboost, version 2, was promoted. On 2023-05 its error is 4.00 minutes (RMSE), 1.00 "
        "minutes (20.0%) less than the previous champion (lasso, version 1) and 4.00 minutes (50.0%) less "
        "than the best baseline. Reason: better."
    )
    pending = made.model_copy(update={"applied": False})
    assert "will be promoted; the registry has not been updated yet" in pending.summary
    # What was kept is measured on this month; its recorded error is that of an earlier one.
    kept = made.model_copy(
        update={"promoted": False, "champion": "lasso", "registry_version": "1", "test_rmse": 3.0}
    )
    assert kept.summary.startswith(
        "lasso, version 1, remains the champion. On 2023-05 its error is 5.00 minutes (RMSE), 3.00"
    )
    scoring_error = kept.model_copy(update={"previous_champion": None})
    assert scoring_error.summary == "lasso, version 1, remains the champion. Reason: better."
    mixed = made.model_copy(
        update={
            "test_rmse_usual": 6.0,
            "previous_champion": before.model_copy(update={"usual": metrics(8.0)}),
            "share_stated": 0.25,
            "share_source": "4,000 logged requests since 2023-06-01",
        }
    )
    assert mixed.summary == (
        "xgboost, version 2, was promoted. On 2023-05 its error is 4.00 minutes (RMSE) with the "
        "metered distance and 6.00 without a distance. 25% of requests state their distance (4,000 "
        "logged requests since 2023-06-01): weighted so, it is 5.57 minutes, 1.80 minutes (24.4%) "
        "less than the previous champion (lasso, version 1) and 2.43 minutes (30.4%) less than the "
        "best baseline. Reason: better."
    )
    nothing = made.model_copy(update={"promoted": False, "champion": None})
    assert nothing.summary == "There is no champion: better."
