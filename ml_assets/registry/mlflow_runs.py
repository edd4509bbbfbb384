"""MLflow runs whose status is the outcome of the work: finished, failed or killed, never running.

The integration dagster-mlflow makes one process-wide run when its resource starts and leaves the
status to exit hooks, which mark failures FINISHED under MLflow 3. Here a run is opened where the
work is done and closed by how that ended. While it is open it is MLflow's active run, so what
dagster-mlflow's resource or MLflow's autologging logs in the same step lands in it.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

DAGSTER_RUN_TAG = "dagster_run_id"
"""The tag that dagster-mlflow sets, too: a search by it finds all that a Dagster run has logged."""

OWNER_TAG = "ml_assets.dagster_run"
"""Of runs that this project opens and closes, children included. Not ``dagster_run_id``, since
dagster-mlflow takes the newest run with that one for its own: a trial must not be it, and a run of
its resource is not ours to close."""

PARENT_TAG = "mlflow.parentRunId"
_NEWEST_MODELS = 100
"""So many are looked through for half logged ones, which are among the newest at the next start."""

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class TrackedRun:
    """One open MLflow run; everything is logged by its id, not to whatever run is active.

    Attributes:
        client: Of the store.
        run_id: Its id.
        experiment_id: Id of its experiment.
        inherited: Tags that its children bear as well, by which they are closed with it.
    """

    client: "MlflowClient"
    run_id: str
    experiment_id: str
    inherited: Mapping[str, str] = field(default_factory=dict)

    def log(
        self,
        parameters: Mapping[str, Any] = _NONE,
        metrics: Mapping[str, float] = _NONE,
        tags: Mapping[str, str] = _NONE,
    ) -> None:
        """Log all of these in one transaction of the store, where each on its own takes one.

        Args:
            parameters: MLflow keeps them as text of at most 6,000 characters; at most 100.
            metrics: Figures.
            tags: Tags of the run.
        """
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        self.client.log_batch(
            self.run_id,
            metrics=[Metric(name, float(value), now, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)[:6000]) for name, value in parameters.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )

    def log_datasets(self, datasets: "Sequence[DatasetInput]") -> None:
        """Log what the run read, which MLflow shows as its datasets."""
        self.client.log_inputs(self.run_id, datasets)

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
        status: str = "FINISHED",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log a piece of this run's work that is over, a tuning trial say, as a child run.

        Args:
            name: Name of the child.
            parameters: As :meth:`log` takes them.
            metrics: Likewise.
            status: FINISHED, FAILED or KILLED.
            tags: Tags of the child.
        """
        child = self.client.create_run(
            self.experiment_id,
            tags={**self.inherited, PARENT_TAG: self.run_id, **(tags or {})},
            run_name=name,
        )
        tracked = TrackedRun(self.client, child.info.run_id, self.experiment_id)
        with _ended_as_the_work(self.client, tracked.run_id, status):
            tracked.log(parameters, metrics)


@contextlib.contextmanager
def tracked_run(
    client: "MlflowClient", experiment: str, name: str, tags: Mapping[str, str]
) -> Iterator[TrackedRun]:
    """Open a run; it ends FINISHED, FAILED on an exception, KILLED on an interruption.

    Args:
        client: Of the store, which MLflow's fluent API points at as well.
        experiment: Name of an experiment that exists.
        name: Name of the run.
        tags: Its tags; with ``dagster_run_id`` among them it is closed when that run has died.

    Raises:
        LookupError: when there is no such experiment.
    """
    import mlflow

    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise LookupError(f"MLflow has no experiment {experiment!r}: open the store first")
    inherited = {OWNER_TAG: tags[DAGSTER_RUN_TAG]} if DAGSTER_RUN_TAG in tags else {}
    run = client.create_run(found.experiment_id, tags={**tags, **inherited}, run_name=name)
    run_id = run.info.run_id
    # MLflow itself would call an interrupted run FAILED: ours has the last word.
    with _ended_as_the_work(client, run_id), mlflow.start_run(run_id=run_id, nested=True):
        yield TrackedRun(client, run_id, found.experiment_id, inherited)


def close_orphaned_runs(
    client: "MlflowClient", experiment: str, outcome: Callable[[str], str | None]
) -> list[str]:
    """End runs still RUNNING although the Dagster run behind them is over (its worker died).

    Only runs of :func:`tracked_run` and their children: others are not ours to close.

    Args:
        client: Of the store.
        experiment: Experiment to look in.
        outcome: Dagster run id to FINISHED, FAILED or KILLED; None while that run goes on, or when
            it is not known here, since a store may be shared with another Dagster.

    Returns:
        Ids of the MLflow runs that were ended.
    """
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    closed = []
    for run in _running(client, found.experiment_id):
        dagster_run = run.data.tags.get(OWNER_TAG)
        status = outcome(dagster_run) if dagster_run else None
        if status is not None:
            # A dead worker cannot have finished its step, whatever its run went on to do.
            client.set_terminated(run.info.run_id, "FAILED" if status == "FINISHED" else status)
            closed.append(run.info.run_id)
    _fail_half_logged_models(client, found.experiment_id, outcome)
    return closed


def _fail_half_logged_models(
    client: "MlflowClient", experiment_id: str, outcome: Callable[[str], str | None]
) -> None:
    """Mark models FAILED that a killed process was logging: MLflow would show them as PENDING.

    A search by status finds none: MLflow compares the word with the number that it stores.
    """
    for model in client.search_logged_models([experiment_id], max_results=_NEWEST_MODELS):
        if model.status != "PENDING" or not model.source_run_id:
            continue
        if _is_abandoned(client, model.source_run_id, outcome):
            client.finalize_logged_model(model.model_id, "FAILED")


def _is_abandoned(
    client: "MlflowClient", run_id: str, outcome: Callable[[str], str | None]
) -> bool:
    """Whether nobody goes on with this MLflow run: its Dagster run has ended, or it was purged."""
    from mlflow.exceptions import MlflowException

    try:
        owner = client.get_run(run_id).data.tags.get(OWNER_TAG)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return True
    return owner is not None and outcome(owner) is not None


def _running(client: "MlflowClient", experiment_id: str) -> list[Any]:
    def page_after(token: str | None) -> Any:
        condition = "attributes.status = 'RUNNING'"
        return client.search_runs([experiment_id], filter_string=condition, page_token=token)

    page = page_after(None)
    running = list(page)
    while page.token:
        page = page_after(page.token)
        running += page
    return running


@contextlib.contextmanager
def _ended_as_the_work(
    client: "MlflowClient", run_id: str, finished: str = "FINISHED"
) -> Iterator[None]:
    status = "KILLED"  # an interrupted step, Ctrl-C, SystemExit
    try:
        yield
        status = finished
    except Exception:
        status = "FAILED"
        raise
    finally:
        client.set_terminated(run_id, status)
