"""MLflow runs of Dagster runs that died: closed as Dagster says, by whoever knows that run."""

import os
import signal
from pathlib import Path

import dagster as dg
import pytest

from ml_assets.defs.operations.orphaned_runs import tracking_sensors
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets_tests.interrupting import in_a_process

EXPERIMENT = "taxi-trip-duration"
FAILURE, CANCELED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED


def tracking_in(folder: Path) -> MlflowTracking:
    return MlflowTracking(
        tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
        experiment=EXPERIMENT,
        registered_model=EXPERIMENT,
        artifact_location=str(folder / "artifacts"),
        lock_folder=str(folder),
    )


@dg.asset
def endless_model(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> None:
    with tracking.run(context, "endless_model") as run:
        # As MLflow does when it begins to log a model.
        run.client.create_logged_model(run.experiment_id, "pipeline", source_run_id=run.run_id)
        os.kill(os.getpid(), signal.SIGKILL)


def instance_in(folder: Path) -> dg.DagsterInstance:
    folder.mkdir(exist_ok=True)
    return dg.DagsterInstance.local_temp(str(folder))


def definitions(folder: Path) -> dg.Definitions:
    return dg.Definitions(
        assets=[endless_model],
        resources={"tracking": tracking_in(folder)},
        sensors=tracking_sensors(),
    )


def _die(folder: Path, instance: Path) -> None:
    with instance_in(instance) as opened:
        dg.materialize(
            [endless_model], resources={"tracking": tracking_in(folder)}, instance=opened
        )


def leave_a_run(folder: Path, instance: Path) -> str:
    """A Dagster run whose process was killed inside its MLflow run; its id."""
    assert in_a_process(lambda: _die(folder, instance)) == -signal.SIGKILL
    with instance_in(instance) as opened:
        (run,) = opened.get_runs()
        assert run.status == dg.DagsterRunStatus.STARTED
        return run.run_id


def statuses(folder: Path) -> list[str]:
    client = tracking_in(folder).client()
    found = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    return [run.info.status for run in found]


def models(folder: Path) -> list[str]:
    client = tracking_in(folder).client()
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    return [str(model.status) for model in client.search_logged_models([experiment])]


def report(instance: dg.DagsterInstance, run_id: str, status: dg.DagsterRunStatus) -> None:
    """What run monitoring does when it has noticed."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    if status == CANCELED:
        instance.report_run_canceling(run)
        instance.report_run_canceled(run)
    else:
        instance.report_run_failed(run)


def tick(
    folder: Path, instance: dg.DagsterInstance, name: str, cursor: str | None
) -> tuple[str | None, str | None]:
    """Evaluate a sensor as the daemon does; its new cursor and what it says."""
    repository = definitions(folder).get_repository_def()
    with dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        repository_def=repository,
        sensor_name=name,
        resources={"tracking": tracking_in(folder)},
    ) as context:
        data = repository.get_sensor_def(name).evaluate_tick(context)
    return data.cursor, data.skip_message


def test_a_run_of_another_dagster_on_the_same_store_is_left_alone(tmp_path):
    run_id = leave_a_run(tmp_path, tmp_path / "one")
    tracking = tracking_in(tmp_path)
    with instance_in(tmp_path / "two") as other:
        assert tracking.close_orphaned(tracking.client(), other) == []
    assert statuses(tmp_path) == ["RUNNING"]
    assert models(tmp_path) == ["PENDING"]
    with instance_in(tmp_path / "one") as own:
        assert tracking.close_orphaned(tracking.client(), own) == []  # it goes on, as far as known
        report(own, run_id, FAILURE)
        assert len(tracking.close_orphaned(tracking.client(), own)) == 1
    assert statuses(tmp_path) == ["FAILED"]
    assert models(tmp_path) == ["FAILED"]


@pytest.mark.parametrize(
    ("sensor", "status", "tracked"),
    [
        ("close_mlflow_runs_of_failed", FAILURE, "FAILED"),
        ("close_mlflow_runs_of_canceled", CANCELED, "KILLED"),
    ],
)
def test_a_sensor_closes_what_a_dead_run_left_open(tmp_path, sensor, status, tracked):
    run_id = leave_a_run(tmp_path, tmp_path / "one")
    with instance_in(tmp_path / "one") as instance:
        cursor, _ = tick(tmp_path, instance, sensor, None)
        assert statuses(tmp_path) == ["RUNNING"]
        report(instance, run_id, status)
        _, message = tick(tmp_path, instance, sensor, cursor)
    assert statuses(tmp_path) == [tracked]
    assert message is None or "closed 1 MLflow runs" in message


def test_a_model_whose_run_was_purged_from_mlflow_keeps_no_other_from_being_closed(tmp_path):
    leave_a_run(tmp_path, tmp_path / "instance")
    tracking = tracking_in(tmp_path)
    client = tracking.client()
    (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    client.delete_run(run.info.run_id)
    client._tracking_client.store._hard_delete_run(run.info.run_id)  # as `mlflow gc` does
    with instance_in(tmp_path / "instance") as instance:
        tracking.close_orphaned(client, instance)
    assert models(tmp_path) in ([], ["FAILED"])


def test_logging_a_model_does_not_replace_what_another_thread_reads_its_environment_with():
    from mlflow.utils.model_utils import env_var_tracker

    methods = os._Environ.get, os._Environ.__getitem__
    with env_var_tracker():
        assert (os._Environ.get, os._Environ.__getitem__) == methods
