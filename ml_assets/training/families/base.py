"""The definition of a model family: everything that training and reporting need to know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from optuna.trial import BaseTrial
    from sklearn.pipeline import Pipeline

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class ModelFamily:
    """A kind of model.

    Attributes:
        name: Identifier, used in asset keys and commands.
        title: Name for display.
        description: One or two sentences on what it does and when it is a good choice.
        make_encoder: Makes the unfitted step that encodes the matrix of RequestFeatures.
        make_estimator: Makes the unfitted estimator from ``(parameters, seed, n_jobs)``.
        search_space: Suggests the tuned parameters for an Optuna trial, a subset of ``defaults``.
        defaults: All parameters set on the estimator, with values that work without tuning.
        rounds: How the number of boosting rounds ``n_estimators`` is found: ``fixed`` (an ordinary
            parameter or none), ``evaluation_set`` (the estimator stops early on an evaluation set,
            like XGBoost) or ``staged`` (grown in stages with ``warm_start``).
        tuning_rows: Maximum training rows of a trial, sampled at random; the final fit uses all
            rows. None uses all for trials, too.
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
        """Make an unfitted pipeline from a frame of requests to minutes.

        Args:
            parameters: Override ``defaults``.
            seed: Seed of the estimator.
            n_jobs: Threads to fit with.
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
    """Make the encoder for tree models: dense encodings learned from past trips."""
    from ml_assets.pipeline.encoders import TripHistory
    from ml_assets.pipeline.features import FEATURES
    from ml_assets.pipeline.trip_tables import ENCODINGS

    return TripHistory(features=list(FEATURES.current), encodings=ENCODINGS.current)


def trip_indicators(min_rows: int = 2) -> Any:
    """Make the encoder for linear models: sparse indicators of values.

    Args:
        min_rows: Minimum training rows with a value for an indicator of its own.
    """
    from ml_assets.pipeline.encoders import INDICATORS, TripIndicators
    from ml_assets.pipeline.features import FEATURES

    return TripIndicators(min_rows, features=list(FEATURES.current), indicators=INDICATORS.current)
