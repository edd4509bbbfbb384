"""The published months as MLflow's datasets: where each lies, and no password."""

import json
from typing import Any

import mlflow
import pytest

from ml_assets.evaluation.records import MonthSplit, TrainingSet
from ml_assets.registry.log_training import month_datasets

FILE = "green_tripdata_2023-01.parquet"


def dataset_of(source: str):
    use = MonthSplit(
        month="2023-01", role="train", rows=7, raw_sha256="a" * 64, source=source, code_version="1"
    )
    training_set = TrainingSet(
        dataset="green", taxi="green", synthetic=False, months=[use], caveat=None, gaps=[],
        code_version="1",
    )  # fmt: skip
    (found,) = month_datasets(training_set)
    return found


@pytest.mark.parametrize(
    ("source", "kind", "place"),
    [
        ("tlc", "http", f"https://d37ci6vzurychx.cloudfront.net/trip-data/{FILE}"),
        ("https://me:s3cret@host/months?sig=s3cret", "http", f"https://***@host/months/{FILE}"),
        ("/data/green/", "local", f"/data/green/{FILE}"),
        ("s3://bucket/months", "s3", f"s3://bucket/months/{FILE}"),
    ],
)
def test_each_month_says_where_it_lies(source, kind, place) -> None:
    found = dataset_of(source).dataset
    assert found.name == "green_tripdata_2023-01"
    assert found.source_type == kind
    assert place in json.loads(found.source).values()
    assert "s3cret" not in found.source
    assert json.loads(found.profile) == {"num_rows": 7, "sha256": "a" * 64}


def test_mlflow_can_open_the_source() -> None:
    source: Any = mlflow.data.get_source(dataset_of("tlc"))
    assert source.url.endswith(FILE)
