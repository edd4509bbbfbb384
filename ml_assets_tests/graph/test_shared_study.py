"""Tuning studies in a database that several runs share."""

import optuna

from ml_assets_tests.published_home import NEXT
from ml_assets_tests.published_months import publish


def test_each_training_set_has_a_study_of_its_own(ingested_home, tmp_path):
    storage = f"sqlite:///{tmp_path}/studies.db"
    tuned = {"trials": 1, "study_storage": storage}
    home = ingested_home.copy(tmp_path)
    with home.open() as project:
        assert project.train(linear_regression_model=tuned).success
        publish(home.trips, NEXT)  # a month later, retraining has other trips
        assert project.ingest(str(NEXT), str(NEXT)).success
        for _ in range(2):
            assert project.train(linear_regression_model=tuned).success
    names = optuna.study.get_all_study_names(storage)
    trials = [len(optuna.load_study(study_name=name, storage=storage).trials) for name in names]
    assert sorted(trials) == [1, 2]  # the same trips continue their study
