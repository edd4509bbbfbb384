"""Fixtures that every test may use."""

import os
import warnings
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_trips() -> Path:
    """Folder of real published months; tests that need it are skipped, loudly, where it is absent.

    ``ML_ASSETS_REAL_TRIPS`` names another folder.
    """
    default = REPOSITORY.parent / "shared" / "data" / "green"
    folder = Path(os.environ.get("ML_ASSETS_REAL_TRIPS", default))
    if not (folder / "green_tripdata_2023-01.parquet").is_file():
        reason = f"real published months are not at {folder}; set ML_ASSETS_REAL_TRIPS"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    return folder
