"""MLflow runs that end with the status of the work: finished, failed or killed.

The integration dagster-mlflow opens one run per process when its resource starts and leaves the
status to exit hooks, which mark failures FINISHED under MLflow 3. Here a run is opened and closed
around the work. While open it is MLflow's active run, so that dagster-mlflow's resource and
MLflow's autologging log to it.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

DAGSTER_RUN_TAG = "dagster_run_id"
"""The tag that dagster-mlflow sets, too; it finds everything that a Dagster run has logged."""

OWNER_TAG = "ml_assets.dagster_run"
"""Tag of the runs that this project opens and closes, including children. Not ``dagster_run_id``:
dagster-mlflow resumes the newest run with that tag, which must not be a trial."""

PARENT_TAG = "mlflow.parentRunId"
_NEWEST_MODELS = 100
"""Number of logged models searched for incomplete ones, which are among the newest."""

_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class TrackedRun:
    """An open MLflow run; everything is logged by its id, not to the active run.

    Attributes:
        inherited: Tags that its children get, too, so that they are closed with it.
    """

    client: MlflowClient
    run_id: str
    experiment_id: str
    inherited: Mapping[str, str] = field(default_factory=dict)

    def log(
        self,
        parameters: Mapping[str, Any] = _NONE,
        metrics: Mapping[str, float] = _NONE,
        tags: Mapping[str, str] = _NONE,
    ) -> None:
        """Log all of these in one transaction of the store.

        Args:
            parameters: At most 100; MLflow stores them as text of at most 6,000 characters.
        """
        now = int(time.time() * 1000)
        self.client.log_batch(
            self.run_id,
            metrics=[Metric(name, float(value), now, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)[:6000]) for name, value in parameters.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )

    def log_datasets(self, datasets: Sequence[DatasetInput]) -> None:
        """Log the datasets that the run read."""
        self.client.log_inputs(self.run_id, datasets)

    def log_dict(self, content: dict[str, Any], file: str) -> None:
        """Log a dict as a JSON or YAML file, by the suffix."""
        self.client.log_dict(self.run_id, content, file)

    def log_bytes(self, content: bytes, file: str) -> None:
        """Log bytes as a file, for example a PNG."""
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
        """Log a finished part of this run, such as a tuning trial, as a child run.

        Args:
            status: FINISHED, FAILED or KILLED.
        """
        child = self.client.create_run(
            self.experiment_id,
            tags={**self.inherited, PARENT_TAG: self.run_id, **(tags or {})},
            run_name=name,
        )
        tracked = TrackedRun(self.client, child.info.run_id, self.experiment_id)
        with _terminate_with_status(self.client, tracked.run_id, status):
            tracked.log(parameters, metrics)


@contextlib.contextmanager
def tracked_run(
    client: MlflowClient, experiment: str, name: str, tags: Mapping[str, str]
) -> Iterator[TrackedRun]:
    """Open a run; it ends FINISHED, FAILED on an exception, KILLED on an interruption.

    Args:
        client: MLflow client; MLflow's fluent API must use the same store.
        tags: Tags of the run; with ``dagster_run_id``, it is closed when that run has died.

    Raises:
        LookupError: The experiment does not exist.
    """
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise LookupError(f"MLflow has no experiment {experiment!r}: open the store first")
    inherited = {OWNER_TAG: tags[DAGSTER_RUN_TAG]} if DAGSTER_RUN_TAG in tags else {}
    run = client.create_run(found.experiment_id, tags={**tags, **inherited}, run_name=name)
    run_id = run.info.run_id
    # MLflow would mark an interrupted run FAILED; the outer context manager corrects that.
    with _terminate_with_status(client, run_id), mlflow.start_run(run_id=run_id, nested=True):
        yield TrackedRun(client, run_id, found.experiment_id, inherited)


def close_orphaned_runs(
    client: MlflowClient, experiment: str, outcome: Callable[[str], str | None]
) -> list[str]:
    """End runs that are still RUNNING although their Dagster run is over (its worker died).

    Only runs of :func:`tracked_run` and their children are closed.

    Args:
        outcome: Maps a Dagster run id to FINISHED, FAILED or KILLED; None while the run is in
            progress, or when it is unknown, since another Dagster may share the store.

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
            # A dead worker cannot have finished its step, even if the run succeeded later.
            client.set_terminated(run.info.run_id, "FAILED" if status == "FINISHED" else status)
            closed.append(run.info.run_id)
    _fail_incomplete_models(client, found.experiment_id, outcome)
    return closed


def _fail_incomplete_models(
    client: MlflowClient, experiment_id: str, outcome: Callable[[str], str | None]
) -> None:
    """Mark models FAILED that a killed process was logging; MLflow would show them as PENDING.

    Searching by status finds none: MLflow compares the name with the stored number.
    """
    for model in client.search_logged_models([experiment_id], max_results=_NEWEST_MODELS):
        if model.status != "PENDING" or not model.source_run_id:
            continue
        if _is_abandoned(client, model.source_run_id, outcome):
            client.finalize_logged_model(model.model_id, "FAILED")


def _is_abandoned(client: MlflowClient, run_id: str, outcome: Callable[[str], str | None]) -> bool:
    """Whether the Dagster run of this MLflow run is over, or the MLflow run was purged."""
    try:
        owner = client.get_run(run_id).data.tags.get(OWNER_TAG)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return True
    return owner is not None and outcome(owner) is not None


def _running(client: MlflowClient, experiment_id: str) -> list[Any]:
    def page_after(token: str | None) -> Any:
        query = "attributes.status = 'RUNNING'"
        return client.search_runs([experiment_id], filter_string=query, page_token=token)

    page = page_after(None)
    running = list(page)
    while page.token:
        page = page_after(page.token)
        running += page
    return running


@contextlib.contextmanager
def _terminate_with_status(
    client: MlflowClient, run_id: str, finished: str = "FINISHED"
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
