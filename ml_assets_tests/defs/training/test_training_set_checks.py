"""Checks of the training set and of models in real runs, MLflow included."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from ml_assets.evaluation.model_checks import fit_time_within_budget, same_predictions
from ml_assets.evaluation.records import (
    Leaderboard,
    ModelRecord,
    MonthSplit,
    TrainingSet,
)
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.month_profiles import MonthProfiles
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.training_set_checks import no_split_overlap, zone_pair_coverage
from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import Verdict
from ml_assets_tests.project import Project, evaluations, open_project, settings_for

MODELS = ("linear_regression", "xgboost")
RECORDS = ("training_set", "linear_regression_model", "xgboost_model", "model_leaderboard")
ASSETS = (*RECORDS, "champion_model")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[tuple[Project, dg.ExecuteInProcessResult]]:
    """Three sample months, two models, and the run that trained them."""
    with open_project(settings_for(tmp_path_factory.mktemp("home"))) as project:
        assert project.ingest("2023-01", "2023-03").success
        yield project, project.train(MODELS)


@pytest.fixture
def project(made) -> Iterator[Project]:
    """The same project; records and decisions that a test changes are restored."""
    opened, _ = made
    decisions = Path(opened.settings.home, "decisions", "sample_green")
    paths = [*(Path(records(opened).path(name)) for name in RECORDS), *decisions.iterdir()]
    contents = [path.read_text() for path in paths]
    yield opened
    for path in decisions.iterdir():
        path.unlink()
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content)


def records(project: Project) -> RecordStore:
    return RecordStore(project.settings.home, "sample_green")


def log(project: Project) -> DecisionLog:
    return DecisionLog(project.settings.home, "sample_green")


def check_again(project: Project, *assets: str) -> dict[str, dg.AssetCheckEvaluation]:
    """Run only the checks of these assets and return those that did not pass."""
    return {name: found for name, found in project.run_checks(*assets).items() if not found.passed}


def change(project: Project, asset: str, kind: Any, **values: Any) -> None:
    records(project).write(asset, records(project).read(asset, kind).model_copy(update=values))


def use(month: str, role: Any) -> MonthSplit:
    return MonthSplit(month=month, role=role, rows=1, raw_sha256="", source="", code_version="")


def training_set_of(*uses: MonthSplit, caveat: str | None = None) -> TrainingSet:
    return TrainingSet(
        dataset="green", taxi="green", synthetic=False, months=list(uses), caveat=caveat, gaps=[],
        code_version="",
    )  # fmt: skip


def test_a_good_training_passes_every_check(made):
    _, run = made
    assert run.success
    found = evaluations(run)
    of_models = {f"{model}_model.{check}" for model in MODELS for check in (
        "better_than_baselines", "predictions_in_range", "serialization_round_trip",
        "no_test_leakage", "fit_time_within_budget", "interval_coverage",
    )}  # fmt: skip
    of_training_set = {f"training_set.{check}" for check in (
        "no_split_overlap", "inputs_unchanged", "no_leaky_features", "target_in_range",
        "zone_pair_coverage",
    )}  # fmt: skip
    assert set(found) == of_models | of_training_set | {
        "model_leaderboard.best_model_is_servable", "champion_model.champion_matches_evaluation",
        "champion_model.interval_coverage",
    }  # fmt: skip
    assert [name for name, result in found.items() if not result.passed] == []


def test_the_logged_model_predicts_bit_for_bit_like_the_fitted_one(made):
    _, run = made
    for model in MODELS:
        found = evaluations(run)[f"{model}_model.serialization_round_trip"]
        assert "bit for bit" in found.description


def test_checks_run_separately_have_the_same_results(project):
    assert check_again(project, *ASSETS) == {}


def test_a_swapped_model_is_detected_and_the_champion_stays(project):
    serving = log(project).newest().registry_version
    other = records(project).read("linear_regression_model", ModelRecord)
    change(project, "xgboost_model", ModelRecord, model_uri=other.model_uri)
    found = check_again(project, "xgboost_model", "model_leaderboard")
    assert found["xgboost_model.serialization_round_trip"].severity == dg.AssetCheckSeverity.ERROR
    assert "instead of" in found["xgboost_model.serialization_round_trip"].description
    assert found["model_leaderboard.best_model_is_servable"].severity == dg.AssetCheckSeverity.ERROR
    selection = ["model_leaderboard", "champion_model"]
    run = project.run("train_models", selection=selection)
    assert run.success
    decision = log(project).newest()
    assert (decision.promoted, decision.registry_version) == (False, serving)


def test_a_model_that_cannot_be_loaded_fails_its_checks_only(project):
    change(project, "linear_regression_model", ModelRecord, model_uri="models:/m-gone")
    found = check_again(project, "linear_regression_model")
    assert set(found) == {
        "linear_regression_model.predictions_in_range",
        "linear_regression_model.serialization_round_trip",
    }
    assert "materialize the model again" in next(iter(found.values())).description


def test_a_model_of_another_training_set_is_stale(project):
    change(project, "xgboost_model", ModelRecord, training_set="another")
    found = check_again(project, "xgboost_model")
    assert {result.severity for result in found.values()} == {dg.AssetCheckSeverity.WARN}
    assert "not trained on the current training set" in next(iter(found.values())).description


def test_a_model_that_beats_no_baseline_warns_and_may_not_serve(project):
    board = records(project).read("model_leaderboard", Leaderboard)
    poor = board.rows[-1].test.model_copy(update={"rmse": 99.0})
    change(project, "xgboost_model", ModelRecord, test=poor)
    found = check_again(project, "xgboost_model", "model_leaderboard")
    assert found["xgboost_model.better_than_baselines"].severity == dg.AssetCheckSeverity.WARN
    assert found["model_leaderboard.best_model_is_servable"].severity == dg.AssetCheckSeverity.ERROR


def test_without_a_leaderboard_the_baselines_are_measured(project):
    change(project, "model_leaderboard", Leaderboard, training_set="another")
    assert check_again(project, "xgboost_model") == {}


def test_a_champion_other_than_the_evaluated_model_is_detected(project):
    log(project).write(log(project).newest().model_copy(update={"champion": "linear_regression"}))
    found = check_again(project, "champion_model")
    assert set(found) == {"champion_model.champion_matches_evaluation"}


def test_replaced_months_are_detected(project):
    described = records(project).read("training_set", TrainingSet)
    changed = [month.model_copy(update={"rows": 1}) for month in described.months]
    change(project, "training_set", TrainingSet, months=changed)
    found = check_again(project, "training_set")
    assert set(found) == {"training_set.inputs_unchanged"}
    assert "replaced since" in found["training_set.inputs_unchanged"].description


def test_months_out_of_order_are_detected(project):
    described = records(project).read("training_set", TrainingSet)
    roles = ("test", "validation", "train")
    reversed_roles = [
        month.model_copy(update={"role": role})
        for month, role in zip(described.months, roles, strict=True)
    ]
    change(project, "training_set", TrainingSet, months=reversed_roles)
    found = check_again(project, "training_set")
    assert found["training_set.no_split_overlap"].severity == dg.AssetCheckSeverity.ERROR


@pytest.mark.parametrize(
    "uses",
    [
        [use("2023-01", "train"), use("2023-01", "validation"), use("2023-02", "test")],
        [use("2023-01", "train"), use("2023-03", "validation"), use("2023-02", "test")],
        [use("2023-03", "train"), use("2023-03", "validation"), use("2023-03", "test")],
        [use("2023-01", "train"), use("2023-02", "validation"), use("2023-02", "test")],
        [use("2023-01", "train"), use("2023-02", "test")],
    ],
    ids=["shared", "out of order", "all in one", "validation is test, no caveat", "no validation"],
)
def test_overlapping_roles_fail(uses):
    assert no_split_overlap(training_set_of(*uses)).verdict == Verdict.FAIL


def test_two_months_are_allowed_with_a_caveat():
    uses = [use("2023-01", "train"), use("2023-02", "validation"), use("2023-02", "test")]
    found = no_split_overlap(training_set_of(*uses, caveat="optimistic"))
    assert found.verdict < Verdict.WARN
    assert "optimistic" in found.sentence


def test_predictions_may_differ_in_the_last_bits_only(project):
    record = records(project).read("xgboost_model", ModelRecord)
    actual = np.linspace(1, 60, record.test.rows)
    from ml_assets.evaluation.metrics import measure

    predicted = actual + np.sin(actual)
    figures = measure(actual, predicted)
    record = record.model_copy(update={"test": figures, "predictions_sha256": "of other bits"})
    nearly = same_predictions(record, np.nextafter(predicted, 0), actual)
    assert nearly.verdict == Verdict.PASS
    assert "last bits" in nearly.sentence
    assert same_predictions(record, predicted + 1e-4, actual).verdict == Verdict.FAIL
    assert same_predictions(record, predicted * np.nan, actual).verdict == Verdict.FAIL


def test_a_fit_over_its_budget_warns(project):
    record = records(project).read("xgboost_model", ModelRecord)
    slow = record.model_copy(update={"fit_cpu_seconds": 3600.0})
    assert fit_time_within_budget(record, 10_000).verdict == Verdict.PASS
    assert fit_time_within_budget(slow, 10_000).verdict == Verdict.WARN


def test_test_trips_of_unseen_zone_pairs_warn(project):
    store = TripStore(project.settings.home, "green", synthetic=True)
    first, second = MonthProfiles(store).of_stored([Month(2023, 1), Month(2023, 2)])
    assert zone_pair_coverage([first], [second]).verdict == Verdict.PASS
    assert zone_pair_coverage([], [second]).verdict == Verdict.WARN
