"""The published months of a training as datasets in MLflow: names, digests and where they are."""

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ml_assets.evaluation.records import MonthUse, TrainingSet
from ml_assets.ingestion.source import published_filename
from ml_assets.secrets import without_credentials
from ml_assets.trips.month import Month

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

CONTEXTS: Final = {"train": "train", "tune": "validation", "judge": "test"}
"""What MLflow calls the role of a month; its own tools show it beside the dataset."""

_DIGEST_CHARACTERS = 16
"""Of the SHA-256 of the published file; MLflow keeps at most 36."""

_COLUMNS = (
    ("PULocationID", "long"),
    ("DOLocationID", "long"),
    ("trip_distance", "double"),
    ("pickup_datetime", "datetime"),
    ("passenger_count", "double"),
    ("duration_minutes", "double"),
)


def month_datasets(training_set: TrainingSet) -> "list[DatasetInput]":
    """Each month once, with its roles, for ``MlflowClient.log_inputs``.

    Args:
        training_set: Names the months, their published files and their roles.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    found = []
    for month, uses in _by_month(training_set).items():
        source_type, source = _source(uses[0].source, training_set.taxi, month)
        dataset = Dataset(
            name=published_filename(training_set.taxi, Month.parse(month)).partition(".")[0],
            digest=uses[0].raw_sha256[:_DIGEST_CHARACTERS],
            source_type=source_type,
            source=json.dumps(source),
            schema=_schema(),
            profile=json.dumps({"num_rows": uses[0].rows, "sha256": uses[0].raw_sha256}),
        )
        context = ", ".join(CONTEXTS[use.role] for use in uses)
        found.append(DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)]))
    return found


def _by_month(training_set: TrainingSet) -> dict[str, list[MonthUse]]:
    """The uses of each month; with two months, one of them has two roles."""
    uses: dict[str, list[MonthUse]] = {}
    for use in training_set.months:
        uses.setdefault(use.month, []).append(use)
    return uses


def _source(source: str, taxi: str, month: str) -> tuple[str, dict[str, Any]]:
    """Where a month was published, as MLflow writes it: the kind of place, and the place."""
    from ml_assets.ingestion.http import TLC_URL

    folder = without_credentials(TLC_URL if source == "tlc" else source).rstrip("/")
    file = f"{folder}/{published_filename(taxi, Month.parse(month))}"
    scheme = urlsplit(folder).scheme
    if scheme in ("http", "https"):
        return "http", {"url": file}
    if "://" in folder:
        return scheme, {"uri": file}
    if "/" in folder:
        return "local", {"uri": file}
    return "code", {"tags": {"mlflow.source.name": f"ml_assets ({folder})"}}


def _schema() -> str:
    columns = [{"type": kind, "name": name, "required": True} for name, kind in _COLUMNS]
    return json.dumps({"mlflow_colspec": columns})
