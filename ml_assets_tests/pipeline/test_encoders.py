"""Encoders learn from past trips without leaking a trip's own duration into its features."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone

from ml_assets.pipeline import encoders
from ml_assets.pipeline.encoders import TripHistory, TripIndicators, content_folds
from ml_assets.pipeline.features import FEATURES, RequestFeatures
from ml_assets.pipeline.fit_tables import shrunken_means
from ml_assets.pipeline.trip_tables import ENCODINGS
from ml_assets.pipeline.versioned_features import Matrix, NamedColumns
from ml_assets_tests.training.sample_trips import odd_requests, train_trips, validation_trips


def features_and_minutes() -> tuple[Matrix, Matrix]:
    trips = train_trips().head(600)
    return RequestFeatures().transform(trips), trips["duration_minutes"].to_numpy()


@pytest.mark.parametrize("row", [0, 17, 599])
def test_a_trips_own_duration_does_not_leak_into_its_encoding(row: int) -> None:
    features, minutes = features_and_minutes()
    changed = minutes.copy()
    changed[row] = 59.0
    before = TripHistory().fit_transform(features, minutes)
    after = TripHistory().fit_transform(features, changed)
    np.testing.assert_array_equal(after[row], before[row])
    assert (after != before).any(), "the duration did not even reach the other folds"


def test_the_duration_of_a_repeated_request_does_not_leak() -> None:
    features, minutes = features_and_minutes()
    features, minutes = np.vstack([features, features[3]]), np.append(minutes, minutes[3])
    changed = minutes.copy()
    changed[-1] = 59.0
    before = TripHistory().fit_transform(features, minutes)
    after = TripHistory().fit_transform(features, changed)
    np.testing.assert_array_equal(after[[3, -1]], before[[3, -1]])


def test_the_order_of_training_rows_does_not_change_their_folds() -> None:
    features, _ = features_and_minutes()
    shuffled = np.random.default_rng(0).permutation(len(features))
    folds = content_folds(features, 5)
    np.testing.assert_array_equal(content_folds(features[shuffled], 5), folds[shuffled])
    assert np.bincount(folds, minlength=5).min() > len(features) / 10


def test_new_requests_are_encoded_by_all_training_rows() -> None:
    features, minutes = features_and_minutes()
    encoder = TripHistory()
    out_of_fold = encoder.fit_transform(features, minutes)
    named = NamedColumns(features, list(FEATURES.current))
    tables = TripHistory().fit(features, minutes).tables_
    learned = tables.encode(named, ENCODINGS.current).astype(np.float32)
    encoded = encoder.transform(features)
    names = encoder.get_feature_names_out().tolist()
    at = [names.index(name) for name in ENCODINGS.current]
    np.testing.assert_array_equal(encoded[:, at], learned)
    np.testing.assert_array_equal(encoded, TripHistory().fit(features, minutes).transform(features))
    assert (encoded != out_of_fold).any()


@pytest.mark.parametrize("make", [TripHistory, TripIndicators])
def test_only_the_last_columns_depend_on_the_stated_distance(make) -> None:
    features, minutes = features_and_minutes()
    encoder = make().fit(features, minutes)
    other = features.copy()
    at = list(FEATURES.current).index("log_miles")
    other[:, at] = np.where(np.arange(len(other)) % 2, np.nan, other[:, at] + 0.3)
    before, after = (
        matrix.toarray() if sparse.issparse(matrix) else matrix
        for matrix in (encoder.transform(features), encoder.transform(other))
    )
    shared = before.shape[1] - encoder.distance_columns
    np.testing.assert_array_equal(after[:, :shared], before[:, :shared])
    assert (after[:, shared:-1] != before[:, shared:-1]).any()
    np.testing.assert_array_equal(after[:, -1], ~np.isnan(other[:, at]))
    assert len(encoder.get_feature_names_out()) == before.shape[1]


def test_a_trips_own_distance_is_not_part_of_the_one_expected_of_it(monkeypatch) -> None:
    features, minutes = features_and_minutes()
    folds = content_folds(features, 5)  # they depend on the distance, too
    monkeypatch.setattr(encoders, "content_folds", lambda *_: folds)
    changed = features.copy()
    changed[5, list(FEATURES.current).index("log_miles")] += 1

    encoder = TripHistory()
    before, after = (encoder.fit_transform(rows, minutes) for rows in (features, changed))
    names = encoder.get_feature_names_out().tolist()
    at = [names.index(name) for name in ("usual_log_miles", "map_log_miles")]
    np.testing.assert_array_equal(after[5, at], before[5, at])
    as_request = encoder.transform(features)[5, at]
    assert (as_request != before[5, at]).all(), "the other folds give another distance"


def test_encoding_a_later_month_does_not_change_the_encoder() -> None:
    features, minutes = features_and_minutes()
    later = RequestFeatures().transform(validation_trips())
    encoder = TripHistory().fit(features, minutes)
    alone = encoder.transform(later[:1])
    np.testing.assert_array_equal(encoder.transform(later)[:1], alone)


def test_extreme_requests_have_finite_encodings() -> None:
    features, minutes = features_and_minutes()
    odd = RequestFeatures().transform(odd_requests())
    assert np.isfinite(TripHistory().fit(features, minutes).transform(odd)).all()
    assert np.isfinite(TripIndicators().fit(features).transform(odd).toarray()).all()


def test_training_trips_without_distances_can_be_encoded() -> None:
    trips = train_trips().head(100).assign(trip_distance=0.0)
    features = RequestFeatures().transform(trips)
    minutes = trips["duration_minutes"].to_numpy()
    assert np.isfinite(TripHistory().fit_transform(features, minutes)).all()
    assert np.isfinite(TripIndicators().fit_transform(features, minutes).toarray()).all()


def test_trips_of_one_distance_say_nothing_of_longer_ones() -> None:
    trips = pd.concat([train_trips()] * 20, ignore_index=True).assign(trip_distance=0.7)
    features = RequestFeatures().transform(trips)
    minutes = trips["duration_minutes"].to_numpy()
    curve = TripHistory().fit(features, minutes).tables_.curve
    np.testing.assert_allclose(curve, np.log(minutes).mean(), atol=1e-6)


def test_a_single_distinct_training_request_raises() -> None:
    features, minutes = features_and_minutes()
    with pytest.raises(ValueError, match="train on more trips"):
        TripHistory().fit_transform(features[[5, 5]], minutes[[5, 5]])


def test_trips_in_parts_give_the_tables_of_all_trips() -> None:
    features, minutes = features_and_minutes()
    whole, parts = TripHistory(), TripHistory()
    expected = whole.fit_transform(features, minutes)
    slices = [slice(0, 250), slice(250, 251), slice(251, 600)]
    of_others = parts.fit_parts(lambda: ((features[rows], minutes[rows]) for rows in slices))
    encoded = np.vstack([parts.encode_fitted(features[rows], of_others) for rows in slices])
    np.testing.assert_allclose(encoded, expected, rtol=1e-6, atol=1e-7)
    requests = RequestFeatures().transform(validation_trips())
    np.testing.assert_allclose(
        parts.transform(requests), whole.transform(requests), rtol=1e-6, atol=1e-7
    )


def test_parts_that_can_be_read_only_once_raise() -> None:
    features, minutes = features_and_minutes()
    once = iter([(features, minutes)])
    with pytest.raises(ValueError, match="second reading gave other trips"):
        TripHistory().fit_parts(lambda: once)


def test_no_trips_raise() -> None:
    features, minutes = features_and_minutes()
    with pytest.raises(ValueError, match="no trips to learn from"):
        TripHistory().fit_transform(features[:0], minutes[:0])


def test_a_single_fold_raises() -> None:
    with pytest.raises(ValueError, match="folds is 1"):
        TripHistory(folds=1).fit_transform(*features_and_minutes())


def test_means_of_few_trips_are_shrunk_towards_the_prior() -> None:
    sums, trips = np.array([30.0, 40.0, 0.0]), np.array([2, 1, 0])
    means = shrunken_means(sums, trips, prior=5.0, strength=2.0)
    np.testing.assert_allclose(means, [(30 + 10) / 4, (40 + 10) / 3, 5.0])


def test_an_unseen_pair_has_no_indicator() -> None:
    features, _ = features_and_minutes()
    encoder = TripIndicators().fit(features)
    unseen = features[:2].copy()
    unseen[:, :2] = [[263, 2], [2, 263]]
    assert encoder.transform(unseen).shape == (2, encoder.columns_)
    assert encoder.transform(unseen).nnz < encoder.transform(features[:2]).nnz


def test_indicators_have_the_index_type_of_linear_solvers() -> None:
    features, _ = features_and_minutes()
    encoded = TripIndicators().fit_transform(features)
    assert encoded.indices.dtype == encoded.indptr.dtype == np.int32
    assert encoded.max() <= 3 and encoded.min() >= 0


@pytest.mark.parametrize("encoder", [TripHistory(), TripIndicators()])
def test_every_column_has_a_unique_name(encoder: TripHistory | TripIndicators) -> None:
    features, minutes = features_and_minutes()
    encoded = clone(encoder).fit(features, minutes)
    names = encoded.get_feature_names_out()
    assert len(set(names)) == len(names) == encoded.transform(features[:1]).shape[1]
