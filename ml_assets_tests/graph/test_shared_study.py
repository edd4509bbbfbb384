"""Tuning studies in a database that several runs share."""

import optuna

from ml_assets_tests.project import open_project, settings_for


def test_each_training_set_has_a_study_of_its_own(tmp_path):
    storage = f"sqlite:///{tmp_path}/studies.db"
    tuned = {"trials": 1, "study_storage": storage}
    with open_project(settings_for(tmp_path / "home")) as project:
        for newest in ("2023-03", "2023-04"):  # a month later, retraining has other trips
            assert project.ingest("2023-01", newest).success
            assert project.train(linear_regression_model=tuned).success
        assert project.train(linear_regression_model=tuned).success
    names = optuna.study.get_all_study_names(storage)
    trials = [len(optuna.load_study(study_name=name, storage=storage).trials) for name in names]
    assert sorted(trials) == [1, 2]  # the same trips continue their study
