"""Linear models on sparse indicators of zones, pairs and hours."""

from functools import partial
from typing import TYPE_CHECKING, Any

from ml_assets.training.families.base import ModelFamily, Parameters, trip_indicators

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def _linear_regression(parameters: Parameters, seed: int, n_jobs: int) -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression(**parameters)


def _linear_regression_space(trial: "BaseTrial") -> dict[str, Any]:
    return {"fit_intercept": trial.suggest_categorical("fit_intercept", [True, False])}


LINEAR_REGRESSION = ModelFamily(
    name="linear_regression",
    title="Linear regression",
    description="Ordinary least squares on indicators: nothing to tune, fast, easy to explain.",
    kinds=("scikitlearn", "linear"),
    # Without a penalty, an indicator of few trips overfits.
    make_encoder=partial(trip_indicators, min_rows=10),
    make_estimator=_linear_regression,
    search_space=_linear_regression_space,
    defaults={"fit_intercept": True, "tol": 1e-4},
)


def _lasso(parameters: Parameters, seed: int, n_jobs: int) -> Any:
    from sklearn.linear_model import Lasso

    return Lasso(selection="random", random_state=seed, **parameters)


def _lasso_space(trial: "BaseTrial") -> dict[str, Any]:
    # Around 1, where the course searched, every coefficient is zero and predictions are the mean.
    return {"alpha": trial.suggest_float("alpha", 5e-4, 2e-2, log=True)}


LASSO = ModelFamily(
    name="lasso",
    title="Lasso",
    description="Least squares with an L1 penalty, which drops uninformative indicators.",
    kinds=("scikitlearn", "linear"),
    make_encoder=trip_indicators,
    make_estimator=_lasso,
    search_space=_lasso_space,
    # A looser tolerance has the same error on later months and converges in a tenth of the time.
    defaults={"alpha": 1e-3, "max_iter": 500, "tol": 0.1},
    tuning_rows=30_000,
)


def _linear_svr(parameters: Parameters, seed: int, n_jobs: int) -> Any:
    from sklearn.svm import LinearSVR

    # The squared loss matches RMSE, and its primal form is solved in a fraction of the time that
    # the dual of the default loss needs.
    return LinearSVR(
        loss="squared_epsilon_insensitive", dual=False, random_state=seed, **parameters
    )


def _linear_svr_space(trial: "BaseTrial") -> dict[str, Any]:
    return {
        "C": trial.suggest_float("C", 0.02, 0.5, log=True),
        "epsilon": trial.suggest_float("epsilon", 0.0, 2.0),
    }


LINEAR_SVR = ModelFamily(
    name="linear_svr",
    title="Linear support vector regression",
    description="Ridge regression on indicators that ignores errors below epsilon; the best linear "
    "model.",
    kinds=("scikitlearn", "linear"),
    make_encoder=trip_indicators,
    make_estimator=_linear_svr,
    search_space=_linear_svr_space,
    defaults={"C": 0.1, "epsilon": 0.5, "max_iter": 2000},
)
