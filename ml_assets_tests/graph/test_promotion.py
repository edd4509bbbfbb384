"""Promotion in the graph: only a version that loads and predicts as evaluated is promoted."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import mlflow
import numpy as np
import pandas as pd
import pytest

from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.records import Leaderboard, ModelRecord, TrainingSet, weighted_rmse
from ml_assets.monitoring.online.records import OnlineRecord
from ml_assets.monitoring.performance.records import PerformanceRecord
from ml_assets.pipeline.background_sample import get_background_sample
from ml_assets.pipeline.conformal_intervals import interval_bounds, seen_pairs
from ml_assets.pipeline.features import RequestFeatures
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.promote import PromotionOptions, promote_best
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.registry import CHAMPION, PREVIOUS, Registry
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.training_set import load_trips
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.project import Project, open_project, settings_for

NAME = "taxi-trip-duration"
MODELS = ("linear_regression", "linear_svr")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Iterator[Project]:
    """Three sample months, two families."""
    with open_project(settings_for(tmp_path_factory.mktemp("home"))) as project:
        assert project.ingest("2023-01", "2023-03").success
        assert project.train(MODELS).success
        yield project


@pytest.fixture
def project(trained) -> Iterator[Project]:
    """The project without a champion, its leaderboard restored afterwards."""
    for alias in (CHAMPION, PREVIOUS):
        client(trained).delete_registered_model_alias(NAME, alias)
    path = Path(records(trained).path("model_leaderboard"))
    content = path.read_text()
    yield trained
    path.write_text(content)


def records(project: Project) -> RecordStore:
    return RecordStore(project.settings.home, "sample_green")


def client(project: Project) -> mlflow.MlflowClient:
    uri = project.settings.tracking_uri
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(uri, registry_uri=uri)


def board(project: Project) -> Leaderboard:
    return records(project).read("model_leaderboard", Leaderboard)


def decision(project: Project) -> ChampionDecision:
    made = DecisionLog(project.settings.home, "sample_green").newest()
    assert made is not None
    return made


def decide(project: Project, **config: object) -> dg.ExecuteInProcessResult:
    steps = {"champion_model": {"config": config}}
    return project.run("train_models", steps, ["champion_model"])


def make_champion(project: Project, row: ModelRecord) -> str:
    """Promote a model of the leaderboard without a decision."""
    tags = {"model": row.model, "dataset": "sample_green", "synthetic": "true",
            "training_months": "2023-01,2023-02"}  # fmt: skip
    registry = Registry.of(project.settings)
    version = registry.register(row.model_uri or "", row.mlflow_run_id or "", tags)
    registry.client.set_registered_model_alias(NAME, CHAMPION, version)
    return version


def serving(project: Project, alias: str = CHAMPION) -> str:
    return str(client(project).get_model_version_by_alias(NAME, alias).version)


def errors(run: dg.ExecuteInProcessResult) -> str:
    failures = run.filter_events(lambda event: event.is_step_failure)
    return " ".join(str(event.step_failure_data.error) for event in failures)


def test_the_previous_champion_has_the_alias_previous(project):
    best, second = board(project).models
    old = make_champion(project, second)
    assert decide(project).success
    found = decision(project)
    assert (found.promoted, found.champion, found.previous_version) == (True, best.model, old)
    assert found.reason.startswith("better than the champion (")
    shown = {criterion.name for criterion in found.criteria}
    assert {"beats_baselines", "significant_improvement", "latency"} <= shown
    assert "slice_guardrail: borough/Queens" in shown
    assert {"mode_guardrail: stated", "mode_guardrail: usual"} <= shown
    assert all(criterion.passed for criterion in found.criteria)
    assert serving(project) == found.registry_version != old
    assert serving(project, PREVIOUS) == old


def test_the_previous_champion_is_scored_on_the_test_month(project):
    _, second = board(project).models
    old = make_champion(project, second)
    assert decide(project).success
    before = decision(project).previous_champion
    assert (before.model, before.version, before.trained_on_test_month) == (
        second.model,
        old,
        False,
    )
    assert before.test.rmse == pytest.approx(second.test.rmse)
    assert before.usual.rmse == pytest.approx(second.usual.test.rmse)
    watched = measured_performance(project)
    [score] = [entry for entry in watched.scores if entry.version == old]
    assert (score.month, score.trips, score.rmse) == ("2023-03", second.test.rows, before.test.rmse)
    [tested] = [s for s in watched.scores_of(watched.champion) if s.month == "2023-03"]
    assert score.relative_error / tested.relative_error == pytest.approx(score.rmse / tested.rmse)


LOGGED = OnlineRecord(
    dataset="sample_green", synthetic=True, first="2026-11-01", window_answers=4000,
    window_stated=1000,
)  # fmt: skip
"""A quarter of the logged requests state their distance."""


def test_errors_are_weighted_by_the_share_of_logged_requests_that_state_a_distance(project):
    best, second = board(project).models
    make_champion(project, second)
    records(project).write("request_log_metrics", LOGGED)
    try:
        assert decide(project).success
    finally:
        Path(records(project).path("request_log_metrics")).unlink()
    found = decision(project)
    assert (found.share_stated, found.share_source) == (
        0.25,
        "4,000 logged requests since 2026-11-01",
    )
    by_name = {criterion.name: criterion for criterion in found.criteria}
    assert by_name["beats_baselines"].value == pytest.approx(best.request_rmse(0.25))
    weighted = f"{best.model} {best.request_rmse(0.25):.3f} against {second.request_rmse(0.25):.3f}"
    assert by_name["significant_improvement"].finding.startswith(weighted)
    shown = project.metadata("champion_model")
    assert shown["requests"] == (
        "25% of requests state their distance (4,000 logged requests since 2026-11-01)"
    )
    assert shown["requests"] in shown["summary"]
    described = client(project).get_model_version(NAME, serving(project)).description
    assert shown["requests"] in described


def test_monitoring_weighs_errors_by_the_share_in_the_config_that_decided_on_the_champion(project):
    records(project).write("request_log_metrics", LOGGED)
    try:
        assert decide(project, share_stated=0.9).success
        found = decision(project)
        assert (found.share_source, found.share_configured) == (
            "set in champion_model's config",
            True,
        )
        monitored = measured_performance(project)
        champion = monitored.champion
        [reference] = [s for s in monitored.scores_of(champion) if s.month == found.test_month]
        assert monitored.reference_error(champion) == pytest.approx(
            weighted_rmse(reference.relative_error, reference.relative_error_usual, 0.9)
        )
        assert project.metadata("prediction_performance")["share_stated"] == 0.9
        assert decide(project).success
        assert not decision(project).promoted
        assert measured_performance(project).share_stated == 0.25
    finally:
        Path(records(project).path("request_log_metrics")).unlink()


def measured_performance(project: Project) -> PerformanceRecord:
    """Measure the champion's error and return the record."""
    assert project.run("run_monitoring", selection=["prediction_performance"]).success
    return records(project).read("prediction_performance", PerformanceRecord)


