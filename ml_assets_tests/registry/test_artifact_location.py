"""Artifacts lie in the home where MLflow can store there, else on this machine."""

from pathlib import Path

import pytest

from ml_assets.registry import _ARTIFACT_SCHEMES, artifact_location

LOCAL = Path("/local/home")


@pytest.mark.parametrize(
    "home",
    ["/data/home", "s3://bucket/home", "gs://bucket/home", "abfss://files@account.example/home",
     "hdfs://host/home", "sftp://me@host/home"],
)  # fmt: skip
def test_in_the_home_where_mlflow_can_store_there(home):
    assert artifact_location(home, LOCAL) == f"{home}/mlartifacts"


def test_mlflow_knows_every_scheme_that_is_taken_for_artifacts():
    from mlflow.store.artifact import artifact_repository_registry as registry

    assert set(registry._artifact_repository_registry._registry) > _ARTIFACT_SCHEMES


@pytest.mark.parametrize(
    "home",
    ["memory://bucket/home", "az://bucket/home", "dbfs:///home", "abfs://bucket/home", "simplecache::s3://bucket/x",
     "sftp://me:s3cret@host/home", "ftp://me:s3cret@host/home"],
)  # fmt: skip
def test_on_this_machine_where_it_cannot_or_would_show_a_password(home):
    assert artifact_location(home, LOCAL) == "/local/home/mlartifacts"
