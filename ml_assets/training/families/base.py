"""The definition of a model family: everything that training and reporting need to know."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_assets.secrets import ShownError
from ml_assets.training.row_sample import RowLimit

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from optuna.trial import BaseTrial
    from sklearn.pipeline import Pipeline

    from ml_assets.pipeline.bounded_regressor import BoundedRegressor

Parameters = Mapping[str, Any]

SHARE_WITHOUT_DISTANCE = "share_without_distance"
"""Name of the parameter with the share of rows of the estimator for requests without a distance."""

MAX_ROUNDS = 3000
EARLY_STOPPING_ROUNDS = 40
"""Boosting stops after this many rounds without improvement on the validation month."""

STAGE = 10
"""Trees that ``stop_in_stages`` adds at a time. Exact gradient boosting uses one core and no
histograms, hence at most 160 trees."""

MAX_STAGES = 16
EARLY_STOPPING_STAGES = 2


class MissingPackage(ShownError, ImportError):
    """A family needs a package that is not installed, or whose types may not be stored."""


@dataclass(frozen=True)
class TrialRows:
    """The encoded rows of a trial, for a fit that stops early.

    Attributes:
        train: Training rows, shape (n, m), dense or CSR.
        train_target: Their target, shape (n,).
        validation: Rows of the validation month, shape (k, m).
        validation_target: Their target, shape (k,).
        rmse: Computes the RMSE of predictions for the validation rows.
        report: Call it with the validation RMSE and the number of rounds so far. It raises to stop
            an unpromising trial.
    """

    train: Any
    train_target: "npt.NDArray[np.float64]"
    validation: Any
    validation_target: "npt.NDArray[np.float64]"
    rmse: "Callable[[npt.NDArray[np.float64]], float]"
    report: Callable[[float, int], None]


@dataclass(frozen=True)
class RowBatches:
    """Encoded rows that are read in parts, for a fit that does not hold them all.

    Attributes:
        read: Reads the parts from the first on: rows, shape (n, m), and their target, shape (n,).
        folder: Empty folder for what is too large for memory, removed after the fit; None if it is
            to be kept in memory.
    """

    read: "Callable[[], Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]]]"
    folder: Path | None


@dataclass(frozen=True)
class EarlyStopping:
    """How a family finds its number of rounds on the validation month.

    Attributes:
        fit: Fits an estimator of ``MAX_ROUNDS`` rounds on the training rows and stops early.
            Returns the best number of rounds, and the predictions of that many rounds for the
            validation rows.
        parameter: Name of the parameter with the number of rounds, one of the family's defaults.
        repeatable: Whether a fit of the best number of rounds predicts the same, to the last bit.
    """

    fit: Callable[[Any, TrialRows], "tuple[int, npt.NDArray[np.float64]]"]
    parameter: str = "n_estimators"
    repeatable: bool = False


@dataclass(frozen=True)
class ModelFamily:
    """A kind of model.

    Attributes:
        name: Identifier, used in asset keys and commands.
        description: One or two sentences on what it does and when it is a good choice; shown on its
            asset, in MLflow and in the documentation.
        make_encoder: Makes the unfitted step that encodes the matrix of RequestFeatures.
        make_estimator: Makes the unfitted estimator from ``(parameters, seed, n_jobs)``.
        search_space: Suggests the tuned parameters for an Optuna trial, a subset of ``defaults``.
        defaults: All parameters set on the estimator, with values that work without tuning.
        kinds: Up to two kinds of the asset in Dagster's UI: the library, and ``linear`` or
            ``trees``.
        early_stopping: How the number of rounds is found on the validation month; None for an
            estimator without rounds, or with an ordinary parameter for them.
        packages: Packages besides scikit-learn that the estimator and its stored form need, as they
            are imported; they must be trusted by ``pipeline.serialization``. Checked before a fit.
        single_core: Whether its fit keeps one core busy; a run fits it beside one that uses all.
        share_without_distance: Share of the training rows that the estimator for requests without a
            distance is fitted on; a parameter of the same name replaces it.
        without_distance: Parameters of that estimator which differ from those of the other one.
        max_rows: Maximum rows that it is fitted on unless a user states another number: a sample
            beyond, stratified by month and pick-up zone; see ``docs/scale.md`` for what that
            costs. None fits on all.
        tuning_rows: Maximum training rows of a trial, sampled at random; the final fit uses
            ``max_rows``. None uses the same for trials.
        fit_batches: Fits an estimator on rows that are read in parts, with a result as of its
            ``fit``. With it, a fit on ``all`` rows beyond ``max_rows`` does not hold them in memory
            (see ``training.all_rows``). Its encoder needs ``fit_parts`` and ``encode_fitted``, as
            :class:`~ml_assets.pipeline.encoders.TripHistory` has them.
    """

    name: str
    title: str
    description: str
    make_encoder: Callable[[], Any]
    make_estimator: Callable[[Parameters, int, int], Any]
    search_space: "Callable[[BaseTrial], dict[str, Any]]"
    defaults: dict[str, Any]
    kinds: tuple[str, ...] = ("scikitlearn",)
    early_stopping: EarlyStopping | None = None
    packages: tuple[str, ...] = ()
    single_core: bool = False
    share_without_distance: float = 1.0
    without_distance: Parameters = field(default_factory=dict)
    max_rows: int | None = 1_000_000
    tuning_rows: int | None = 300_000
    fit_batches: Callable[[Any, RowBatches], None] | None = None

    def bound(self, limit: RowLimit) -> int | None:
        """Return the maximum rows of a fit under a stated limit; None without one."""
        if limit == "default":
            return self.max_rows
        return None if limit == "all" else limit

    def require_installed(self) -> None:
        """Check that the packages are installed, without importing them.

        Raises:
            MissingPackage: One is not; the message names the family, the package and the remedy.
        """
        for package in self.packages:
            if find_spec(package) is None:
                raise MissingPackage(
                    f"the family {self.name} needs the package {package}, which is not installed: "
                    f"run `pip install {package}`, or train other families"
                )

    def require_packages(self) -> None:
        """Raise MissingPackage unless packages are installed and their types may be stored."""
        from ml_assets.pipeline.serialization import is_trusted_package

        self.require_installed()
        for package in self.packages:
            if not is_trusted_package(package):
                raise MissingPackage(
                    f"the family {self.name} could not be stored: no type of the package {package} "
                    "is trusted. Add its types to TRUSTED_TYPES in "
                    "ml_assets/pipeline/serialization.py"
                )

    @property
    def usual_rounds(self) -> str | None:
        """Name of the parameter with the rounds of the estimator for requests without a distance.

        None without early stopping; if it is not given, both have the same rounds.
        """
        stopping = self.early_stopping
        return None if stopping is None else f"{stopping.parameter}_without_distance"

    @property
    def parameter_names(self) -> frozenset[str]:
        """Names of all parameters: those with a default, and those of requests without one.

        The latter are ``SHARE_WITHOUT_DISTANCE``, and ``usual_rounds`` if there is one.
        """
        of_usual = {self.usual_rounds} if self.usual_rounds else set()
        return frozenset(self.defaults) | of_usual | {SHARE_WITHOUT_DISTANCE}

    def make_model(
        self, encoder: Any, parameters: Parameters | None = None, seed: int = 42, n_jobs: int = 1
    ) -> "BoundedRegressor":
        """Make the unfitted last step for rows of an encoder; parameters override the defaults.

        Args:
            encoder: The step before it. One without ``distance_columns`` has no columns that depend
                on the stated distance, and the model one estimator for all requests.
        """
        from ml_assets.pipeline.bounded_regressor import BoundedRegressor

        chosen = {**self.defaults, **(parameters or {})}
        share = chosen.pop(SHARE_WITHOUT_DISTANCE, self.share_without_distance)
        rounds = chosen.pop(self.usual_rounds, None) if self.usual_rounds else None
        of_other = dict(self.without_distance)
        if rounds is not None and self.early_stopping is not None:
            of_other[self.early_stopping.parameter] = rounds
        other = self.make_estimator({**chosen, **of_other}, seed, n_jobs) if of_other else None
        return BoundedRegressor(
            self.make_estimator(chosen, seed, n_jobs),
            distance_columns=getattr(encoder, "distance_columns", 0),
            without_distance=other,
            share_without_distance=share,
        )

    def make_pipeline(
        self, parameters: Parameters | None = None, seed: int = 42, n_jobs: int = 1
    ) -> "Pipeline":
        """Make an unfitted pipeline from requests to minutes; the parameters override the defaults.

        Raises:
            MissingPackage: See :meth:`require_packages`.
        """
        from ml_assets.pipeline.encoders import unfitted_pipeline

        self.require_packages()
        encoder = self.make_encoder()
        return unfitted_pipeline(encoder, self.make_model(encoder, parameters, seed, n_jobs))


@dataclass(frozen=True)
class Estimator:
    """Makes a family's unfitted estimator; for ``ModelFamily.make_estimator``.

    Attributes:
        path: ``module:Class``, imported when the estimator is made.
        seed: Name of its parameter for the seed; None without one.
        threads: Name of its parameter for the number of threads; None without one.
        fixed: Parameters that are the same in every fit.
    """

    path: str
    seed: str | None = "random_state"
    threads: str | None = None
    fixed: Parameters = field(default_factory=dict)

    def __call__(self, parameters: Parameters, seed: int, n_jobs: int) -> Any:
        """Make the estimator."""
        module, _, class_name = self.path.partition(":")
        run = {name: value for name, value in ((self.seed, seed), (self.threads, n_jobs)) if name}
        return getattr(import_module(module), class_name)(**self.fixed, **run, **parameters)


@dataclass(frozen=True)
class Tuned:
    """A tuned parameter: its default, and the range that Optuna samples (integers for an int)."""

    default: float
    low: float
    high: float
    log: bool = False

    def suggest(self, trial: "BaseTrial", name: str) -> float:
        """Suggest a value for a trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


