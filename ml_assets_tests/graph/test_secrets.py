"""No secret is in the configuration of resources, in messages or in stored errors."""

from functools import partial

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

from ml_assets.config.settings import read_settings
from ml_assets.definitions import assemble
from ml_assets.defs.ingestion import assets as ingestion
from ml_assets.ingestion import http
from ml_assets.ingestion.http import HttpRetryPolicy
from ml_assets_tests.alerts.servers import free_port
from ml_assets_tests.cli.calling import call

SECRETS = {
    "ML_ASSETS_TRIPS": "https://me:s3cret@trips.example.org/data?signature=s3cret",
    "ML_ASSETS_HOME": "memory://me:s3cret@bucket/home/",
    "MLFLOW_TRACKING_URI": "postgresql://mlflow:s3cret@server/mlflow",
}


def shown(environment: dict[str, str]) -> str:
    """Return the configuration of each resource as the UI shows it."""
    repository = assemble(read_settings(environment)).get_repository_def()
    resources = RepositorySnap.from_def(repository).resources or []
    assert {"tracking", "trip_source", "trip_store"} <= {resource.name for resource in resources}
    return repr(resources)


@pytest.fixture
def _own_environment(monkeypatch):
    for variable, value in SECRETS.items():
        monkeypatch.setenv(variable, value)


@pytest.mark.usefixtures("_own_environment")
def test_a_value_with_a_password_is_shown_as_the_name_of_its_variable():
    output = shown(SECRETS)
    assert "s3cret" not in output
    for variable in SECRETS:
        assert f"ResourceConfigEnvVarSnap(name='{variable}')" in output


@pytest.mark.usefixtures("_own_environment")
def test_steps_get_the_validated_value():
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


def test_values_without_a_secret_are_shown(tmp_path):
    output = shown({"ML_ASSETS_HOME": str(tmp_path)})
    assert f"'home': '\"{tmp_path}\"'" in output
    assert "ResourceConfigEnvVarSnap" not in output


UNREACHABLE = {
    "unparsable": "http://me:s3cret/p4ssw0rd@127.0.0.1:{port}/trips",
    "signed": "http://127.0.0.1:{port}/trips?sig=s3cret%2Bp4ssw0rd&se=2026",
    "chained": "zip://*::http://me:s3cret@127.0.0.1:{port}/trips.zip?sig=s3cret",
}


@pytest.mark.parametrize("kind", UNREACHABLE)
def test_no_message_or_file_contains_the_secret_of_a_failing_source(
    monkeypatch, capfd, tmp_path, kind
):
    """Causes of an error are in Dagster's database as well, and so in GraphQL."""
    monkeypatch.setattr(http, "HttpRetryPolicy", partial(HttpRetryPolicy, attempts=1))
    monkeypatch.setattr(ingestion, "_STEP_RETRIES", 0)
    environment = {
        "ML_ASSETS_HOME": tmp_path,
        "ML_ASSETS_TRIPS": UNREACHABLE[kind].format(port=free_port()),
        "ML_ASSETS_SMTP_PASSWORD": "s3cret",
    }
    month = ["--first", "2023-01", "--last", "2023-01"]
    for arguments in (["months"], ["run", *month, "--ingest-only", "--verbose"]):
        answer = call(monkeypatch, capfd, arguments, environment)
        assert answer.status
        output = answer.out + answer.err
        assert "ML_ASSETS_TRIPS" in output
        assert "s3cret" not in output
        assert "p4ssw0rd" not in output
    assert len([*tmp_path.rglob("*.db")]) > 1
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"s3cret" not in file.read_bytes(), file


def test_an_error_and_its_causes_are_stored_without_secrets(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SECRETS["MLFLOW_TRACKING_URI"])

    @dg.op
    def failing(context: dg.OpExecutionContext) -> None:
        context.log.warning("connecting to %s", SECRETS["MLFLOW_TRACKING_URI"])
        try:
            raise OSError(f"no answer from {SECRETS['MLFLOW_TRACKING_URI']}")
        except OSError as error:
            raise ValueError(f"{'x' * 1_000_000} s3cret") from error

    @dg.job
    def failing_job() -> None:
        failing()

    with dg.DagsterInstance.ephemeral() as instance:
        result = failing_job.execute_in_process(instance=instance, raise_on_error=False)
        kept = repr(instance.all_logs(result.run_id))
    assert "no answer from postgresql://***@server/mlflow" in kept
    assert "connecting to postgresql://***@server/mlflow" in kept
    assert "s3cret" not in kept
    assert len(kept) < 200_000
