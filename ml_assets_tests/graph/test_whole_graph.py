"""The asset graph from published months to a champion."""

from pathlib import Path

import dagster as dg
import mlflow
import numpy as np
import pytest

from ml_assets.evaluation.records import Leaderboard, ModelRecord, TrainingSet
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.storage.record_store import RecordStore
from ml_assets_tests.conftest import REPOSITORY
from ml_assets_tests.project import Project, open_project, settings_for

MODELS = ("linear_regression", "xgboost")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Four sample months, two families, evaluated and promoted."""
    with open_project(settings_for(tmp_path_factory.mktemp("home"))) as project:
        assert project.ingest("2023-01", "2023-04").success
        assert project.train(MODELS).success
        yield project


def records(project: Project) -> RecordStore:
    return RecordStore(project.settings.home, "sample_green")


def client(project: Project) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(
        project.settings.tracking_uri, registry_uri=project.settings.tracking_uri
    )


def test_the_contract_s_asset_keys_exist(trained):
    keys = {
        key.to_user_string()
        for key in trained.definitions.resolve_asset_graph().get_all_asset_keys()
    }
    families = ("linear_regression", "lasso", "linear_svr", "random_forest", "gradient_boosting",
                "extra_trees", "xgboost")  # fmt: skip
    assert {f"{family}_model" for family in families} < keys
    assert {"raw_trips", "trip_features", "rejected_trips", "taxi_zones", "training_set",
            "model_leaderboard", "champion_model"} < keys  # fmt: skip


def test_every_asset_has_a_description_and_an_owner(trained):
    graph = trained.definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.group_name != "default", key


def test_kept_and_rejected_trips_add_up_to_the_published(trained):
    for month in ("2023-01", "2023-04"):
        published = trained.metadata("raw_trips", month)["dagster/row_count"]
        kept = trained.metadata("trip_features", month)["dagster/row_count"]
        rejected = trained.metadata("rejected_trips", month)["dagster/row_count"]
        assert published == kept + rejected
        assert rejected > 0


def test_the_newest_month_is_the_test_month_and_no_month_has_two_roles(trained):
    training_set = records(trained).read("training_set", TrainingSet)
    assert [(use.month, use.role) for use in training_set.months] == [
        ("2023-01", "train"), ("2023-02", "train"), ("2023-03", "validation"), ("2023-04", "test"),
    ]  # fmt: skip
    assert training_set.synthetic
    assert all(len(use.raw_sha256) == 64 for use in training_set.months)


def test_the_evaluated_model_was_not_fitted_on_the_test_month(trained):
    for model in MODELS:
        record = records(trained).read(f"{model}_model", ModelRecord)
        assert record.training_months == ["2023-01", "2023-02", "2023-03"]


def test_models_beat_the_baselines_on_the_sample(trained):
    board = records(trained).read("model_leaderboard", Leaderboard)
    names = [row.model for row in board.rows]
    assert names[0] == "xgboost"
    assert {"global_mean", "median_per_pair", "distance_line"} < set(names)
    best_baseline = min(row.test.rmse for row in board.rows if row.kind == "baseline")
    assert all(row.test.rmse < best_baseline for row in board.models)


def test_the_registry_s_champion_predicts_what_was_evaluated(trained):
    board = records(trained).read("model_leaderboard", Leaderboard)
    decision = DecisionLog(trained.settings.home, "sample_green").newest()
    version = client(trained).get_model_version_by_alias("taxi-trip-duration", "champion")
    assert str(version.version) == decision.registry_version
    from ml_assets.storage.trip_store import TripStore
    from ml_assets.training.training_set import load_trips

    store = TripStore(trained.settings.home, "green", synthetic=True)
    trips = load_trips(store, records(trained).read("training_set", TrainingSet), "test")
    predicted = load_pipeline("models:/taxi-trip-duration@champion").predict(trips)
    error = np.sqrt(np.mean((predicted - trips["duration_minutes"]) ** 2))
    assert error == pytest.approx(board.models[0].test.rmse, abs=1e-12)


def test_models_use_only_what_is_known_at_request_time(trained):
    pipeline = load_pipeline("models:/taxi-trip-duration@champion")
    from ml_assets.storage.trip_store import TripStore
    from ml_assets.training.training_set import load_trips

    store = TripStore(trained.settings.home, "green", synthetic=True)
    trips = load_trips(store, records(trained).read("training_set", TrainingSet), "test").head(200)
    planted = trips.assign(total_amount=trips["duration_minutes"], dropoff_datetime=0)
    planted["duration_minutes"] = 1.0
    assert np.array_equal(pipeline.predict(trips), pipeline.predict(planted))


def test_synthetic_results_are_labelled(trained):
    for asset in ("training_set", "xgboost_model", "model_leaderboard", "champion_model"):
        assert trained.metadata(asset)["trips"] == "synthetic sample", asset
    assert trained.metadata("trip_features", "2023-01")["status"] == "synthetic sample"


@pytest.mark.parametrize("asset", ["model_leaderboard", "champion_model"])
def test_a_page_begins_with_a_summary_and_fits_a_window_of_1500_pixels(trained, asset):
    shown = trained.metadata(asset)
    names = [*shown]
    assert names[0] == "summary"
    assert "minutes (RMSE)" in shown["summary"] and "the best baseline" in shown["summary"]
    pictures = [name for name, value in shown.items() if str(value).startswith("![")]
    assert pictures == names[-1:] if asset == "model_leaderboard" else not pictures
    # Measured in Chromium at 1500 px: what remains for a value beside a key of this length.
    room = 624 - 8.4 * max(len(name) for name in names)
    for name, value in shown.items():
        if isinstance(value, dg.TableMetadataValue):
            assert narrowest(value) <= room, name
    first = shown["leaderboard" if asset == "model_leaderboard" else "criteria"].schema.columns[0]
    assert first.name in ("test_rmse", "passed")


def narrowest(shown: dg.TableMetadataValue) -> float:
    """Return the width of a table in pixels, also measured; cells break between words."""
    columns = [column.name for column in shown.schema.columns]
    return sum(
        16.5 + max([7.2 * len(name), *(8.4 * longest(row.data[name]) for row in shown.records)])
        for name in columns
    )


def longest(cell: object) -> int:
    return max((len(word) for word in str(cell).split()), default=0)


def test_an_unpublished_month_is_reported_and_does_not_stop_training(tmp_path: Path, real_trips):
    with open_project(settings_for(tmp_path, real_trips)) as project:
        assert project.ingest("2023-07", "2023-11").success
        assert project.metadata("raw_trips", "2023-11")["status"] == "not published yet"
        assert project.metadata("trip_features", "2023-11")["dagster/row_count"] == 0
        result = project.run("train_models", selection=["training_set"])
        assert result.success
        described = records_of_real(project).read("training_set", TrainingSet)
        assert [str(month) for month in described.months_in("test")] == ["2023-09"]
        assert not described.synthetic


def records_of_real(project: Project) -> RecordStore:
    return RecordStore(project.settings.home, "green")


def test_loading_the_code_location_imports_no_model_library():
    import subprocess
    import sys

    heavy = "{'mlflow', 'sklearn', 'xgboost', 'optuna', 'matplotlib', 'dagster_mlflow'}"
    code = f"import sys, ml_assets.definitions; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_an_ingestion_imports_no_model_library(ingested_home, tmp_path):
    """Its process is short, and importing scikit-learn takes longer than ingesting."""
    import subprocess
    import sys

    home = ingested_home.copy(tmp_path)
    heavy = "{'mlflow', 'sklearn', 'scipy', 'xgboost', 'optuna'}"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ml_assets_tests.project import open_project, settings_for\n"
        f"with open_project(settings_for(Path({str(home.home)!r}), Path({str(home.trips)!r}))) as it:\n"
        "    assert it.ingest('2023-01', '2023-02').success\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_all_months_are_one_run_for_each_ingestion_asset(trained):
    graph = trained.definitions.resolve_asset_graph()
    for name in ("raw_trips", "trip_features", "rejected_trips", "data_profile"):
        policy = graph.get(dg.AssetKey(name)).backfill_policy
        assert policy is not None
        assert policy.max_partitions_per_run is None