def test_a_champion_without_artifacts_is_replaced_with_the_reason_on_record(project):
    best, second = board(project).models
    version = make_champion(project, second)
    run = client(project).get_run(second.mlflow_run_id or "")
    logged = Path(run.info.artifact_uri).parent.parent / "models"
    model_id = (second.model_uri or "").rpartition("/")[2]
    kept = logged / f"{model_id}.kept"
    shutil.move(logged / model_id, kept)
    try:
        result = decide(project)
    finally:
        shutil.move(kept, logged / model_id)
    assert result.success
    found = decision(project)
    assert (found.promoted, found.champion) == (True, best.model)
    assert f"version {version}) can no longer be scored on 2023-03 (" in found.reason
    assert found.scoring_error
    assert found.scoring_error in found.reason
    assert project.metadata("champion_model")["scoring_error"] == found.scoring_error
    figures_shown = [
        entry.user_message
        for entry in project.instance.all_logs(result.run_id)
        if entry.level == 30 and "can no longer be scored" in entry.user_message
    ]
    assert len(figures_shown) == 1


def test_a_version_that_predicts_differently_is_not_promoted(project):
    best, second = board(project).models
    old = make_champion(project, second)
    swapped = best.model_copy(update={"model_uri": second.model_uri})
    evaluated = board(project)
    rows = [swapped if row.model == best.model else row for row in evaluated.rows]
    records(project).write("model_leaderboard", evaluated.model_copy(update={"rows": rows}))
    assert decide(project).success
    found = decision(project)
    assert not found.promoted
    assert "check: serialization_round_trip" in found.reason
    assert "the predictions differ" in found.reason
    assert serving(project) == old
    newest = max(client(project).search_model_versions(f"name='{NAME}'"), key=lambda v: v.version)
    assert newest.tags["decision_id"] == found.decision_id
    assert "**refused** on " in newest.description
    assert "the predictions differ" in newest.description
    assert "challenger" not in newest.aliases  # it must not be tried


