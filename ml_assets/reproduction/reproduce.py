"""Fit a registered version again from the record of its training, and compare predictions.

The fit uses the code of training (``training.fit``) with the recorded months, parameters, rounds,
seed and threads, without tuning. Every input that has changed is reported, whether or not it made
a difference.
"""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from pydantic import BaseModel
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ml_assets.backtesting.inputs import ChampionParameters
from ml_assets.config.code_version import model_code_version
from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.evaluation.records import FittedRows, MonthSplit, Role, TrainingSet
from ml_assets.pipeline.predict import predict_modes
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.loading import PredictionsChanged, load_verified, parameter_value
from ml_assets.registry.log_training import (
    RECORD_FILE,
    TRAINING_SET_FILE,
    Environment,
    this_environment,
)
from ml_assets.registry.registry import CHAMPION, Registry
from ml_assets.reproduction import MAX_REQUESTS, ReproductionError, UnknownVersion
from ml_assets.secrets import ShownError, error_text
from ml_assets.storage.former_names import with_present_names
from ml_assets.storage.model_version import PREDICTION_TOLERANCE, UNKNOWN_MODEL, ModelVersion
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.all_rows import fit_on_all_rows, is_fitted_in_parts
from ml_assets.training.families import family_named
from ml_assets.training.fit import FittedModel, encode_trips, fit_encoded, refit
from ml_assets.training.train_and_evaluate import fit_roles
from ml_assets.training.training_set import TABLE, load_trips, past_trips
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET

Verdict = Literal["identical", "within tolerance", "differs"]


@dataclass(frozen=True)
class TrainingRecord:
    """A registered version and the record of its training.

    Attributes:
        version: The registered version; its family exists in this code.
        parameters: All parameters of its estimator, including the chosen number of rounds.
        seed: Seed of its estimator.
        rows: The rows that it was fitted on; None in the oldest records, which had all.
        refit_on_validation: Whether the evaluated model was refitted on the validation month.
        code_version: Version of the code that trained it; empty when not recorded.
        environment: Environment of the fit; None when not recorded.
    """

    registered_model: str
    version: ModelVersion
    parameters: dict[str, Any]
    seed: int
    rows: FittedRows | None
    refit_on_validation: bool
    training_set: TrainingSet
    code_version: str
    environment: Environment | None

    def __str__(self) -> str:
        return f"version {self.version.version} ({self.version.model})"

    @property
    def uri(self) -> str:
        """URI of the version."""
        return f"models:/{self.registered_model}/{self.version.version}"

    def libraries(self) -> dict[str, str]:
        """Return the recorded versions of the libraries that it was fitted with."""
        kept = self.environment.libraries if self.environment else {}
        return {**_requirements(self.uri), **kept}


def load_training_record(registry: Registry, which: str) -> TrainingRecord:
    """Load the training record of a version, by its number or alias.

    Raises:
        UnknownVersion: The version does not exist, or the record of its training is gone.
    """
    client, name = registry.client, registry.name
    version = _find(registry, which)
    try:
        run = client.get_run(version.run_id)
        training_set = TrainingSet.model_validate(_artifact(client, run, TRAINING_SET_FILE))
    except Exception as error:
        raise UnknownVersion(
            f"the training record of version {version.version} of {name} in MLflow (run "
            f"{version.run_id or 'unknown'}) cannot be read ({error_text(error)})"
        ) from error
    kept, params = _kept_record(client, run), with_present_names(run.data.params)
    parameters = kept["record"]["parameters"] if kept else run.data.params
    if version.model == UNKNOWN_MODEL:
        version = version.model_copy(update={"model": run.data.tags.get("model", UNKNOWN_MODEL)})
    family = version.model
    try:
        family_named(family)
    except ValueError as error:
        raise UnknownVersion(f"version {version.version} of {name}: {error}") from error
    return TrainingRecord(
        registered_model=name,
        version=version,
        parameters=_of_family(family, parameters, as_text=kept is None),
        seed=int(params["seed"]),
        rows=FittedRows.model_validate(kept["record"]["rows"])
        if kept and kept["record"].get("rows")
        else None,
        refit_on_validation=str(params.get("refit_on_validation")) != "False",
        training_set=training_set,
        code_version=run.data.tags.get("code_version", ""),
        environment=Environment.model_validate(kept["environment"]) if kept else None,
    )


