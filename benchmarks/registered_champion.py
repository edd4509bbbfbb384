"""A champion in its own registry, and requests for it."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.published_months import TAXI, PublishedMonths
from benchmarks.subprocesses import run_alone
from ml_assets.config.settings import REGISTERED_MODEL
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.requests.parse import states_distance
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import REQUEST_COLUMNS

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FIRST, LAST = Month(2023, 1), Month(2023, 4)
REQUEST_MONTH = Month(2023, 5)
MODEL = "xgboost"
URI = f"models:/{REGISTERED_MODEL}@champion"
COMMAND = ["-c", "from ml_assets.cli import main; main()"]


@dataclass(frozen=True)
class RegisteredChampion:
    """A model that serves.

    Attributes:
        variables: The project's settings that lead to it.
        pipeline: The same, loaded into this process.
        requests: Trips of a month that it has not seen: the request columns, all valid.
    """

    variables: dict[str, str]
    pipeline: "Pipeline"
    requests: pd.DataFrame

    def bodies(self, count: int) -> list[dict[str, Any]]:
        """Return the first requests as JSON values."""
        first = self.requests.head(count)
        columns = {
            name: [value.item() for value in first[name].to_numpy()]
            for name in REQUEST_COLUMNS
            if name != "pickup_datetime"
        }
        columns["pickup_datetime"] = [time.isoformat() for time in first["pickup_datetime"]]
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        return [{name: _or_null(row[name]) for name in REQUEST_COLUMNS} for row in rows]

    def write_booster(self, booster: Path, rows: Path, count: int) -> None:
        """Write the booster for stated distances, and encoded requests."""
        encoded = self.pipeline[:-1].transform(self.requests.head(count))
        np.save(rows, np.asarray(encoded)[:, :-1])  # the last column selects the booster
        self.pipeline[-1].regressor_.get_booster().save_model(booster)


def train_champion(trips: PublishedMonths, scratch: Path) -> RegisteredChampion:
    """Train, evaluate and register with the project's own command, on an empty home.

    Raises:
        RuntimeError: when the command fails.
    """
    home = scratch / "home"
    variables = {
        "ML_ASSETS_TRIPS": str(trips.folder),
        "ML_ASSETS_TAXI": TAXI,
        "ML_ASSETS_HOME": str(home),
        "ML_ASSETS_FIRST_MONTH": str(FIRST),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    months = ["--first", str(FIRST), "--last", str(LAST)]
    run_alone([*COMMAND, "run", *months, "--models", MODEL], variables)
    return open_champion(variables, trips)


def open_champion(variables: dict[str, str], trips: PublishedMonths) -> RegisteredChampion:
    """A champion that is registered already.

    Args:
        variables: The project's settings, ``MLFLOW_TRACKING_URI`` among them.
        trips: Source of the month of the requests.
    """
    import mlflow

    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    mlflow.set_tracking_uri(variables["MLFLOW_TRACKING_URI"])
    requests = trips.kept(REQUEST_MONTH)[list(REQUEST_COLUMNS)]
    # A fault of the meter now and then, which no client would state.
    requests = requests[states_distance(requests["trip_distance"])]
    return RegisteredChampion(variables, load_pipeline(URI), requests)


def _or_null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
