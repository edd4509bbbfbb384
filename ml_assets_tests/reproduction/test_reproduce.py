"""A registered version is fitted again, and whatever keeps it from being the same is named."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ml_assets.config.settings import REGISTERED_MODEL
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.log_training import this_environment
from ml_assets.registry.registry import Registry
from ml_assets.reproduction import ReproductionError, UnknownVersion
from ml_assets.reproduction.reproduce import (
    champion_parameters_of,
    load_training_record,
    reproduce,
    threads_of,
)
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets_tests.cli.calling import call
from ml_assets_tests.project import Project, open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

FAMILIES = ("xgboost", "linear_svr", "random_forest")
MODULE = "ml_assets.reproduction.reproduce"
MONTHS = [Month(2023, number) for number in range(1, 5)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[tuple[Project, dict[str, str], Path]]:
    """Four small months, and a version in the registry for each way to train."""
    folder = tmp_path_factory.mktemp("trips")
    for month in MONTHS:
        publish(folder, month, published_month(month, 400))
    with open_project(settings_for(tmp_path_factory.mktemp("home"), folder)) as project:
        assert project.ingest("2023-01", "2023-04").success
        # The first model there is gets the place, so that this one is fitted on all months, too.
        refitted = {"refit_on_all_months": True}
        of_sample = {"trials": 1, "max_rows": "1000"}
        versions = {"refitted": trained(project, "xgboost", of_sample, refitted)}
        for family in FAMILIES:
            versions[family] = trained(project, family, {"trials": 2, "seed": 7})
        versions["no refit on validation"] = trained(
            project, "xgboost", {"trials": 1, "refit_on_validation": False}
        )
        versions["a sample of the rows"] = trained(
            project, "extra_trees", {"trials": 0, "max_rows": "1000"}
        )
        yield project, versions, folder


def trained(project, family, config, champion=None) -> str:
    """Train one family, and tell the version that its model got in the registry."""
    configs = {"champion_model": champion} if champion else {}
    for other in Path(project.settings.home).glob("*_model/green.json"):
        other.unlink()  # the leaderboard's winner is registered: here, the only one on it
    run = project.train((family,), **{f"{family}_model": config}, **configs)
    assert run.success
    found = client(project).search_model_versions(f"name='{REGISTERED_MODEL}'")
    newest = max(found, key=lambda version: int(version.version))
    assert newest.tags["model"] == family
    return str(newest.version)


def client(project):
    import mlflow

    mlflow.set_tracking_uri(project.settings.tracking_uri)
    return mlflow.MlflowClient()


def store_of(project) -> TripStore:
    return TripStore(project.settings.home, "green", project.settings.synthetic)


def again(project, version, **options):
    return reproduce(Registry.of(project.settings), version, store_of(project), **options)


@pytest.mark.parametrize("way", [*FAMILIES, "no refit on validation"])
def test_a_version_fitted_again_predicts_the_same(made, way):
    project, versions, _ = made
    found = again(project, versions[way])
    assert found.verdict == "identical", found.sentence
    assert found.largest_difference == 0 == found.beyond_tolerance
    assert found.rmse_recorded == found.rmse_reproduced
    assert found.rmse_usual_recorded == found.rmse_usual_reproduced > found.rmse_recorded
    assert found.differences == []
    expected = ["2023-01", "2023-02", "2023-03"][: 2 if way == "no refit on validation" else 3]
    assert found.training_months == expected
    assert (found.test_month, found.requests) == ("2023-04", 400)


def test_one_fitted_on_a_sample_is_fitted_again_on_the_same_rows(made):
    project, versions, _ = made
    version = versions["a sample of the rows"]
    rows = load_training_record(Registry.of(project.settings), version).rows
    assert rows is not None
    assert (rows.fitted, rows.available) == (1_000, 1_200)
    found = again(project, version)
    assert found.verdict == "identical", found.sentence

    def drawn_otherwise(content):
        content["record"]["rows"]["max_rows"] += 1
        return content

    with changed_record(project, version, drawn_otherwise):
        assert again(project, version).verdict == "differs"


def test_one_that_serves_the_fit_on_all_months_is_fitted_on_all_of_them(made):
    project, versions, _ = made
    recorded = load_training_record(Registry.of(project.settings), versions["refitted"])
    assert recorded.version.refit
    tables = load_pipeline(recorded.uri)[-2].tables_
    assert round(float(np.expm1(tables.log_pair_trips, dtype=float).sum())) == 1_600
    found = again(project, versions["refitted"])
    assert found.training_months == ["2023-01", "2023-02", "2023-03", "2023-04"]
    assert found.verdict == "identical", found.sentence


def test_early_stopped_rounds_are_among_what_is_recorded(made):
    project, versions, _ = made
    recorded = load_training_record(Registry.of(project.settings), versions["xgboost"])
    registered = load_pipeline(recorded.uri)
    rounds = registered["model"].regressor_.get_booster().num_boosted_rounds()
    assert recorded.parameters["n_estimators"] == rounds
    rounds = registered["model"].without_distance_.get_booster().num_boosted_rounds()
    assert recorded.parameters["n_estimators_without_distance"] == rounds
    assert recorded.seed == 7
    assert recorded.environment == this_environment()
    assert threads_of(registered) == this_environment().cores


@pytest.mark.parametrize("way", FAMILIES)
def test_another_number_of_threads_stays_within_the_tolerance(made, way, monkeypatch):
    project, versions, _ = made
    threads = threads_of(load_pipeline(f"models:/{REGISTERED_MODEL}/{versions[way]}"))
    monkeypatch.setattr(f"{MODULE}.threads_of", lambda _: 1 if threads > 1 else 2)
    assert again(project, versions[way]).verdict in ("identical", "within tolerance")


@contextmanager
def changed_record(project, version, change):
    """The file that keeps the model's record, with another content for a while; None: gone."""
    run = client(project).get_run(
        client(project).get_model_version(REGISTERED_MODEL, version).run_id
    )
    file = Path(run.info.artifact_uri.removeprefix("file://")) / "model_record.json"
    kept = file.read_text()
    content = change(json.loads(kept))
    file.unlink() if content is None else file.write_text(json.dumps(content))
    try:
        yield
    finally:
        file.write_text(kept)