def champion_parameters_of(registry: Registry, dataset: str) -> ChampionParameters | None:
    """Return the champion's parameters; None without a champion of this dataset.

    Raises:
        UnknownVersion: The record of its training is gone.
    """
    if registry.champion() is None:
        return None
    champion = load_training_record(registry, CHAMPION)
    if champion.training_set.dataset != dataset:
        return None
    return ChampionParameters(champion.version, champion.parameters)


def _find(registry: Registry, which: str) -> ModelVersion:
    found = registry.get(which)
    if found is None and which == CHAMPION:
        raise UnknownVersion(registry.explain_missing_champion())
    if found is None:
        name, there = registry.name, registry.describe_versions()
        if which.isdecimal():
            raise UnknownVersion(f"{name} has no version {which}: there are {there}")
        raise UnknownVersion(f"no version of {name} is called {which}: there are {there}")
    return found


def _artifact(client: MlflowClient, run: Any, file: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = client.download_artifacts(run.info.run_id, file, folder)
        return json.loads(Path(path).read_text(encoding="utf-8"))


def _kept_record(client: MlflowClient, run: Any) -> dict[str, Any] | None:
    """Return the model's record with its environment; None when not recorded."""
    names = {entry.path for entry in client.list_artifacts(run.info.run_id)}
    if RECORD_FILE not in names:
        return None
    kept: dict[str, Any] = _artifact(client, run, RECORD_FILE)
    return kept


def _of_family(family: str, recorded: dict[str, Any], *, as_text: bool) -> dict[str, Any]:
    """Select the parameters of the family's estimator from all recorded ones."""
    names = family_named(family).parameter_names
    known = {name: value for name, value in recorded.items() if name in names}
    return {name: parameter_value(text) for name, text in known.items()} if as_text else known


def _requirements(uri: str) -> dict[str, str]:
    """Return the versions pinned in the stored model's requirements."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{uri}/requirements.txt"
        path = mlflow.artifacts.download_artifacts(artifact_uri=file, dst_path=folder)
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    pinned = (line.partition("==") for line in lines if "==" in line)
    return {name.strip(): version.strip() for name, _, version in pinned}


class ChangedInput(BaseModel):
    """An input that has changed since the version was trained."""

    input: str
    recorded: str
    now: str


class Reproduction(BaseModel):
    """Comparison of a registered version with a new fit of it.

    Attributes:
        refit: Whether the registered model was fitted on all months.
        training_months: The months of both fits.
        test_month: The month whose trips were predicted.
        requests: Compared trips, each with its metered distance and without one.
        verdict: ``identical`` means to the last bit.
        tolerance: Maximum difference of equal predictions, minutes.
        largest_difference: Largest absolute difference, minutes.
        mean_difference: Mean absolute difference, minutes.
        beyond_tolerance: Share of predictions that differ by more than the tolerance.
        rmse_recorded: RMSE of the registered model on these trips, with their metered distances,
            minutes.
        rmse_reproduced: The same of the new fit.
        rmse_usual_recorded: RMSE of the registered model on these trips without distances, minutes.
        rmse_usual_reproduced: The same of the new fit.
        differences: Inputs that have changed.
    """

    version: str
    model: str
    refit: bool
    training_months: list[str]
    test_month: str
    requests: int
    verdict: Verdict
    tolerance: float
    largest_difference: float
    mean_difference: float
    beyond_tolerance: float
    rmse_recorded: float
    rmse_reproduced: float
    rmse_usual_recorded: float
    rmse_usual_reproduced: float
    differences: list[ChangedInput]
    seconds: float

    @property
    def sentence(self) -> str:
        """The result as a sentence."""
        trips = f"{self.requests:,} trips of {self.test_month}"
        predictions = f"predictions for {trips}, with and without a distance,"
        if self.verdict == "identical":
            return f"identical: {predictions} are equal to the last bit"
        largest, mean = self.largest_difference, self.mean_difference
        far = f"at most {largest:.2g} {TARGET.symbol} apart, {mean:.2g} on average"
        if self.verdict == "within tolerance":
            return f"within tolerance ({self.tolerance:g} {TARGET.symbol}): {predictions} are {far}"
        why = "" if self.differences else "; no input differs, so it lies in the fit itself"
        return (
            f"differs: {predictions} are {far}; {self.beyond_tolerance:.1%} of them more than the "
            f"tolerance of {self.tolerance:g} min{why}"
        )


def reproduce(
    registry: Registry,
    which: str,
    store: TripStore,
    *,
    tolerance: float = PREDICTION_TOLERANCE,
    max_requests: int = MAX_REQUESTS,
) -> Reproduction:
    """Fit a version again, and compare the predictions of both fits for the test month.

    Args:
        store: Trip store with the months, used as they are now.
        tolerance: Maximum difference of equal predictions, minutes.
        max_requests: Maximum number of predictions; every n-th trip of the test month is used.

    Raises:
        UnknownVersion: The version does not exist, or the record of its training is gone.
        ReproductionError: A month is missing, the version is of another dataset, or it cannot be
            loaded or fitted by the current code.
    """
    recorded = load_training_record(registry, which)
    now = _as_stored(store, recorded)
    registered = _registered(recorded)
    test_trips = load_trips(store, now, "test")
    test_trips = test_trips.iloc[:: -(-len(test_trips) // max_requests)]
    begun = time.perf_counter()
    try:
        fitted = _fitted_again(recorded, store, now, registered)
        seconds = time.perf_counter() - begun
        compared = _compared(registered, fitted, test_trips, tolerance)
    except (ShownError, OSError):
        raise
    except Exception as error:
        raise ReproductionError(
            f"{recorded} cannot be fitted again and compared "
            f"by this code ({error_text(error)}): use the code that registered it "
            f"({recorded.code_version or 'unknown'}; this is {model_code_version()})"
        ) from error
    return Reproduction(
        version=recorded.version.version,
        model=recorded.version.model,
        refit=recorded.version.refit,
        training_months=[str(month) for month in now.months_in(*_roles(recorded))],
        test_month=", ".join(str(month) for month in now.months_in("test")),
        requests=len(test_trips),
        tolerance=tolerance,
        differences=changed_inputs(recorded, now),
        seconds=seconds,
        **compared,
    )


def threads_of(pipeline: Pipeline) -> int:
    """Return the number of threads that a pipeline's estimator was fitted with."""
    parameters = pipeline["model"].regressor.get_params()
    return int(parameters.get("n_jobs") or 1)


def _roles(recorded: TrainingRecord) -> tuple[Role, ...]:
    if recorded.version.refit:
        return ("train", "validation", "test")
    return fit_roles(recorded.training_set, recorded.refit_on_validation)


def _as_stored(store: TripStore, recorded: TrainingRecord) -> TrainingSet:
    """Return the training set with its months as they are stored now."""
    training_set = recorded.training_set
    if training_set.dataset != store.dataset:
        raise ReproductionError(
            f"{recorded} was trained on {training_set.dataset}, and the current settings "
            f"are of {store.dataset}: set ML_ASSETS_TRIPS and ML_ASSETS_TAXI as they were then"
        )
    there = {*store.months(TABLE)}
    wanted = training_set.months_in(*_roles(recorded), "test")
    missing = [month for month in wanted if month not in there]
    if missing:
        raise ReproductionError(
            f"{recorded} needs {', '.join(map(str, missing))} of {store.dataset}, "
            f"which {'is' if len(missing) == 1 else 'are'} not stored: ingest with `ml-assets run "
            f"--first {missing[0]} --last {missing[-1]} --ingest-only`"
        )
    uses = [
        _use_now(store, use) if Month.parse(use.month) in there else use
        for use in training_set.months
    ]
    return training_set.model_copy(update={"months": uses})


def _use_now(store: TripStore, use: MonthSplit) -> MonthSplit:
    lineage, rows = store.lineage(TABLE, Month.parse(use.month))
    return use.model_copy(
        update={
            "rows": rows,
            "raw_sha256": lineage.raw_sha256,
            "source": lineage.source,
            "code_version": lineage.code_version,
        }
    )


def _registered(recorded: TrainingRecord) -> Pipeline:
    try:
        return load_pipeline(recorded.uri)
    except Exception as error:
        raise ReproductionError(
            f"{recorded} cannot be loaded by this code, so "
            f"there is nothing to compare with ({error_text(error)}): use the code "
            f"that registered it ({recorded.code_version or 'unknown'})"
        ) from error


def _fitted_again(
    recorded: TrainingRecord, store: TripStore, now: TrainingSet, registered: Pipeline
) -> Pipeline:
    """Fit as in training: on the training months, or refitted on more months.

    Uses the features of the registered model, even if the current ones differ.
    """
    family, roles = family_named(recorded.version.model), _roles(recorded)
    parameters = {**family.defaults, **recorded.parameters}
    steps, threads = clone(registered[:-1]), threads_of(registered)
    rows = recorded.rows
    if is_fitted_in_parts(family, rows, now.rows_in(*roles)):
        family.require_packages()
        model = family.make_model(steps[-1], parameters, recorded.seed, threads)
        return fit_on_all_rows(
            family,
            Pipeline([*steps.steps, ("model", model)]),
            store,
            now,
            *roles,
            seed=recorded.seed,
        )
    max_rows = None if rows is None else rows.max_rows
    trips = load_trips(store, now, *roles, max_rows=max_rows, seed=recorded.seed)
    past = past_trips(store, now, *roles, fitted=len(trips))
    if roles == ("train",):
        # The second frame is only measured on.
        encoded = encode_trips(family, trips, trips.head(), steps, past)
        return fit_encoded(family, encoded, parameters, recorded.seed, threads).pipeline
    family.require_packages()
    model = family.make_model(steps[-1], parameters, recorded.seed, threads)
    unfitted = Pipeline([*steps.steps, ("model", model)])
    nothing = FittedModel(family.name, unfitted, parameters, float("nan"), 0.0)
    return refit(nothing, trips, past).pipeline


def _compared(
    registered: Pipeline, fitted: Pipeline, test_trips: pd.DataFrame, tolerance: float
) -> dict[str, Any]:
    actual = test_trips[TARGET.name]
    before, after = (
        np.array(predict_modes(pipeline, test_trips)) for pipeline in (registered, fitted)
    )
    apart = np.abs(after - before)
    verdict: Verdict = "within tolerance" if apart.max() <= tolerance else "differs"
    return {
        "verdict": "identical" if np.array_equal(before, after) else verdict,
        "largest_difference": float(apart.max()),
        "mean_difference": float(apart.mean()),
        "beyond_tolerance": float(np.mean(apart > tolerance)),
        "rmse_recorded": root_mean_squared_error(actual, before[0]),
        "rmse_reproduced": root_mean_squared_error(actual, after[0]),
        "rmse_usual_recorded": root_mean_squared_error(actual, before[1]),
        "rmse_usual_reproduced": root_mean_squared_error(actual, after[1]),
    }


def changed_inputs(recorded: TrainingRecord, now: TrainingSet) -> list[ChangedInput]:
    """Return every input that has changed: months, code, libraries, machine.

    Args:
        now: Its training set with its months as they are stored now.
    """
    found = _months_apart(recorded.training_set, now)
    here = this_environment()
    pairs = {"code": (recorded.code_version, model_code_version())}
    for library, version in recorded.libraries().items():
        installed = here.libraries.get(library, version)
        pairs[f"library {library}"] = (version, installed)
    if recorded.environment is not None:
        pairs["Python"] = (recorded.environment.python, here.python)
        pairs["processor"] = (recorded.environment.machine, here.machine)
        pairs["cores"] = (str(recorded.environment.cores), str(here.cores))
    found += [
        ChangedInput(input=name, recorded=then or "not recorded", now=by_now)
        for name, (then, by_now) in pairs.items()
        if then != by_now
    ]
    try:
        load_verified(recorded.registered_model, recorded.version)
    except PredictionsChanged as error:
        change = ChangedInput(
            input="the code's predictions", recorded="as registered", now=str(error)
        )
        found.append(change)
    return found


def _months_apart(then: TrainingSet, now: TrainingSet) -> list[ChangedInput]:
    """Return the months that were republished or cleaned by other code, each once."""
    found: dict[str, ChangedInput] = {}
    for before, after in zip(then.months, now.months, strict=True):
        pairs = {
            f"published file of {before.month} (sha256)": (
                before.raw_sha256[:12],
                after.raw_sha256[:12],
            ),
            f"trips kept of {before.month}": (f"{before.rows:,}", f"{after.rows:,}"),
            f"code that cleaned {before.month}": (before.code_version, after.code_version),
        }
        for name, (one, other) in pairs.items():
            if one != other:
                found[name] = ChangedInput(input=name, recorded=one, now=other)
    return list(found.values())
