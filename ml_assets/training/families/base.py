"""What a model family is: one entry with everything that training and reporting need to know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from optuna.trial import BaseTrial
    from sklearn.pipeline import Pipeline

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class ModelFamily:
    """One kind of model.

    Attributes:
        name: identifier, used in asset keys and commands.
        title: for people.
        description: one or two sentences on what it does and when it is a good choice.
        make_encoder: makes the unfitted step that encodes the matrix of RequestFeatures.
        make_estimator: ``(parameters, seed, n_jobs)`` to the unfitted estimator.
        search_space: asks an Optuna trial for the tuned parameters; a subset of ``defaults``.
        defaults: every parameter of the estimator that is set, good without tuning.
        rounds: how the number of boosting rounds ``n_estimators`` is found: ``fixed`` (it is an
            ordinary parameter or none), ``evaluation_set`` (the estimator stops early by itself,
            as XGBoost does) or ``staged`` (grown in chunks with ``warm_start``).
        tuning_rows: trials are fitted on at most so many training rows, drawn at random; the final
            fit has all of them. None: all.
    """

    name: str
    title: str
    description: str
    make_encoder: Callable[[], Any]
    make_estimator: Callable[[Parameters, int, int], Any]
    search_space: "Callable[[BaseTrial], dict[str, Any]]"
    defaults: dict[str, Any]
    rounds: Literal["fixed", "evaluation_set", "staged"] = "fixed"
    tuning_rows: int | None = None

    def make_pipeline(
        self, parameters: Parameters | None = None, seed: int = 42, n_jobs: int = 1
    ) -> "Pipeline":
        """An unfitted pipeline from a frame of requests to minutes.

        Args:
            parameters: replace some of ``defaults``.
            seed: of everything random in the estimator.
            n_jobs: threads to fit with.
        """
        from sklearn.pipeline import Pipeline

        from ml_assets.pipeline.bounded_regressor import BoundedRegressor
        from ml_assets.pipeline.features import FEATURES, RequestFeatures

        estimator = self.make_estimator({**self.defaults, **(parameters or {})}, seed, n_jobs)
        return Pipeline(
            [
                ("features", RequestFeatures(FEATURES.current)),
                ("encoder", self.make_encoder()),
                ("model", BoundedRegressor(estimator)),
            ]
        )


def trip_history() -> Any:
    """Dense encodings learned from past trips, for trees."""
    from ml_assets.pipeline.encoders import TripHistory
    from ml_assets.pipeline.features import FEATURES
    from ml_assets.pipeline.trip_tables import ENCODINGS

    return TripHistory(features=list(FEATURES.current), encodings=ENCODINGS.current)


def trip_indicators(least_rows: int = 2) -> Any:
    """Sparse indicators of what occurs in at least so many training rows, for linear models."""
    from ml_assets.pipeline.encoders import INDICATORS, TripIndicators
    from ml_assets.pipeline.features import FEATURES

    return TripIndicators(
        least_rows, features=list(FEATURES.current), indicators=INDICATORS.current
    )
