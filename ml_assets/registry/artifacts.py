"""Log and load fitted pipelines in MLflow.

They are saved as skops, MLflow's default since 3.0; ``pipeline.serialization`` has the allowlist
of types, for writing and for loading. This package is stored beside them as a wheel, since it is
not on PyPI: the code at the time of logging, without dependencies, which are pinned in the
``requirements.txt`` beside it, without Dagster.
"""

import base64
import functools
import hashlib
import io
import tempfile
import threading
import zipfile
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

import ml_assets
from ml_assets.config.code_version import package_version
from ml_assets.pipeline.serialization import (
    UntrustedModel,
    outdated_if_unreadable,
    require_definitions,
    require_trusted_types,
    trusted_types,
)
from ml_assets.registry.mlflow_runs import TrackedRun

WHEEL_FOLDER = "wheels"
"""Folder of a logged model for this package; MLflow's own models with wheels use the same name."""

_one_at_a_time = threading.Lock()
"""Held while MLflow logs a model: it changes state of the process, and steps run side by side."""


def log_pipeline(
    run: TrackedRun, pipeline: Pipeline, example: pd.DataFrame, name: str = "pipeline"
) -> str:
    """Log a fitted pipeline with its signature, a few requests as the example, and this package.

    Returns the model's URI.

    Raises:
        TypeError: The pipeline contains a type of a package that is not trusted.
    """
    requests = _as_clients_send(example)
    types = trusted_types(pipeline)
    with _one_at_a_time:
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
                ColSpec(AnyType(), "trip_distance", required=False),
                ColSpec(DataType.datetime, "pickup_datetime", required=False),
                ColSpec(AnyType(), "passenger_count", required=False),
            ]
        ),
        outputs=Schema([TensorSpec(np.dtype(np.float64), (-1,))]),
    )


def load_pipeline(uri: str) -> Pipeline:
    """Load a fitted pipeline from a model URI such as ``models:/taxi-trip-duration@champion``.

    MLflow takes the format and the trusted types from the stored model itself, which anyone with
    write access could have changed: both are checked before anything is loaded.

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
    """Return the requirements of types; MLflow would spend seconds inferring them.

    A boosting library is large and only needed by its own models.
    """
    packages = ["scikit-learn", "pandas", "numpy", "scipy", "skops", "orjson"]
    held = {name.partition(".")[0] for name in types}
    packages += [package for package in _BOOSTING_LIBRARIES if package in held]
    return [f"{package}=={version(package)}" for package in packages]


_DISTRIBUTION = "ml_assets"
_PACKAGE = Path(ml_assets.__file__).parent
_EXCLUDED = ("__pycache__", "swagger_ui")
"""Folders that loading a model does not need; the second is half a megabyte when compressed."""

_METADATA = """\
Metadata-Version: 2.1
Name: ml-assets
Version: {version}
Summary: The code of a logged model; its dependencies are pinned in the requirements.txt beside it
Requires-Python: >=3.11
"""
_WHEEL = """\
Wheel-Version: 1.0
Generator: ml-assets
Root-Is-Purelib: true
Tag: py3-none-any
"""
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
"""The earliest date of a zip archive; fixed, so that equal code gives equal bytes."""


def wheel_name() -> str:
    """Return the file name of the wheel."""
    return f"{_DISTRIBUTION}-{package_version()}-py3-none-any.whl"


def write_wheel(folder: Path) -> Path:
    """Write the wheel into an existing folder, and return the file."""
    file = folder / wheel_name()
    file.write_bytes(_wheel_content())
    return file


@functools.cache
def _wheel_content() -> bytes:
    info = f"{_DISTRIBUTION}-{package_version()}.dist-info"
    files = {
        f"{_DISTRIBUTION}/{path.relative_to(_PACKAGE).as_posix()}": path.read_bytes()
        for path in sorted(_PACKAGE.rglob("*"))
        if path.is_file() and not {*_EXCLUDED} & {*path.parts}
    }
    files[f"{info}/METADATA"] = _METADATA.format(version=package_version()).encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    record = "".join(f"{name},{_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _TIMESTAMP)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.decode().rstrip('=')}"
