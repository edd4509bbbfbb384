"""The environment of a fit: libraries, threads, machine."""

import platform
from importlib import metadata

from pydantic import BaseModel

from ml_assets.training.fit import available_cores

LIBRARIES = ("numpy", "pandas", "scikit-learn", "scipy", "xgboost")
"""Libraries whose version can change the result of a fit."""


class Environment(BaseModel):
    """The environment in which a model was fitted.

    Attributes:
        python: Version of Python.
        libraries: Versions by library.
        cores: Cores available to the process, and so the threads of its estimators.
        machine: Processor type.
    """

    python: str
    libraries: dict[str, str]
    cores: int
    machine: str


def this_environment() -> Environment:
    """Return the environment of this process."""
    return Environment(
        python=platform.python_version(),
        libraries={name: metadata.version(name) for name in LIBRARIES},
        cores=available_cores(),
        machine=platform.machine(),
    )
