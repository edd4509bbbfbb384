"""Records and tags of earlier versions are read under the present names."""

from types import SimpleNamespace

import pytest

from ml_assets.backtesting.records import BacktestRecord
from ml_assets.evaluation.decision_record import ChampionDecision, Criterion, PreviousChampion
from ml_assets.evaluation.records import Leaderboard, ModelRecord, MonthSplit
from ml_assets.monitoring.drift.records import DriftRecord
from ml_assets.monitoring.online.records import DayFaults
from ml_assets.monitoring.performance.records import PerformanceRecord
from ml_assets.serving.bundle import BundleRecord
from ml_assets.storage.former_names import all_names
from ml_assets.storage.model_version import ManualOverride, ModelVersion

FIGURES = {
    "rmse": 4.5, "mae": 3.0, "mape": 0.3, "r2": 0.7, "share_within_5_minutes": 0.8, "rows": 900,
}  # fmt: skip
MONTH = {"month": "2023-04", "rows": 900, "raw_sha256": "a", "source": "s", "code_version": "1"}


@pytest.mark.parametrize(
    ("former", "present"),
    [("train", "train"), ("tune", "validation"), ("judge", "test"), ("test", "test")],
)
def test_the_role_of_a_month(former, present):
    assert MonthSplit.model_validate({**MONTH, "role": former}).role == present


def test_the_months_of_a_model_s_record():
    record = ModelRecord.model_validate({
        "model": "xgboost", "kind": "model", "training_set": "0", "fitted_on": ["2023-01"],
        "tuned_on": ["2023-02"], "validation": FIGURES, "test": FIGURES, "slices": [],
        "predict_seconds": 0.1, "size_bytes": 1, "fit_on": "train",
    })  # fmt: skip
    assert (record.training_months, record.validation_months) == (["2023-01"], ["2023-02"])
    assert not record.refit_on_validation
    written = record.model_dump()
    assert not {"fitted_on", "tuned_on", "fit_on"} & set(written)
    assert ModelRecord.model_validate(written) == record


def test_the_test_month_of_a_leaderboard_and_of_a_manual_override():
    board = Leaderboard.model_validate_json(
        '{"training_set": "0", "judged_month": "2023-03", "synthetic": false, "caveat": null,'
        ' "rows": []}'
    )
    assert board.test_month == "2023-03"
    override = '{"kind": "rollback", "reason": "errs", "judged_month": "2023-03", "raw_sha256": ""}'
    assert ManualOverride.model_validate_json(override).test_month == "2023-03"


def test_whether_the_previous_champion_had_seen_the_test_month():
    before = PreviousChampion.model_validate(
        {"model": "lasso", "version": "3", "test": FIGURES, "saw_judged_month": True}
    )
    assert before.trained_on_test_month


@pytest.mark.parametrize(("serve", "refit"), [("judged", False), ("refitted_on_all_months", True)])
def test_which_fit_a_decision_promoted(serve, refit):
    decision = ChampionDecision.model_validate({
        "promoted": True, "reason": "better", "champion": "xgboost", "registry_version": "2",
        "previous_version": "1", "training_set": "0", "synthetic": False, "test_rmse": 4.5,
        "serve": serve, "served": f"{serve}: fitted on 2023-01",
    })  # fmt: skip
    assert decision.refit is refit
    assert decision.description == f"{serve}: fitted on 2023-01"


def test_a_decision():
    previous = {"model": "lasso", "version": "1", "test": FIGURES, "saw_judged_month": False}
    other = {"model": "lasso", "version": "3", "reason": "slow"}
    decision = ChampionDecision.model_validate({
        "promoted": True, "reason": "better", "champion": "xgboost", "registry_version": "2",
        "previous_version": "1", "training_set": "0", "synthetic": False, "test_rmse": 4.5,
        "served": "", "champion_before": previous, "unscored": "it is damaged",
        "started_because": "new: 2023-04", "other_challengers": [other], "carried_out": False,
    })  # fmt: skip
    assert decision.previous_champion is not None
    assert decision.previous_champion.model == "lasso"
    assert (decision.scoring_error, decision.trigger) == ("it is damaged", "new: 2023-04")
    assert [candidate.version for candidate in decision.other_candidates] == ["3"]
    assert (decision.applied, decision.outcome) == (False, "pending")


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("beats_baselines", "beats_baselines"),
        ("better_by_paired_bootstrap", "significant_improvement"),
        ("champion_may_be_replaced", "same_dataset"),
        ("check: no_test_leakage", "check: no_test_leakage"),
        ("guarded_slice: borough/Queens", "slice_guardrail: borough/Queens"),
        ("on_equal_terms", "fair_comparison"),
        ("on_new_data", "newer_than_manual_override"),
        ("serving_speed", "latency"),
    ],
)
def test_the_name_of_a_criterion(former, present):
    stored = {"name": former, "passed": True, "finding": "better"}
    assert Criterion.model_validate(stored).name == present


def test_a_backtest():
    record = BacktestRecord.model_validate({
        "dataset": "green", "synthetic": False, "train_months": 3, "most_rows": 100,
        "champion": None, "entries": [], "skipped": [], "left": ["2023-05"], "computed": 4,
    })  # fmt: skip
    assert (record.max_rows, record.pending_months) == (100, ["2023-05"])
    assert record.computed_entries == 4


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("nothing_serves", "no_champion"),
        ("other_dataset", "dataset_mismatch"),
        ("unscorable", "scoring_failed"),
        ("measured", "measured"),
    ],
)
def test_the_status_of_a_measurement(former, present):
    dataset = {"dataset": "green", "synthetic": False, "status": former}
    assert DriftRecord.model_validate(dataset).status == present
    assert PerformanceRecord.model_validate(dataset).status == present


def test_dropped_answers_of_a_day():
    assert DayFaults.model_validate({"lost": 3, "unreadable": 1}).dropped == 3


def test_the_fingerprint_of_a_bundle():
    facts = {"version": "7", "known_minutes": [1.5], "fitted_on": ["2023-01"]}
    stored = {"facts": facts, "source": "s", "sha256": "a", "known_minutes": [1.5]}
    record = BundleRecord.model_validate(stored)
    assert record.fingerprint == (1.5,)
    assert record.facts.training_months == ("2023-01",)


def test_the_tags_of_a_registered_version():
    tags = {
        "model": "xgboost",
        "fitted_on": "2023-01,2023-02",
        "tuned_on": "2023-02",
        "judged_month": "2023-03",
        "known_minutes": "[1.5, 2.25]",
        "hold": '{"kind": "override", "reason": "r", "judged_month": "", "raw_sha256": ""}',
        "replaces": "6",
    }
    version = SimpleNamespace(version=7, run_id="r", source="models:/m-1", tags=tags)
    read = ModelVersion.from_mlflow(version)
    assert read.training_months == ("2023-01", "2023-02")
    assert (read.validation_months, read.test_month) == (("2023-02",), "2023-03")
    assert (read.fingerprint, read.replaced_version) == ((1.5, 2.25), "6")
    assert read.manual_override is not None
    assert read.manual_override.kind == "override"
    assert all_names("manual_override") == ["manual_override", "hold"]
    version.tags = tags | {"test_month": "2023-04"}
    assert ModelVersion.from_mlflow(version).test_month == "2023-04", "the present name counts"