def tunable(**parameters: Any) -> dict[str, Any]:
    """Return ``defaults`` and ``search_space`` of a family from its parameters.

    Args:
        parameters: A value for each fixed parameter, and a ``Tuned`` for each tuned one.
    """
    tuned = {name: value for name, value in parameters.items() if isinstance(value, Tuned)}

    def search_space(trial: "BaseTrial") -> dict[str, Any]:
        return {name: value.suggest(trial, name) for name, value in tuned.items()}

    defaults = parameters | {name: value.default for name, value in tuned.items()}
    return {"defaults": defaults, "search_space": search_space}


def stop_in_stages(estimator: Any, rows: TrialRows) -> "tuple[int, npt.NDArray[np.float64]]":
    """Grow ``n_estimators`` trees in stages with ``warm_start``; for ``EarlyStopping.fit``."""
    estimator.set_params(warm_start=True)
    best: Any = None
    for trees in range(STAGE, STAGE * MAX_STAGES + 1, STAGE):
        predicted = (
            estimator.set_params(n_estimators=trees)
            .fit(rows.train, rows.train_target)
            .predict(rows.validation)
        )
        rmse = rows.rmse(predicted)
        rows.report(rmse, trees)
        if best is None or rmse < best[0]:
            best = (rmse, trees, predicted)
        elif trees - best[1] == STAGE * EARLY_STOPPING_STAGES:
            break
    return best[1], best[2]


def trip_history() -> Any:
    """Make the encoder for tree models: dense encodings learned from past trips."""
    from ml_assets.pipeline.encoders import current_history

    return current_history()


def trip_indicators(min_rows: int = 2) -> Any:
    """Make the encoder for linear models: indicators of values with ``min_rows`` trips."""
    from ml_assets.pipeline.encoders import current_indicators

    return current_indicators(min_rows)
