"""A crowned version as the bundle that the prediction service loads."""

import json

import mlflow
import numpy as np
import pytest

from ml_assets.evaluation.records import ModelRecord
from ml_assets.pipeline.serialization import UntrustedModel, probe_requests
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.export_bundle import bundle_name, export, is_complete, prune
from ml_assets.registry.registry import Registry
from ml_assets.serving.bundle import UnusableBundle, load_bundle
from ml_assets.storage.record_store import RecordStore
from ml_assets_tests.published_home import PublishedHome

NAME = "taxi-trip-duration"


@pytest.fixture(scope="module")
def home(trained_home, tmp_path_factory) -> PublishedHome:
    """A home with a champion of real trips."""
    home = trained_home.copy(tmp_path_factory.mktemp("trained"))
    home.client()
    return home


@pytest.fixture
def version(home):
    return Registry(mlflow.MlflowClient(), NAME, home.home).champion()


def test_a_bundle_predicts_what_the_registered_version_predicts(version, tmp_path):
    served = load_bundle(export(version, NAME, tmp_path))
    registered = load_pipeline(f"models:/{NAME}/{version.version}").predict(probe_requests())
    assert np.array_equal(served.model.pipeline.predict(probe_requests()), registered)
    assert served.model.version == str(version.version)
    assert not list(tmp_path.glob(".*"))


def test_the_card_has_the_recorded_figures(home, version, tmp_path):
    card = load_bundle(export(version, NAME, tmp_path)).card
    store = RecordStore(str(home.home), "green")
    record = store.read("linear_regression_model", ModelRecord)
    assert (card.model, card.dataset, card.synthetic) == ("linear_regression", "green", False)
    assert card.training_months == record.training_months
    assert card.test_month == "2023-03"
    assert card.test_rmse == pytest.approx(record.test.rmse, abs=1e-6)
    assert card.interval is not None
    assert record.interval is not None
    shown = (card.interval.target_coverage, card.interval.coverage, card.interval.mean_width)
    recorded = (record.interval.nominal, record.interval.coverage, record.interval.mean_width)
    assert shown == pytest.approx(recorded, abs=1e-6)


def test_an_existing_bundle_is_reused_and_a_corrupt_one_exported_again(version, tmp_path):
    bundle = export(version, NAME, tmp_path)
    first = (bundle / "model.skops").stat().st_ino
    assert (export(version, NAME, tmp_path) / "model.skops").stat().st_ino == first
    (bundle / "model.skops").write_bytes(b"half")
    assert not is_complete(bundle)
    with pytest.raises(UnusableBundle, match="damaged"):
        load_bundle(bundle)
    assert is_complete(export(version, NAME, tmp_path))


def test_the_same_number_in_another_registry_is_another_bundle(version):
    other = version.model_copy(update={"source": "models:/m-other"})
    assert bundle_name(other) != bundle_name(version)


def test_a_version_in_another_format_leaves_no_bundle(version, tmp_path):
    folder = mlflow.artifacts.download_artifacts(f"models:/{NAME}/{version.version}")
    with open(f"{folder}/MLmodel", encoding="utf-8") as file:
        described = file.read()
    try:
        with open(f"{folder}/MLmodel", "w", encoding="utf-8") as file:
            file.write(
                described.replace("serialization_format: skops", "serialization_format: pickle")
            )
        with pytest.raises(UntrustedModel, match="stored as pickle"):
            export(version, NAME, tmp_path)
    finally:
        with open(f"{folder}/MLmodel", "w", encoding="utf-8") as file:
            file.write(described)
    assert list(tmp_path.iterdir()) == []


def test_code_that_predicts_differently_is_an_error(version, tmp_path):
    bundle = export(version, NAME, tmp_path)
    card = json.loads((bundle / "card.json").read_text())
    card["fingerprint"][0] += 0.001
    (bundle / "card.json").write_text(json.dumps(card))
    with pytest.raises(UnusableBundle, match="predicts differently with this code"):
        load_bundle(bundle)


def test_the_newest_bundles_stay_and_the_one_that_serves(version, tmp_path):
    serving = export(version, NAME, tmp_path)
    for number in (7, 8, 9):
        other = tmp_path / f"{number}-other"
        other.mkdir()
        (other / "card.json").write_text("{}")
    prune(tmp_path, serving)
    assert serving.is_dir()
    assert len(list(tmp_path.iterdir())) == 2
