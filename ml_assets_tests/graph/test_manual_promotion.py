"""Manual promotion: rollback and override, their records, and their protection."""

import json

import dagster as dg
import mlflow
import pytest

from ml_assets.cli.instance import dagster_home
from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.records import Leaderboard
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.registry.registry import CHAMPION, PREVIOUS, Registry
from ml_assets.storage.record_store import RecordStore
from ml_assets.trips.month import Month
from ml_assets_tests.cli.calling import call
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

NAME = "taxi-trip-duration"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Published trips; the best of two models is champion, after one with a large error in its tags."""
    home, trips = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("published")
    for number in (1, 2, 3, 4):
        publish(trips, Month(2023, number), published_month(Month(2023, number), rows=2000))
    with open_project(settings_for(home, trips)) as project:
        assert project.ingest("2023-01", "2023-03").success
        assert project.train(("linear_regression", "lasso")).success
        yield project


def client(project):
    uri = project.settings.tracking_uri
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return mlflow.MlflowClient(uri, registry_uri=uri)


@pytest.fixture
def two(project):
    """Versions of the previous champion and of the champion."""
    registry = Registry.of(project.settings)
    for alias in (CHAMPION, PREVIOUS):
        registry.client.delete_registered_model_alias(NAME, alias)
    records = RecordStore(project.settings.home, "green")
    best, second = records.read("model_leaderboard", Leaderboard).models
    tags = {"model": second.model, "dataset": "green", "training_months": "2023-01,2023-02",
            "synthetic": "false"}  # fmt: skip
    assert second.model_uri and second.mlflow_run_id
    old = registry.register(second.model_uri, second.mlflow_run_id, tags)
    registry.client.set_registered_model_alias(NAME, CHAMPION, old)
    tags = {**tags, "model": best.model}
    assert best.model_uri and best.mlflow_run_id
    new = registry.register(best.model_uri, best.mlflow_run_id, tags)
    registry.client.set_registered_model_alias(NAME, PREVIOUS, old)
    registry.client.set_registered_model_alias(NAME, CHAMPION, new)
    return old, new


def rollback(project, **config):
    steps = {"rollback": {"config": {"reason": "errs at night", **config}}}
    return project.run("rollback_champion", steps)


def promote(project, version, reason="I know"):
    steps = {"promote": {"config": {"version": version, "reason": reason}}}
    return project.run("promote_version", steps)


def decide(project):
    assert project.run("train_models", selection=["champion_model"]).success
    return log(project).all()[-1]


def log(project):
    return DecisionLog(project.settings.home, "green")


def serving(project, alias=CHAMPION):
    return str(client(project).get_model_version_by_alias(NAME, alias).version)


def failure_message(result):
    failures = result.filter_events(lambda event: event.is_step_failure)
    return " ".join(str(event.step_failure_data.error) for event in failures)


def test_a_rollback_promotes_the_previous_champion_and_is_recorded(project, two):
    old, new = two
    assert rollback(project).success
    assert (serving(project), serving(project, PREVIOUS)) == (old, new)
    found = log(project).all()[-1]
    assert (found.kind, found.outcome, found.applied) == ("rollback", "rolled back", True)
    assert (found.registry_version, found.previous_version) == (old, new)
    assert "errs at night" in found.reason
    shown = project.metadata("champion_model")
    assert shown["decision"] == "rolled back"
    assert shown["registry_version"] == old
    version = client(project).get_model_version(NAME, old)
    assert version.tags["decision_id"] == found.decision_id
    assert "**rollback** on " in version.description
    assert json.loads(version.tags["manual_override"])["test_month"] == "2023-03"


def test_a_rollback_is_not_undone_by_a_decision_on_the_same_data(project, two):
    old, _ = two
    assert rollback(project).success
    found = decide(project)
    assert not found.promoted
    assert serving(project) == old
    assert "newer_than_manual_override" in [c.name for c in found.criteria if not c.passed]
    assert "rollback: errs at night" in found.reason


def test_a_rollback_to_a_version_and_an_override_of_it(project, two):
    old, new = two
    assert rollback(project, version=old).success
    assert serving(project) == old
    assert promote(project, new).success
    assert serving(project) == new
    found = log(project).all()[-1]
    assert (found.kind, found.trigger) == ("override", "I know")


@pytest.mark.parametrize(
    ("attempt", "answer"),
    [
        (lambda project, two: rollback(project, version="99"), "has no version 99: choose one of"),
        (lambda project, two: promote(project, two[1]), "serves already"),
        (lambda project, two: promote(project, two[0], reason=" "), "a reason is needed"),
    ],
)
def test_an_impossible_promotion_fails_with_a_reason_and_changes_nothing(
    project, two, attempt, answer
):
    before = len(log(project).all())
    result = attempt(project, two)
    assert not result.success
    assert answer in failure_message(result)
    assert serving(project) == two[1]
    assert len(log(project).all()) == before


@pytest.mark.parametrize("by", ["rollback", "override"])
def test_a_model_of_another_dataset_is_not_promoted(project, two, by):
    old, new = two
    client(project).set_model_version_tag(NAME, old, "dataset", "sample_green")
    result = rollback(project) if by == "rollback" else promote(project, old)
    assert not result.success
    assert "was trained on sample_green, not on green: choose one of" in failure_message(result)
    assert f"{new} (linear_regression)" in failure_message(
        result
    ) or f"{new} (lasso)" in failure_message(result)
    assert f"{old} (" not in failure_message(result).partition("choose one of")[2]
    assert serving(project) == new


@pytest.mark.parametrize("by", ["rollback", "override"])
def test_a_champion_of_published_trips_is_not_replaced_from_a_shell_with_another_dataset(
    project, two, by
):
    """Without ML_ASSETS_TRIPS the dataset is the sample, whose models must not replace it."""
    old, new = two
    client(project).set_model_version_tag(NAME, new, "dataset", "yellow")
    client(project).set_model_version_tag(NAME, new, "synthetic", "false")
    result = rollback(project) if by == "rollback" else promote(project, old)
    assert not result.success
    assert "was trained on yellow, and the current settings" in failure_message(result)
    assert "set ML_ASSETS_TRIPS and ML_ASSETS_TAXI" in failure_message(result)
    assert serving(project) == new


def test_without_a_previous_champion_a_rollback_fails(project, two):
    client(project).delete_registered_model_alias(NAME, PREVIOUS)
    result = rollback(project)
    assert not result.success
    assert f"no version served before version {two[1]}" in failure_message(result)


def test_the_only_version_is_not_offered_instead_of_itself(project, two):
    client(project).delete_registered_model_alias(NAME, PREVIOUS)
    for entry in client(project).search_model_versions(f"name='{NAME}'"):
        if str(entry.version) != str(two[1]):
            client(project).delete_model_version(NAME, entry.version)
    result = rollback(project)
    assert not result.success
    assert (
        f"nothing to roll back to: version {two[1]} of {NAME} is the only one"
        in failure_message(result)
    )
    assert "choose one of" not in failure_message(result)
    assert serving(project) == two[1]


def test_a_version_with_another_fingerprint_is_not_promoted(project, two):
    old, new = two
    answers = json.dumps([1.0] * 6)
    client(project).set_model_version_tag(NAME, old, "fingerprint", answers)
    result = rollback(project)
    assert not result.success
    assert "the code has changed since" in failure_message(result)
    assert serving(project) == new


def test_a_champion_with_another_fingerprint_is_not_scored_and_the_baselines_decide(project, two):
    old, _ = two
    client(project).set_registered_model_alias(NAME, CHAMPION, old)
    client(project).set_model_version_tag(NAME, old, "fingerprint", json.dumps([1.0] * 6))
    found = decide(project)
    assert found.promoted
    assert "can no longer be scored" in found.reason
    assert "so the baselines decide" in found.reason
    assert found.scoring_error.startswith("PredictionsChanged: the code has changed since")


def test_a_later_month_ends_the_protection(project, two):
    assert rollback(project).success
    assert project.ingest("2023-04", "2023-04").success
    assert project.train(("linear_regression", "lasso")).success
    found = log(project).all()[-1]
    by_name = {criterion.name: criterion for criterion in found.criteria}
    assert by_name["newer_than_manual_override"].passed
    assert found.test_month == "2023-04"
    assert "significant_improvement" in by_name


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["promote", "99", "--reason", "better"], "has no version 99: choose one of"),
        (["rollback", "99"], "has no version 99: choose one of"),
    ],
)
def test_a_refused_command_leaves_no_run(
    project, two, monkeypatch, capfd, tmp_path, arguments, answer
):
    environment = {"ML_ASSETS_HOME": project.settings.home, "ML_ASSETS_TRIPS": project.settings.trips,
                   "DAGSTER_HOME": tmp_path / "dagster"}  # fmt: skip
    result = call(monkeypatch, capfd, arguments, environment)
    assert (result.status, result.out) == (1, "")
    assert answer in result.err
    with dg.DagsterInstance.from_config(str(dagster_home(project.settings))) as instance:
        assert instance.get_runs() == []
    assert serving(project) == two[1]


def test_the_commands_list_and_show_decisions(project, two, monkeypatch, capsys):
    assert rollback(project).success
    environment = {
        "ML_ASSETS_HOME": project.settings.home,
        "ML_ASSETS_TRIPS": project.settings.trips,
    }
    listed = call(monkeypatch, capsys, ["decisions", "--limit", "1"], environment)
    assert listed.status == 0
    assert "rolled back" in listed.out
    assert "errs at night" in listed.out
    result = call(monkeypatch, capsys, ["decisions", "--json"], environment)
    made = [ChampionDecision(**entry) for entry in json.loads(result.out)["decisions"]]
    assert made == log(project).all()[::-1][:20]
    training = next(decision for decision in made if decision.kind == "training")
    whole = call(monkeypatch, capsys, ["decisions", training.decision_id], environment)
    assert all(criterion.finding in whole.out for criterion in training.criteria)
    assert "processor time" in whole.out
    by_hand = call(monkeypatch, capsys, ["decisions", made[0].decision_id], environment)
    assert "rolled back" in by_hand.out
    assert "challenger" not in by_hand.out  # there was no candidate
    board = call(monkeypatch, capsys, ["leaderboard"], environment)
    assert f"version {two[0]} (rolled back): rolled back from" in board.out
    wrong = call(monkeypatch, capsys, ["decisions", "zzz"], environment)
    assert wrong.status == 2
    assert "the newest are" in wrong.err


def test_without_a_decision_the_command_says_what_to_do(tmp_path, monkeypatch, capsys):
    answer = call(monkeypatch, capsys, ["decisions"], {"ML_ASSETS_HOME": tmp_path})
    assert answer.status == 1
    assert "train first" in answer.err