@pytest.mark.parametrize("way", FAMILIES)
def test_a_version_from_before_the_record_was_kept_is_fitted_again_from_its_parameters(made, way):
    project, versions, _ = made
    whole = load_training_record(Registry.of(project.settings), versions[way])
    with changed_record(project, versions[way], lambda _: None):
        recorded = load_training_record(Registry.of(project.settings), versions[way])
        assert recorded.environment is None
        assert recorded.parameters == whole.parameters
        own = {"xgboost"} if way == "xgboost" else set()
        assert {"numpy", "scikit-learn"} | own <= set(recorded.libraries())
        assert again(project, versions[way]).verdict == "identical"


def test_a_fit_that_is_another_one_is_not_called_the_same(made):
    project, versions, _ = made

    def fewer_rounds(content):
        content["record"]["parameters"]["n_estimators"] += 5
        return content

    with changed_record(project, versions["xgboost"], fewer_rounds):
        found = again(project, versions["xgboost"])
        lenient = again(project, versions["xgboost"], tolerance=60.0)
    assert found.verdict == "differs"
    assert 0 < found.beyond_tolerance <= 1
    assert found.largest_difference >= found.mean_difference > 0
    assert "no input differs" in found.sentence
    assert lenient.verdict == "within tolerance"


def test_other_libraries_and_cores_are_named(made):
    project, versions, _ = made

    def elsewhere(content):
        content["environment"]["libraries"]["xgboost"] = "1.0"
        content["environment"]["cores"] += 6
        return content

    with changed_record(project, versions["xgboost"], elsewhere):
        shown = {
            d.input: (d.recorded, d.now) for d in again(project, versions["xgboost"]).differences
        }
    here = this_environment()
    assert shown == {
        "library xgboost": ("1.0", here.libraries["xgboost"]),
        "cores": (str(here.cores + 6), str(here.cores)),
    }


def test_other_code_is_named(made, monkeypatch):
    project, versions, _ = made
    monkeypatch.setattr("ml_assets.reproduction.reproduce.model_code_version", lambda: "another")
    (shown,) = again(project, versions["linear_svr"]).differences
    assert (shown.input, shown.now) == ("code", "another")


def test_the_same_requests_are_predicted_each_time_up_to_the_maximum(made):
    project, versions, _ = made
    few = again(project, versions["linear_svr"], max_requests=30)
    assert few.requests == 29  # every 14th of 400
    assert few == again(project, versions["linear_svr"], max_requests=30).model_copy(
        update={"seconds": few.seconds}
    )


@pytest.fixture
def copied(made, tmp_path) -> Iterator[tuple[Project, dict[str, str]]]:
    """The same project with months of its own, which a test may spoil."""
    project, versions, _ = made
    features = Path(project.settings.home) / "trip_features"
    kept = tmp_path / "kept"
    shutil.copytree(features, kept)
    yield project, versions
    shutil.rmtree(features)
    shutil.copytree(kept, features)


