"""Many rows are encoded in slices, with the same bits and without copies of whole matrices."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from ml_assets.config import cores
from ml_assets.pipeline import encoders, features, predict
from ml_assets.pipeline.encoders import current_history, current_indicators
from ml_assets.pipeline.features import RequestFeatures
from ml_assets.pipeline.predict import predict_trips
from ml_assets.training.families import FAMILIES
from ml_assets.trips.target import TARGET
from ml_assets_tests.training.sample_trips import train_trips, trips_of


@pytest.fixture
def small_slices(monkeypatch):
    def set_rows(rows: int = 300) -> None:
        for module in (encoders, features, predict):
            monkeypatch.setattr(module, "ROWS_AT_ONCE", rows)

    return set_rows


def encoded(trips: pd.DataFrame) -> list[np.ndarray]:
    """The rows of a fit and other rows, by each encoder."""
    computed, minutes = RequestFeatures().fit_transform(trips), trips[TARGET.name].to_numpy()
    other = RequestFeatures().fit_transform(trips_of(4))
    history, indicators = current_history(), current_indicators(2)
    found = [computed, history.fit_transform(computed, minutes), history.transform(other)]
    sparse = [indicators.fit_transform(computed, minutes), indicators.transform(other)]
    assert found[1].dtype == found[2].dtype == np.float32
    return [*found, *(part for csr in sparse for part in (csr.data, csr.indices, csr.indptr))]


def test_slices_change_nothing_but_the_rounding_of_sums(small_slices):
    whole = encoded(train_trips())
    small_slices()
    for at, (before, now) in enumerate(zip(whole, encoded(train_trips()), strict=True)):
        assert before.dtype == now.dtype
        if at in (1, 2):  # with tables, which are sums over trips
            # The map places a zone of one trip in any direction from its neighbour.
            assert np.isclose(now, before, rtol=1e-5, atol=1e-5).mean() > 0.999
        else:
            assert np.array_equal(before, now, equal_nan=before.dtype.kind == "f")
        assert before.flags.f_contiguous == now.flags.f_contiguous  # the order that trees read


def test_encoding_holds_no_second_matrix_of_doubles(small_slices):
    small_slices(2_000)

    def peak_of(repeated: int) -> tuple[int, int]:
        trips = pd.concat([train_trips()] * repeated, ignore_index=True)
        computed = RequestFeatures().fit_transform(trips)
        tracemalloc.start()
        try:
            current_history().fit_transform(computed, trips[TARGET.name].to_numpy())
            return tracemalloc.get_traced_memory()[1], len(trips)
        finally:
            tracemalloc.stop()

    (few, rows), (many, more_rows) = peak_of(5), peak_of(20)
    # The result has 35 columns of 4 bytes; it was 937 bytes with copies of other folds' rows.
    assert (many - few) / (more_rows - rows) < 35 * 4 + 100


@pytest.mark.parametrize("name", ["extra_trees", "xgboost"])
def test_predictions_in_threads_have_the_same_bits(name, small_slices, monkeypatch):
    trips = train_trips()
    pipeline = FAMILIES[name].make_pipeline().fit(trips, trips[TARGET.name])
    expected = predict_trips(pipeline, trips)
    small_slices()
    monkeypatch.setattr(cores, "available_cores", lambda: 3)
    assert np.array_equal(predict_trips(pipeline, trips), expected)
    with cores.on_one_core():
        assert cores.free_cores() == 1