def test_a_version_that_cannot_be_loaded_is_not_promoted(project):
    best, second = board(project).models
    old = make_champion(project, second)
    run = client(project).get_run(best.mlflow_run_id or "")
    model_id = (best.model_uri or "").rpartition("/")[2]
    logged = Path(run.info.artifact_uri).parent.parent / "models" / model_id
    shutil.move(logged, logged.with_suffix(".kept"))
    try:
        result = decide(project)
    finally:
        shutil.move(logged.with_suffix(".kept"), logged)
    assert result.success
    assert "cannot be loaded and used" in decision(project).reason
    assert decision(project).other_candidates == []  # the second serves already
    assert serving(project) == old
    client(project).delete_registered_model_alias(NAME, CHAMPION)
    shutil.move(logged, logged.with_suffix(".kept"))
    try:
        alone = decide(project)
    finally:
        shutil.move(logged.with_suffix(".kept"), logged)
    assert alone.success  # the second best is evaluated without a champion to beat
    assert (decision(project).promoted, decision(project).champion) == (True, second.model)


def test_the_second_best_is_evaluated_when_the_best_is_not_servable(project):
    best, second = board(project).models
    faulty = best.model_copy(update={"training_months": [*best.training_months, "2023-03"]})
    found = board(project)
    rows = [faulty if row.model == best.model else row for row in found.rows]
    records(project).write("model_leaderboard", found.model_copy(update={"rows": rows}))
    assert decide(project).success
    made = decision(project)
    assert (made.promoted, made.champion, made.challenger) == (True, second.model, second.model)
    [other] = made.other_candidates
    assert other.model == best.model
    assert "no_test_leakage" in other.reason
    assert f"Rejected before it: {best.model} (" in made.reason
    assert made.registry_version == serving(project)
    assert other.version is not None
    refused = client(project).get_model_version(NAME, other.version)
    assert refused.tags["decision_id"] == made.decision_id
    assert "**refused** on " in refused.description
    assert "no_test_leakage" in refused.description
    assert refused.aliases == []
    shown = project.metadata("champion_model")["other_candidates"].records
    assert [entry.data["candidate"] for entry in shown] == [
        f"{best.model}, version {other.version}"
    ]


def test_a_best_model_missing_from_mlflow_is_named_and_the_next_is_evaluated(project):
    best, second = board(project).models
    gone = best.model_copy(update={"model_uri": f"models:/m-{'0' * 32}"})
    found = board(project)
    rows = [gone if row.model == best.model else row for row in found.rows]
    records(project).write("model_leaderboard", found.model_copy(update={"rows": rows}))
    result = decide(project)
    assert result.success, errors(result)
    made = decision(project)
    assert (made.promoted, made.champion) == (True, second.model)
    [other] = made.other_candidates
    assert other.version is None
    assert "it was logged to another store, or deleted. Materialize the model again" in other.reason


def test_without_a_servable_candidate_none_is_promoted_and_the_best_is_recorded(project):
    found = board(project)
    rows = [
        row.model_copy(update={"training_months": [*row.training_months, "2023-03"]})
        if row.kind == "model" else row
        for row in found.rows
    ]  # fmt: skip
    records(project).write("model_leaderboard", found.model_copy(update={"rows": rows}))
    result = decide(project)
    assert not result.success
    assert "no champion" in errors(result)
    made = decision(project)
    best, second = found.models
    assert (made.promoted, made.challenger) == (False, best.model)
    assert [other.model for other in made.other_candidates] == [second.model]
    assert "Rejected after it" in made.reason


def test_a_best_model_with_leakage_is_rejected_on_record(project):
    best, second = board(project).models
    old = make_champion(project, second)
    leaking = best.model_copy(update={"training_months": [*best.training_months, "2023-03"]})
    found = board(project)
    rows = [leaking if row.model == best.model else row for row in found.rows]
    records(project).write("model_leaderboard", found.model_copy(update={"rows": rows}))
    assert decide(project).success
    made = decision(project)
    assert not made.promoted
    assert "no_test_leakage: it was fitted or tuned on 2023-03" in made.reason
    assert serving(project) == old


