"""Models that an earlier version stored are loaded and predict the same minutes, for ever."""

import json

import pytest
import skops.io

from ml_assets.pipeline.serialization import OutdatedModel, load_stored
from ml_assets_tests.pipeline.store_models import FIT, FOLDER, NEWEST, predictions, requests


@pytest.mark.parametrize("name", list(FIT))
@pytest.mark.parametrize("folder", [FOLDER, NEWEST], ids=lambda folder: folder.name)
def test_a_stored_model_predicts_what_it_predicted_when_it_was_stored(name, folder):
    """Sums of products differ in the last bits from processor to processor."""
    expected = json.loads((folder / f"{name}.json").read_text())
    found = predictions(load_stored(folder / f"{name}.skops"), requests())
    assert found.pop("contributions") == pytest.approx(expected.pop("contributions"), rel=1e-9)
    for column, values in expected.items():
        assert found[column] == pytest.approx(values, rel=1e-9), column


def test_a_model_of_version_0_1_is_refused_in_one_line_that_says_what_to_do(tmp_path, monkeypatch):
    """Version 0.1 kept the same classes in other modules."""

    class TripHistory:
        pass

    TripHistory.__module__ = "ml_assets.modeling.encoders"
    TripHistory.__qualname__ = "TripHistory"
    skops.io.dump({"encoder": TripHistory()}, tmp_path / "model.skops")
    with pytest.raises(OutdatedModel) as error:
        load_stored(tmp_path / "model.skops")
    assert str(error.value) == (
        f"{tmp_path}/model.skops was stored by another version of ml-assets (it names "
        "ml_assets.modeling.encoders.TripHistory): train again with `ml-assets run`, or use the "
        "version that stored it"
    )
