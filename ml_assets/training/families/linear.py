"""Linear models on sparse indicators of zones, pairs and hours."""

from functools import partial
from typing import TYPE_CHECKING, Any

from ml_assets.training.families.base import (
    Estimator,
    ModelFamily,
    Tuned,
    trip_indicators,
    tunable,
)

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def _with_or_without_intercept(trial: "BaseTrial") -> dict[str, Any]:
    return {"fit_intercept": trial.suggest_categorical("fit_intercept", [True, False])}


LINEAR_REGRESSION = ModelFamily(
    name="linear_regression",
    title="Linear regression",
    description="Ordinary least squares on indicators: nothing to tune, fast, easy to explain.",
    kinds=("scikitlearn", "linear"),
    # Without a penalty, an indicator of few trips overfits.
    make_encoder=partial(trip_indicators, min_rows=10),
    make_estimator=Estimator("sklearn.linear_model:LinearRegression", seed=None),
    search_space=_with_or_without_intercept,
    defaults={"fit_intercept": True, "tol": 1e-4},
)

LASSO = ModelFamily(
    name="lasso",
    title="Lasso",
    description="Least squares with an L1 penalty, which drops uninformative indicators.",
    kinds=("scikitlearn", "linear"),
    make_encoder=trip_indicators,
    make_estimator=Estimator("sklearn.linear_model:Lasso", fixed={"selection": "random"}),
    **tunable(
        # Around 1, where the course searched, every coefficient is zero: it predicts the mean.
        alpha=Tuned(1e-3, 5e-4, 2e-2, log=True),
        max_iter=500,
        # The same error on later months as with a smaller one, in a tenth of the time.
        tol=0.1,
    ),
    tuning_rows=30_000,
)

LINEAR_SVR = ModelFamily(
    name="linear_svr",
    title="Linear support vector regression",
    description="Ridge regression on indicators that ignores errors below epsilon; the best linear "
    "model.",
    kinds=("scikitlearn", "linear"),
    make_encoder=trip_indicators,
    # The squared loss matches RMSE, and its primal form is solved in a fraction of the time that
    # the dual of the default loss needs.
    make_estimator=Estimator(
        "sklearn.svm:LinearSVR", fixed={"loss": "squared_epsilon_insensitive", "dual": False}
    ),
    **tunable(
        C=Tuned(0.1, 0.02, 0.5, log=True),
        epsilon=Tuned(0.5, 0.0, 2.0),
        max_iter=2000,
    ),
)
