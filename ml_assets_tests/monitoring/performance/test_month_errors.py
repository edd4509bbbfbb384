"""Where a champion is wrong by month: measured with the score, kept, and measured again if lost."""

import numpy as np
import pytest

from ml_assets.monitoring.performance import records as performance_records
from ml_assets.monitoring.performance.measure import measure_performance
from ml_assets.monitoring.performance.records import KeptErrors, MonthErrors
from ml_assets.storage.record_store import RecordStore
from ml_assets_tests.monitoring.performance.test_measure import loaded, never
from ml_assets_tests.monitoring.watched_months import TRAINING_MONTHS, champion_of, put, store_at
from ml_assets_tests.planted import FAULTS


@pytest.fixture
def store(tmp_path):
    store = store_at(tmp_path)
    for month in TRAINING_MONTHS:
        put(store, month)
    return store


@pytest.fixture
def kept(store):
    return KeptErrors(RecordStore(store.home, store.dataset))


def test_the_errors_of_each_scored_month_add_up_to_its_score(store, kept):
    made = measure_performance(store, champion_of(store), loaded(), errors=kept)
    assert [score.month for score in made.scores] == [*TRAINING_MONTHS]
    for score in made.scores:
        found = kept.find(score)
        for binned, rmse in (
            (found.profile.stated, score.rmse),
            (found.profile.usual, score.rmse_usual),
        ):
            zones = binned.groups["pickup_zone"]
            mean = np.dot(np.square(zones.rmse), zones.trips) / score.trips
            assert np.sqrt(mean) == pytest.approx(rmse, abs=1e-3)
        assert {part.slice for part in found.stated.slices} >= {"hour/evening 16-20"}
        assert found.stated.interval is None  # ByDistance has none


def test_a_month_is_measured_again_only_if_its_errors_are_lost_or_it_is_republished(store, kept):
    champion = champion_of(store)
    made = measure_performance(store, champion, loaded(), errors=kept)
    again = measure_performance(store, champion, never, made, errors=kept)
    assert again.scores == made.scores
    path = kept.records.path(f"prediction_performance/errors/{TRAINING_MONTHS[0]}/1")
    with open(path, "w") as damaged:
        damaged.write("{}")
    measure_performance(store, champion, loaded(), again, errors=kept)
    assert kept.find(made.scores[0]) is not None
    put(store, TRAINING_MONTHS[0], FAULTS["half as long again"])
    republished = measure_performance(store, champion, loaded(), again, errors=kept)
    assert kept.find(made.scores[0]) is None
    found = kept.find(republished.scores[0])
    assert found.profile.raw_sha256 == republished.scores[0].raw_sha256


def test_scores_of_an_old_version_without_errors_are_measured_again(store, kept):
    old = measure_performance(store, champion_of(store), loaded())
    made = measure_performance(store, champion_of(store), loaded(), old, errors=kept)
    assert all(kept.find(score) is not None for score in made.scores)


def test_the_errors_of_scores_that_are_dropped_are_removed(store, kept, monkeypatch):
    made = measure_performance(store, champion_of(store), loaded(), errors=kept)
    monkeypatch.setattr(performance_records, "MAX_SCORES", 2)
    fewer = measure_performance(store, champion_of(store), never, made, errors=kept)
    assert fewer.scores == made.scores[1:]
    assert [kept.find(score) is not None for score in made.scores] == [False, True, True]


def test_prediction_performance_keeps_coverage_and_errors_of_the_real_champion(
    trained_home, tmp_path
):
    home = trained_home.copy(tmp_path)
    with home.open() as project:
        assert project.run("run_monitoring", selection=["prediction_performance"]).success
    records = RecordStore(str(home.home), home.store.dataset)
    record = records.read("prediction_performance", performance_records.PerformanceRecord)
    kept = KeptErrors(records)
    assert record.scores
    for score in record.scores:
        found = kept.find(score)
        assert isinstance(found, MonthErrors)
        assert (score.coverage, score.coverage_usual) == found.coverages
        assert 0.5 < score.coverage <= 1
        assert {part.slice for part in found.usual.interval.slices} >= {"pair/seen"}
