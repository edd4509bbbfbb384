"""Dagster's UI shows the configuration of resources: no password may be in it."""

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

from ml_assets.definitions import assemble
from ml_assets.settings import read_settings

SECRETS = {
    "ML_ASSETS_TRIPS": "https://me:s3cret@trips.example.org/data?signature=s3cret",
    "ML_ASSETS_HOME": "memory://me:s3cret@bucket/home/",
    "MLFLOW_TRACKING_URI": "postgresql://mlflow:s3cret@server/mlflow",
}


def shown(environment: dict[str, str]) -> str:
    """What the UI gets to show of every resource."""
    repository = assemble(read_settings(environment)).get_repository_def()
    resources = RepositorySnap.from_def(repository).resources or []
    assert {"tracking", "trip_source", "trip_store"} <= {resource.name for resource in resources}
    return repr(resources)


@pytest.fixture
def _own_environment(monkeypatch):
    for variable, value in SECRETS.items():
        monkeypatch.setenv(variable, value)


@pytest.mark.usefixtures("_own_environment")
def test_no_password_is_shown_but_the_variable_s_name():
    told = shown(SECRETS)
    assert "s3cret" not in told
    for variable in SECRETS:
        assert f"ResourceConfigEnvVarSnap(name='{variable}')" in told


@pytest.mark.usefixtures("_own_environment")
def test_steps_still_get_the_checked_value():
    settings = read_settings(SECRETS)
    found = {}

    @dg.asset(required_resource_keys={"tracking", "trip_source", "trip_store", "monthly_table"})
    def looking(context: dg.AssetExecutionContext) -> None:
        given = context.resources
        found["ML_ASSETS_TRIPS"] = given.trip_source.trips
        found["ML_ASSETS_HOME"] = given.trip_store.home
        found["nested"] = given.monthly_table.store.home
        found["MLFLOW_TRACKING_URI"] = given.tracking.tracking_uri

    definitions = dg.Definitions([looking], resources=assemble(settings).resources)
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance).success
    assert found == {
        "ML_ASSETS_TRIPS": settings.trips,
        "ML_ASSETS_HOME": "memory://me:s3cret@bucket/home",
        "nested": settings.home,
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
    }


def test_what_holds_no_secret_is_shown_as_it_is(tmp_path):
    told = shown({"ML_ASSETS_HOME": str(tmp_path)})
    assert f"'home': '\"{tmp_path}\"'" in told
    assert "ResourceConfigEnvVarSnap" not in told
