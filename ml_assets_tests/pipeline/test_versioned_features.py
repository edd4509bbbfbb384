"""A fitted pipeline computes the features that it was fitted with, whatever is defined now."""

import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.base import clone

from ml_assets.pipeline import encoders, features, indicators, trip_tables
from ml_assets.pipeline.background_sample import attach_background_sample
from ml_assets.pipeline.explain import explain
from ml_assets.pipeline.predict import Model
from ml_assets.pipeline.serialization import OutdatedModel, load_stored
from ml_assets.pipeline.versioned_features import Feature, FeatureRegistry, UnknownFeature
from ml_assets.serving.fast_predict import enable_fast_path
from ml_assets.training.families import FAMILIES
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.training.sample_trips import train_trips, validation_trips

REQUESTS = list(REQUEST_COLUMNS)
NIGHT = Feature("night", "Whether it is before five.", lambda request: request.minute_of_day < 300)
LATER = {
    "FEATURES": (features, NIGHT),
    "ENCODINGS": (
        trip_tables,
        Feature("pair_known", "Whether the pair was seen.", lambda found: found.tables.not_there),
    ),
    "INDICATORS": (
        encoders,
        Feature("weekday", "Day.", lambda requests: requests.features["weekday"].astype(int)),
    ),
}


def stored(family: str, folder):
    trips = train_trips()
    few = {"n_estimators": 20} if family == "xgboost" else None
    pipeline = FAMILIES[family].make_pipeline(few, n_jobs=1)
    pipeline.fit(trips[REQUESTS], trips["duration_minutes"])
    attach_background_sample(pipeline, trips)
    skops.io.dump(pipeline, folder / "model.skops")
    return folder / "model.skops", pipeline.predict(validation_trips()[REQUESTS])


@pytest.fixture(scope="module", params=["xgboost", "lasso"])
def model(request, tmp_path_factory):
    """A stored model of a family with encodings or indicators: its file and its predictions."""
    return stored(request.param, tmp_path_factory.mktemp("model"))


def define(monkeypatch, name: str, *entries) -> None:
    """Replace the definitions in all modules."""
    registry = FeatureRegistry(*entries)
    for module in (features, trip_tables, encoders):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, registry)


@pytest.mark.parametrize("name", LATER)
def test_an_added_definition_changes_no_stored_model(model, monkeypatch, name) -> None:
    file, minutes = model
    module, feature = LATER[name]
    define(monkeypatch, name, feature, *getattr(module, name))
    pipeline = load_stored(file)
    assert pipeline.predict(validation_trips()[REQUESTS]).tobytes() == minutes.tobytes()
    one = {column: validation_trips()[column].to_numpy()[:1] for column in REQUESTS}
    enable_fast_path(pipeline)
    assert pipeline.predict(one).tobytes() == minutes[:1].tobytes()
    parts = explain(pipeline, one)
    assert parts.baseline_minutes + sum(parts.contributions.values()) == pytest.approx(minutes[0])
    assert Model(pipeline, "1").usual_miles(np.array([74]), np.array([75]))[0] > 0


def test_a_new_fit_has_the_new_feature_and_a_refit_the_old_ones(model, monkeypatch) -> None:
    pipeline = load_stored(model[0])
    define(monkeypatch, "FEATURES", *features.FEATURES, NIGHT)
    trips = train_trips()
    again = clone(pipeline).fit(trips[REQUESTS], trips["duration_minutes"])
    assert again.predict(validation_trips()[REQUESTS]).tobytes() == model[1].tobytes()
    fresh = FAMILIES["xgboost"].make_pipeline({"n_estimators": 2})
    fresh.fit(trips[REQUESTS], trips["duration_minutes"])
    assert "night" in fresh[:-1].get_feature_names_out()
    assert "night" not in pipeline[0].get_feature_names_out()


def test_a_changed_definition_keeps_the_old_one_for_old_models(model, monkeypatch) -> None:
    later = Feature("hour", "In UTC.", lambda request: request.minute_of_day * 0, version=2)
    define(monkeypatch, "FEATURES", *features.FEATURES, later)
    assert list(features.FEATURES.current.items())[2] == ("hour", 2)
    pipeline = load_stored(model[0])
    assert pipeline.predict(validation_trips()[REQUESTS]).tobytes() == model[1].tobytes()
    changed = features.RequestFeatures().transform(validation_trips())
    assert (changed[:, 2] == 0).all()


def test_a_model_with_a_missing_definition_raises_one_line(model, monkeypatch) -> None:
    rest = [feature for feature in features.FEATURES if feature.name != "hour"]
    later = Feature("hour", "In UTC.", lambda request: request.minute_of_day, version=2)
    define(monkeypatch, "FEATURES", *rest, later)
    with pytest.raises(
        UnknownFeature, match=r"hour version 1 \(this code has versions 2\)"
    ) as error:
        load_stored(model[0])
    assert "\n" not in str(error.value)
    define(monkeypatch, "FEATURES", *rest)
    with pytest.raises(UnknownFeature, match=r"hour version 1 \(this code has no such feature\)"):
        load_stored(model[0])


def test_a_model_without_recorded_features_raises_one_line(model, tmp_path) -> None:
    pipeline = load_stored(model[0])
    del pipeline[0].features_
    skops.io.dump(pipeline, tmp_path / "old.skops")
    with pytest.raises(OutdatedModel, match="train again with `ml-assets run`") as error:
        load_stored(tmp_path / "old.skops")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("gone", ["ml_assets.pipeline.moved_away", "ml_assets.pipeline.features"])
def test_a_model_with_a_removed_type_raises_one_line(model, tmp_path, gone) -> None:
    old = tmp_path / "old.skops"
    with zipfile.ZipFile(model[0]) as read, zipfile.ZipFile(old, "w") as written:
        for name in read.namelist():
            content = read.read(name)
            if name == "schema.json":
                content = content.replace(b"ml_assets.pipeline.zone_map", gone.encode())
            written.writestr(name, content)
    with pytest.raises(OutdatedModel, match="stored by another version of ml-assets") as error:
        load_stored(old)
    assert "\n" not in str(error.value)


def test_a_duplicate_name_and_version_raises() -> None:
    with pytest.raises(ValueError, match="night is defined twice with version 1"):
        FeatureRegistry(NIGHT, NIGHT)


def test_new_models_omit_a_retired_feature() -> None:
    gone = Feature("night", "No more.", lambda request: request.minute_of_day, 2, retired=True)
    registry = FeatureRegistry(NIGHT, gone)
    assert registry.current == {}
    assert registry.select({"night": 1}) == [NIGHT]


def test_a_matrix_with_other_columns_raises_with_the_expected_names() -> None:
    encoder = encoders.TripHistory(features=["pickup_zone", "night"])
    with pytest.raises(ValueError, match="3 columns, but 2 were expected: pickup_zone, night"):
        encoder.fit(np.zeros((4, 3)), np.ones(4))


def test_every_feature_has_a_description() -> None:
    for registry in (features.FEATURES, trip_tables.ENCODINGS, indicators.INDICATORS):
        for feature in registry:
            assert feature.description.endswith("."), feature.name
