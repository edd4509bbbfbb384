"""Evaluation of a project's sensors and schedules as by the daemon, and execution of their runs."""

from datetime import datetime

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from ml_assets.defs.operations.run_outcomes import RUN_KEY_TAG
from ml_assets.defs.resources import project_resources
from ml_assets_tests.project import Project


class Ticking:
    """A sensor of a project with its cursor, evaluated tick by tick."""

    def __init__(self, project: Project, sensor: dg.SensorDefinition) -> None:
        self.project = project
        self.sensor = sensor
        self.cursor: str | None = None
        self.skipped: str | None = None
        self._requested: set[str] = set()

    def tick(self) -> list[dg.RunRequest]:
        """Return the runs that the daemon would launch: those with a new run key."""
        with dg.build_sensor_context(
            instance=self.project.instance,
            cursor=self.cursor,
            resources=project_resources(self.project.settings),
            definitions=self.project.definitions,
        ) as context:
            result = self.sensor.evaluate_tick(context)
        self.cursor, self.skipped = result.cursor, result.skip_message
        new = [r for r in result.run_requests or [] if r.run_key not in self._requested]
        self._requested |= {request.run_key or "" for request in new}
        return new

    def carry_out(self, requests: list[dg.RunRequest]) -> list[dg.ExecuteInProcessResult]:
        """Run the requests, one after the other."""
        return [self.run(request) for request in requests]

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Run a request as the daemon would."""
        tags = {**request.tags, RUN_KEY_TAG: request.run_key or ""}
        assert self.sensor.job_name is not None
        return self.project.run(self.sensor.job_name, tags=tags)


def evaluate(
    project: Project, schedule: dg.ScheduleDefinition, at: datetime
) -> tuple[list[dg.RunRequest], str | None]:
    """Return the run requests of a schedule's tick, or why it skips."""
    with dg.build_schedule_context(
        scheduled_execution_time=at,
        resources=project_resources(project.settings),
        repository_def=project.definitions.get_repository_def(),
    ) as context:
        # Given to the builder, it would have to be on disk, and be opened again at every tick.
        context._instance = project.instance  # type: ignore[assignment]
        context._instance_ref = InstanceRef.from_dir(".")  # any; it must be set
        result = schedule.evaluate_tick(context)
    return list(result.run_requests or []), result.skip_message


def left_in_progress(
    project: Project, job: str, status: dg.DagsterRunStatus, **tags: str
) -> dg.DagsterRun:
    """Create a run of a job with this status."""
    return project.instance.create_run_for_job(
        project.definitions.resolve_job_def(job), status=status, tags=tags
    )


def months_of(requests: list[dg.RunRequest]) -> list[tuple[str | None, str | None]]:
    """Return the first and last month of each request."""
    found = []
    for request in requests:
        start = request.tags.get("dagster/asset_partition_range_start")
        one = request.tags.get("dagster/partition", request.partition_key)
        found.append((start or one, request.tags.get("dagster/asset_partition_range_end") or one))
    return found
