"""Log and load fitted pipelines in MLflow.

They are saved as skops, MLflow's default since 3.0; ``pipeline.serialization`` has the allowlist
of types, for writing and for loading.
"""

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType, ColSpec
from sklearn.pipeline import Pipeline

from ml_assets.pipeline.serialization import (
    UntrustedModel,
    outdated_if_unreadable,
    require_definitions,
    require_trusted_types,
    trusted_types,
)
from ml_assets.registry.mlflow_runs import TrackedRun
from ml_assets.registry.package_wheel import wheel_name, write_wheel

WHEEL_FOLDER = "wheels"
"""Folder of a logged model for this package; MLflow's own models with wheels use the same name."""


def log_pipeline(
    run: TrackedRun, pipeline: Pipeline, example: pd.DataFrame, name: str = "pipeline"
) -> str:
    """Log a fitted pipeline with its signature, an input example and this package as a wheel.

    Args:
        run: The open run.
        pipeline: Fitted pipeline, from request columns to minutes.
        example: A few requests.
        name: Name of the logged model.

    Returns:
        The model's URI.

    Raises:
        TypeError: The pipeline contains a type of a package that is not trusted.
    """
    requests = _as_clients_send(example)
    types = trusted_types(pipeline)
    logged = mlflow.sklearn.log_model(
        pipeline,
        name=name,
        signature=request_signature(),
        input_example=requests,
        serialization_format="skops",
        skops_trusted_types=types,
        pip_requirements=[*_requirements(types), f"{WHEEL_FOLDER}/{wheel_name()}"],
        metadata=_features(pipeline),
        run_id=run.run_id,
    )
    with tempfile.TemporaryDirectory() as folder:
        write_wheel(Path(folder))
        run.client.log_model_artifacts(logged.model_id, folder, WHEEL_FOLDER)
    return str(logged.model_uri)


def request_signature() -> ModelSignature:
    """Return the model signature: the fields of a request, and minutes as the output.

    Zones are integers. MLflow rejects 64-bit integers for a double and a missing value for an
    integer, so distance and passenger count, which may be either, have no declared type.
    """
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(DataType.long, "PULocationID"),
                ColSpec(DataType.long, "DOLocationID"),
                ColSpec(AnyType(), "trip_distance"),
                ColSpec(DataType.datetime, "pickup_datetime", required=False),
                ColSpec(AnyType(), "passenger_count", required=False),
            ]
        ),
        outputs=Schema([TensorSpec(np.dtype(np.float64), (-1,))]),
    )


def load_pipeline(uri: str) -> Pipeline:
    """Load a pipeline from a model URI such as ``models:/taxi-trip-duration@champion``.

    MLflow takes the format and the trusted types from the stored model itself, which anyone with
    write access could have changed: both are checked before anything is loaded.

    Args:
        uri: URI of a model logged by :func:`log_pipeline`.

    Returns:
        The fitted pipeline.

    Raises:
        UntrustedModel: The model has another format, or needs types of other packages.
        OutdatedModel: It was stored by an incompatible version of this package.
        UnknownFeature: It was fitted with a feature that this code does not define.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Check and load the same copy, so that it cannot change in between.
        copy = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder)
        require_trusted(uri, mlflow.models.Model.load(copy).flavors)
        with outdated_if_unreadable(uri):
            pipeline: Pipeline = mlflow.sklearn.load_model(copy)
    require_definitions(pipeline, uri)
    return pipeline


def require_trusted(uri: str, flavors: dict[str, Any]) -> None:
    """Check the format and types of a stored model before anything of it is loaded.

    Args:
        uri: URI of the model, for messages.
        flavors: Flavors of its ``MLmodel`` file.

    Raises:
        UntrustedModel: The model has another format, or needs types of other packages.
        OutdatedModel: It was stored by an incompatible version of this package.
    """
    flavor = flavors.get("sklearn")
    if flavor is None:
        raise UntrustedModel(f"{uri} is not a scikit-learn pipeline of this project")
    found = flavor.get("serialization_format", "pickle")
    if found != "skops":
        raise UntrustedModel(
            f"{uri} is stored as {found}, which may run any code when it is loaded: only skops is "
            "loaded; materialize the model again"
        )
    if flavor.get("code"):
        raise UntrustedModel(f"{uri} comes with its own code ({flavor['code']}), which is not run")
    require_trusted_types(flavor.get("skops_trusted_types") or [], uri)


def _as_clients_send(requests: pd.DataFrame) -> pd.DataFrame:
    """Convert zones to 64-bit integers and other numbers to doubles, as clients send them."""
    numbers = dict.fromkeys(requests.select_dtypes("number").columns, "float64")
    return requests.astype(numbers | {"PULocationID": "int64", "DOLocationID": "int64"})


def _features(pipeline: Pipeline) -> dict[str, dict[str, int]]:
    """Return names and versions of the feature definitions a pipeline was fitted with, by kind."""
    return {
        kind: versions
        for _, step in pipeline.steps
        for kind in ("features", "encodings", "indicators", "numbers")
        if isinstance(versions := getattr(step, f"{kind}_", None), dict)
    }


_BOOSTING_LIBRARIES = ("xgboost", "lightgbm", "catboost")


def _requirements(types: list[str]) -> list[str]:
    """Return the requirements for loading a pipeline; MLflow would spend seconds inferring them.

    Args:
        types: Types in the pipeline; a boosting library is large and only needed by its own models.
    """
    packages = ["scikit-learn", "pandas", "numpy", "scipy", "skops", "orjson"]
    held = {name.partition(".")[0] for name in types}
    packages += [package for package in _BOOSTING_LIBRARIES if package in held]
    return [f"{package}=={version(package)}" for package in packages]