def test_a_republished_month_is_named_as_the_cause_of_the_difference(copied, made):
    project, versions = copied
    _, _, folder = made
    original = (folder / "green_tripdata_2023-02.parquet").read_bytes()
    publish(folder, MONTHS[1], published_month(MONTHS[1], 500))
    try:
        assert project.ingest("2023-02", "2023-02").success
        found = again(project, versions["xgboost"])
    finally:
        (folder / "green_tripdata_2023-02.parquet").write_bytes(original)
        assert project.ingest("2023-02", "2023-02").success
    assert found.verdict == "differs"
    assert {d.input for d in found.differences} == {
        "published file of 2023-02 (sha256)", "trips kept of 2023-02",
    }  # fmt: skip
    assert again(project, versions["xgboost"]).verdict == "identical"


def test_missing_months_are_an_error_that_says_how_to_ingest_them(copied):
    project, versions = copied
    store_of(project).remove("trip_features", [MONTHS[1], MONTHS[3]])
    with pytest.raises(ReproductionError) as error:
        again(project, versions["xgboost"])
    assert "needs 2023-02, 2023-04 of green" in str(error.value)
    assert "ml-assets run --first 2023-02 --last 2023-04 --ingest-only" in str(error.value)


def test_a_version_of_other_trips_is_refused(made):
    project, versions, _ = made
    other = TripStore(project.settings.home, "green", synthetic=True)
    with pytest.raises(ReproductionError, match="trained on green, .* of sample_green"):
        reproduce(Registry.of(project.settings), versions["xgboost"], other)


@pytest.mark.parametrize("which", ["99", "nobody"])
def test_an_unknown_version_is_an_error_that_lists_the_known_ones(made, which):
    project, _, _ = made
    with pytest.raises(UnknownVersion, match=rf"{which}.*: there are 1 \(xgboost\), 2 "):
        again(project, which)


def test_the_champion_s_parameters_come_with_the_newest_month_used_to_choose_them(made):
    project, _, _ = made
    champion = champion_parameters_of(Registry.of(project.settings), "green")
    recorded = load_training_record(Registry.of(project.settings), "champion")
    assert champion is not None
    assert (champion.version, champion.parameters) == (recorded.version, recorded.parameters)
    assert champion.version.newest_month >= MONTHS[2]
    assert champion_parameters_of(Registry.of(project.settings), "yellow") is None


def test_output_and_exit_status_follow_the_verdict(made, monkeypatch, capsys):
    project, versions, folder = made
    environment = {"ML_ASSETS_HOME": project.settings.home, "ML_ASSETS_TRIPS": folder}
    same = call(monkeypatch, capsys, ["reproduce", versions["linear_svr"]], environment)
    assert same.status == 0
    assert "identical: predictions for 400 trips of 2023-04, with and without" in same.out
    assert "no input differs" in same.out
    arguments = ["reproduce", versions["xgboost"], "--json"]
    with changed_record(
        project,
        versions["xgboost"],
        lambda c: {**c, "record": {**c["record"], "parameters": {"n_estimators": 2}}},
    ):
        other = call(monkeypatch, capsys, arguments, environment)
    assert other.status == 1
    shown = json.loads(other.out)
    assert (shown["verdict"], shown["version"]) == ("differs", versions["xgboost"])
    assert shown["sentence"].startswith("differs: predictions for 400 trips")
    unknown = call(monkeypatch, capsys, ["reproduce", "99"], environment)
    assert (unknown.status, unknown.out) == (1, "")
    assert "there are 1 (xgboost)" in unknown.err
    champion = call(monkeypatch, capsys, ["reproduce"], environment)
    assert champion.status == 0, champion.err


@pytest.mark.parametrize("step", ["_fitted_again", "_compared"])
def test_code_that_cannot_fit_or_compare_it_any_more_is_one_line(made, monkeypatch, capsys, step):
    """As when a feature was added since: scikit-learn then speaks of its columns."""
    project, versions, folder = made

    def fail(*_: object) -> None:
        raise ValueError("X has 33 features,\nbut XGBRegressor is expecting 32")

    monkeypatch.setattr(f"{MODULE}.{step}", fail)
    environment = {"ML_ASSETS_HOME": project.settings.home, "ML_ASSETS_TRIPS": folder}
    answer = call(monkeypatch, capsys, ["reproduce", versions["linear_svr"]], environment)
    assert answer.status == 1
    assert answer.err.count("\n") == 1
    assert answer.err.startswith(f"error: version {versions['linear_svr']} (linear_svr) cannot be")
    assert "X has 33 features, but XGBRegressor is expecting 32" in answer.err
    assert "use the code that registered it" in answer.err
