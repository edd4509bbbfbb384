"""What is logged to MLflow for a model, and loaded from it; on two months, with the caveat."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from mlflow.types import DataType

from ml_assets.evaluation.records import ModelRecord, TrainingSet
from ml_assets.pipeline.serialization import UntrustedModel
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.storage.record_store import RecordStore
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.project import Project, open_project, settings_for

NAME = "taxi-trip-duration"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    """Two sample months, one family, one tuning trial."""
    with open_project(settings_for(tmp_path_factory.mktemp("home"))) as project:
        assert project.ingest("2023-01", "2023-02").success
        assert project.train(lasso_model={"trials": 1}, models=("lasso",)).success
        mlflow.set_tracking_uri(project.settings.tracking_uri)
        yield project


@pytest.fixture
def record(project) -> ModelRecord:
    return RecordStore(project.settings.home, "sample_green").read("lasso_model", ModelRecord)


@pytest.fixture
def training_set(project) -> TrainingSet:
    return RecordStore(project.settings.home, "sample_green").read("training_set", TrainingSet)


@pytest.fixture
def logged(record) -> Any:
    return mlflow.MlflowClient().get_run(record.mlflow_run_id)


@pytest.fixture
def model_folder(record) -> Path:
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=record.model_uri))


def artifact(run: Any, name: str) -> Any:
    return json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{name}"))


def test_the_run_has_parameters_and_training_months(logged, record):
    expected = {name: str(value) for name, value in record.parameters.items()}
    assert logged.data.params.items() >= expected.items()
    assert logged.data.params["training_months"] == "2023-01"


def test_the_run_has_validation_and_test_metrics_and_cost(logged, record):
    figures = logged.data.metrics
    for prefix, metrics in (("validation_", record.validation), ("test_", record.test)):
        for name, value in metrics.model_dump().items():
            assert figures[f"{prefix}{name}"] == value, name
    assert figures["test_rmse_usual"] == record.usual.test.rmse > figures["test_rmse"]
    assert figures["interval_coverage_usual"] == record.usual.interval.coverage
    assert {"fit_seconds", "tuning_seconds", "predict_seconds", "size_bytes"} < set(figures)


def test_tags_identify_the_run_and_carry_the_caveat(logged, training_set):
    assert training_set.caveat
    expected = {
        "model": "lasso",
        "dataset": "sample_green",
        "synthetic": "true",
        "training_set": training_set.fingerprint,
        "caveat": training_set.caveat,
        "dagster_asset": "lasso_model",
    }
    assert logged.data.tags.items() >= expected.items()
    assert logged.data.tags["dagster_run_id"] == logged.data.tags["ml_assets.dagster_run"]
    assert logged.info.status == "FINISHED"


def test_the_training_set_is_logged_with_months_and_checksums(logged, training_set):
    stored = TrainingSet.model_validate(artifact(logged, "training_set.json"))
    assert stored == training_set
    assert [(use.month, use.role) for use in stored.months] == [
        ("2023-01", "train"), ("2023-02", "validation"), ("2023-02", "test"),
    ]  # fmt: skip
    assert all(len(use.raw_sha256) == 64 for use in stored.months)


def test_feature_importance_and_slices_are_logged(logged):
    importance = artifact(logged, "feature_importance.json")
    assert importance
    assert all(isinstance(value, float) for value in importance.values())
    assert artifact(logged, "slices.json")["slices"]
    names = {file.path for file in mlflow.MlflowClient().list_artifacts(logged.info.run_id)}
    assert "feature_importance.png" in names


def test_the_model_has_a_signature_and_an_input_example(record):
    model = mlflow.models.Model.load(record.model_uri)
    columns = {
        column.name: (str(column.type), column.required) for column in model.signature.inputs
    }
    assert columns == {
        "PULocationID": (str(DataType.long), True),
        "DOLocationID": (str(DataType.long), True),
        "trip_distance": ("Any", False),
        "pickup_datetime": (str(DataType.datetime), False),
        "passenger_count": ("Any", False),
    }
    example: Any = model.load_input_example(
        str(mlflow.artifacts.download_artifacts(record.model_uri))
    )
    assert list(example.columns) == list(REQUEST_COLUMNS)
    assert len(example) == 5


def test_a_trial_is_a_child_run_named_by_its_family(logged):
    client = mlflow.MlflowClient()
    children = client.search_runs(
        [logged.info.experiment_id], f"tags.`mlflow.parentRunId` = '{logged.info.run_id}'"
    )
    assert [child.info.status for child in children] == ["FINISHED"]
    assert [child.info.run_name for child in children] == ["lasso trial 0"]
    assert "validation_rmse" in children[0].data.metrics
    assert "dagster_run_id" not in children[0].data.tags


def test_the_published_months_are_logged_as_datasets(logged, training_set):
    found = {entry.dataset.name: entry for entry in logged.inputs.dataset_inputs}
    assert set(found) == {"green_tripdata_2023-01", "green_tripdata_2023-02"}
    contexts = {name: entry.tags[0].value for name, entry in found.items()}
    assert contexts == {
        "green_tripdata_2023-01": "train",
        "green_tripdata_2023-02": "validation, test",
    }
    january = found["green_tripdata_2023-01"].dataset
    use = training_set.months[0]
    assert use.raw_sha256.startswith(january.digest)
    assert json.loads(january.profile)["num_rows"] == use.rows
    assert "sample" in january.source
    assert mlflow.data.get_source(logged.inputs.dataset_inputs[0]) is not None


def test_name_source_and_description_identify_the_training(logged, record):
    tags = logged.data.tags
    dagster_run = tags["dagster_run_id"]
    assert logged.info.run_name == f"lasso, test 2023-02, {dagster_run[:8]}"
    assert tags["mlflow.source.name"] == "Dagster asset lasso_model"
    assert tags["mlflow.source.type"] == "JOB"
    described = tags["mlflow.note.content"]
    assert f"{record.test.rmse:.3f} min" in described
    assert "Caveat: " in described
    assert dagster_run in described


def test_the_version_is_described_with_the_decision_and_without_internal_tags(project, record):
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias(NAME, "champion")
    what, decided = version.description.split("\n\n---\n\n")
    assert f"{record.test.rmse:.3f} min" in what
    assert f"**{record.usual.test.rmse:.3f} min** without a distance" in what
    assert "What a wrong distance costs" in what
    left_out = record.distance_errors[-1]
    assert f"| left out | {left_out.rmse:.3f}".rstrip("0") in what
    assert f"{record.usual.interval.coverage:.1%} without a distance." in what
    assert decided.startswith("**promoted** on ")
    assert "there was no champion" in decided
    assert set(version.tags) <= {
        "model", "dataset", "synthetic", "training_months", "validation_months", "test_month", "test_rmse",
        "training_set", "description", "refit", "interval_nominal", "interval_coverage", "interval_mean_width",
        "test_rmse_usual", "interval_nominal_usual", "interval_coverage_usual", "interval_mean_width_usual",
        "caveat", "decision_id", "fingerprint",
    }  # fmt: skip
    logged = client.get_logged_model(record.model_uri.removeprefix("models:/"))
    assert logged.name == "lasso"
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [
        {"name": NAME, "version": str(version.version)}
    ]
    assert "zones 1 to 265" in client.get_registered_model(NAME).description


def test_dagster_says_how_to_open_the_run(project):
    shown = project.metadata("lasso_model")
    assert shown["open_mlflow"].startswith("mlflow ui --backend-store-uri sqlite:///")


def test_the_caveat_is_in_the_registry_the_decision_and_its_metadata(project, training_set):
    log = DecisionLog(project.settings.home, "sample_green")
    decision = log.newest()
    version = mlflow.MlflowClient().get_model_version_by_alias(NAME, "champion")
    assert decision.caveat == version.tags["caveat"] == training_set.caveat
    assert project.metadata("champion_model")["caveat"] == training_set.caveat
    assert project.train(("lasso",)).success  # the same months again: kept, with the caveat
    kept = log.newest()
    assert (kept.promoted, kept.caveat) == (False, training_set.caveat)
    assert kept.registry_version == decision.registry_version


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"serialization_format": "pickle"}, "stored as pickle"),
        ({"serialization_format": "cloudpickle"}, "stored as cloudpickle"),
        ({"serialization_format": None}, "stored as None"),
        ({"skops_trusted_types": ["sklearn.linear_model.Lasso", "os.system"]}, "os.system"),
        ({"skops_trusted_types": ["numpy.testing._private.utils.runstring"]}, "runstring"),
        ({"code": "code"}, "comes with its own code"),
    ],
)
def test_a_model_that_was_tampered_with_is_not_loaded(record, model_folder, change, message):
    described = model_folder / "MLmodel"
    content = described.read_text()
    load_pipeline(record.model_uri)
    tampered = yaml.safe_load(content)
    tampered["flavors"]["sklearn"].update(change)
    described.write_text(yaml.safe_dump(tampered))
    try:
        with pytest.raises(UntrustedModel, match=message) as error:
            load_pipeline(record.model_uri)
    finally:
        described.write_text(content)
    assert record.model_uri in str(error.value)