def test_a_registry_failure_while_the_alias_moves_keeps_the_old_champion(project, monkeypatch):
    _, second = board(project).models
    old = make_champion(project, second)
    give = mlflow.MlflowClient.set_registered_model_alias

    def give_but_to_champions(self, name, alias, version):
        if alias == CHAMPION:
            raise mlflow.exceptions.MlflowException("connection refused")
        return give(self, name, alias, version)

    with monkeypatch.context() as gone:
        gone.setattr(mlflow.MlflowClient, "set_registered_model_alias", give_but_to_champions)
        result = decide(project)
    assert not result.success
    assert "connection refused" in errors(result)
    assert serving(project) == old
    log = DecisionLog(project.settings.home, "sample_green")
    broken_off = log.all()[-1]
    assert (broken_off.promoted, broken_off.applied) == (True, False)
    assert broken_off.outcome == "pending"
    assert decide(project).success
    assert serving(project) != old
    assert log.all()[-1].applied


def test_a_refit_on_all_months_is_promoted_on_request(project):
    best = board(project).models[0]
    assert decide(project, refit_on_all_months=True).success
    found = decision(project)
    assert (found.promoted, found.refit) == (True, True)
    assert found.description == (
        "refitted on all months: 2023-01, 2023-02, 2023-03; the figures are those of the fit before"
    )
    assert found.test_rmse == best.test.rmse
    version = client(project).get_model_version_by_alias(NAME, CHAMPION)
    assert version.tags["training_months"] == "2023-01,2023-02,2023-03"
    assert version.tags["description"] == found.description
    assert version.source != best.model_uri
    champion = load_pipeline(f"models:/{NAME}@{CHAMPION}")
    assert len(champion.named_steps) > 1
    assert best.model_uri is not None
    as_evaluated = interval_bounds(load_pipeline(best.model_uri), [5.0, 20.0])
    assert as_evaluated is not None
    np.testing.assert_array_equal(interval_bounds(champion, [5.0, 20.0]), as_evaluated)
    store, zones = TripStore(project.settings.home, "green", synthetic=True), REQUEST_COLUMNS[:2]
    march = store.read_table("trip_features", Month(2023, 3), list(zones))
    for pipeline, all_seen in ((champion, True), (load_pipeline(best.model_uri), False)):
        seen = seen_pairs(pipeline, *(march[name].to_numpy() for name in zones))
        assert seen is not None and seen.all() == all_seen
    typical = get_background_sample(champion)
    assert typical is not None
    months = set(typical.pickup_datetime.astype("datetime64[M]").astype(str))
    assert months == {"2023-01", "2023-02", "2023-03"}
    assert decide(project).success
    assert "is the best model of this training already" in decision(project).reason
    assert decision(project).refit


@pytest.mark.parametrize(
    ("refit", "fits"), [(False, 2), (True, 4)], ids=["as evaluated", "refitted"]
)
def test_the_best_model_is_loaded_once_and_encodes_the_test_month_once_for_both_modes(
    project, monkeypatch, refit, fits
):
    """The fits: champion, best model, and its refit, as fitted and as loaded."""
    _, second = board(project).models
    make_champion(project, second)
    training_set = records(project).read("training_set", TrainingSet)
    store = TripStore(project.settings.home, "green", synthetic=True)
    times = load_trips(store, training_set, "test")["pickup_datetime"].to_numpy()
    loaded, encoding = [], []
    load_model, transform = mlflow.sklearn.load_model, RequestFeatures.transform

    def loading(*given, **named):
        loaded.append(load_model(*given, **named))
        return loaded[-1]

    def encode(self, requests):
        if isinstance(requests, pd.DataFrame) and np.array_equal(
            requests["pickup_datetime"].to_numpy(), times
        ):
            encoding.append(self)
        return transform(self, requests)

    monkeypatch.setattr(mlflow.sklearn, "load_model", loading)
    monkeypatch.setattr(RequestFeatures, "transform", encode)
    made = promote_best(
        Registry.of(project.settings),
        board(project),
        training_set,
        store,
        DecisionLog(project.settings.home, "sample_green"),
        PromotionOptions(refit_on_all_months=refit),
    )
    assert made.promoted
    assert len(encoding) == len({id(features) for features in encoding}) == fits
    assert len(loaded) == fits - refit  # the refit is there before it is loaded


def test_the_champion_s_page_says_how_to_open_mlflow(project):
    assert decide(project).success
    shown = project.metadata("champion_model")
    assert shown["open_mlflow"] == (
        f"mlflow ui --backend-store-uri {project.settings.tracking_uri}"
    )
    assert shown["decision"] == "promoted"
    assert shown["reason"].startswith("there was no champion")
