"""What a fit ran on, beside its data and parameters: libraries, threads, machine."""

import platform
from importlib import metadata

from pydantic import BaseModel

from ml_assets.training.fit import available_cores

LIBRARIES = ("numpy", "pandas", "scikit-learn", "scipy", "xgboost")
"""Those whose version can move what a fit learns."""


class Environment(BaseModel):
    """Where a model was fitted.

    Attributes:
        python: Its version.
        libraries: Name to version.
        cores: Cores that the process could use, and so the threads of its estimators.
        machine: Kind of processor.
    """

    python: str
    libraries: dict[str, str]
    cores: int
    machine: str


def this_environment() -> Environment:
    """The environment of this process."""
    return Environment(
        python=platform.python_version(),
        libraries={name: metadata.version(name) for name in LIBRARIES},
        cores=available_cores(),
        machine=platform.machine(),
    )
