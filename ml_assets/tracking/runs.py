"""MLflow runs whose status is the outcome of the work: finished, failed or killed, never running.

The integration dagster-mlflow makes one process-wide run when its resource starts and leaves the
status to exit hooks, which mark failures FINISHED under MLflow 3. Here a run is opened where the
work is done and closed by how that ended. Runs carry the same tag as dagster-mlflow's
(``dagster_run_id``), so that either finds the other's.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

DAGSTER_RUN_TAG = "dagster_run_id"
PARENT_TAG = "mlflow.parentRunId"


@dataclass(frozen=True)
class TrackedRun:
    """One open MLflow run; everything is logged by its id, not to whatever run is active."""

    client: "MlflowClient"
    run_id: str
    experiment_id: str

    def log_params(self, parameters: Mapping[str, Any]) -> None:
        """Log parameters; MLflow keeps them as text of at most 6,000 characters."""
        for name, value in parameters.items():
            self.client.log_param(self.run_id, name, str(value)[:6000])

    def log_metrics(self, metrics: Mapping[str, float], prefix: str = "") -> None:
        """Log figures under ``prefix + name``."""
        for name, value in metrics.items():
            self.client.log_metric(self.run_id, f"{prefix}{name}", float(value))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tag the run."""
        for name, value in tags.items():
            self.client.set_tag(self.run_id, name, value)

    def log_dict(self, content: dict[str, Any], file: str) -> None:
        """Log a JSON or YAML file (by its suffix)."""
        self.client.log_dict(self.run_id, content, file)

    def log_bytes(self, content: bytes, file: str) -> None:
        """Log a file, for example a PNG."""
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(file).name
            path.write_bytes(content)
            parent = str(Path(file).parent)
            self.client.log_artifact(self.run_id, str(path), None if parent == "." else parent)

    def log_child(
        self,
        name: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        *,
        failed: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log a finished piece of this run's work, a tuning trial say, as a child run."""
        child = self.client.create_run(
            self.experiment_id, tags={PARENT_TAG: self.run_id, **(tags or {})}, run_name=name
        )
        tracked = TrackedRun(self.client, child.info.run_id, self.experiment_id)
        tracked.log_params(parameters)
        tracked.log_metrics(metrics)
        self.client.set_terminated(tracked.run_id, "FAILED" if failed else "FINISHED")


@contextlib.contextmanager
def tracked_run(
    client: "MlflowClient", experiment: str, name: str, tags: Mapping[str, str]
) -> Iterator[TrackedRun]:
    """Open a run; it ends FINISHED, FAILED on an exception, KILLED on an interruption."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise LookupError(f"MLflow has no experiment {experiment!r}: open the store first")
    run = client.create_run(found.experiment_id, tags=dict(tags), run_name=name)
    tracked = TrackedRun(client, run.info.run_id, found.experiment_id)
    try:
        yield tracked
    except Exception:
        client.set_terminated(tracked.run_id, "FAILED")
        raise
    except BaseException:  # an interrupted step, Ctrl-C, SystemExit
        client.set_terminated(tracked.run_id, "KILLED")
        raise
    client.set_terminated(tracked.run_id, "FINISHED")


def close_abandoned_runs(
    client: "MlflowClient", experiment: str, outcome: Callable[[str], str | None]
) -> list[str]:
    """End runs still RUNNING although the Dagster run behind them is over (its worker died).

    Args:
        client: Of the store.
        experiment: Experiment to look in.
        outcome: Dagster run id to FINISHED, FAILED or KILLED; None while that run goes on.

    Returns:
        Ids of the MLflow runs that were ended.
    """
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    closed = []
    running = client.search_runs(
        [found.experiment_id], filter_string="attributes.status = 'RUNNING'", max_results=1000
    )
    for run in running:
        dagster_run = run.data.tags.get(DAGSTER_RUN_TAG)
        status = outcome(dagster_run) if dagster_run else None
        if status is not None:
            # A dead worker cannot have finished its step, whatever its run went on to do.
            client.set_terminated(run.info.run_id, "FAILED" if status == "FINISHED" else status)
            closed.append(run.info.run_id)
    return closed
