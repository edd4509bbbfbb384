"""Drift and error are measured by themselves: once for all that changed, and not while it changes.

With the daemon running: see ``test_degradation_by_itself``.
"""

import dagster as dg
import pytest

from ml_assets.defs.automation import MONITORING_SENSOR, monitoring_sensor, run_reason_of
from ml_assets_tests.defs.ticks import left_in_progress
from ml_assets_tests.project import Project, settings_for

MEASURES = [dg.AssetKey("feature_drift"), dg.AssetKey("prediction_performance")]


class Watching:
    """The condition of both assets, evaluated tick after tick as the daemon does."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.cursor = None

    def tick(self) -> list[str]:
        """The assets that would be made now; the daemon asks for all of a tick in one run."""
        result = dg.evaluate_automation_conditions(
            self.project.definitions,
            self.project.instance,
            asset_selection=monitoring_sensor().asset_selection,
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return [key.to_user_string() for key in MEASURES if result.get_num_requested(key)]

    def make(self, *assets: str, months: tuple[str, ...] = ()) -> None:
        """Materializations in a run of their own."""
        for asset in assets:
            for month in months or (None,):
                event = dg.AssetMaterialization(asset, partition=month)
                self.project.instance.report_runless_asset_event(event)


BOTH = [key.to_user_string() for key in MEASURES]


@pytest.fixture
def watching(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watching(Project(settings_for(tmp_path), instance))


def test_nothing_is_measured_before_there_is_a_champion(watching):
    assert watching.tick() == []
    watching.make("trip_features", months=("2023-01", "2023-02"))
    assert watching.tick() == []
    watching.make("champion_model")
    assert watching.tick() == BOTH
    assert watching.tick() == []


def test_a_champion_that_was_made_before_anybody_looked_is_measured(watching):
    watching.make("trip_features", months=("2023-01",))
    watching.make("champion_model")
    assert watching.tick() == BOTH
    assert watching.tick() == [], "asked for once, whatever became of the run"


@pytest.fixture
def measured(watching):
    """A champion, and both measures made since."""
    watching.make("trip_features", months=("2023-01", "2023-02"))
    watching.make("champion_model")
    watching.tick()
    watching.make(*BOTH)
    assert watching.tick() == []
    return watching


def test_many_months_at_once_are_measured_once_though_others_are_missing(measured):
    measured.make("trip_features", months=("2023-03", "2023-04", "2023-05"))
    assert measured.tick() == BOTH
    measured.make(*BOTH)
    assert measured.tick() == []


def test_another_champion_is_measured(measured):
    measured.make("champion_model")
    assert measured.tick() == BOTH


def test_a_month_that_comes_right_after_a_measurement_is_measured_though_nobody_looked_between(
    measured,
):
    measured.make("champion_model")
    assert measured.tick() == BOTH
    assert measured.tick() == []
    measured.make(*BOTH)
    measured.make("trip_features", months=("2023-03",))
    assert measured.tick() == BOTH
    measured.make(*BOTH)
    assert measured.tick() == []


@pytest.mark.parametrize("job", ["ingest_trips", "train_models", "monitor_trips"])
def test_it_waits_while_months_the_champion_or_the_measures_are_under_way(measured, job):
    tags = {"dagster/asset_partition_range_start": "2023-03",
            "dagster/asset_partition_range_end": "2023-04"}  # fmt: skip
    run = left_in_progress(
        measured.project, job, dg.DagsterRunStatus.STARTED, **(tags if "ingest" in job else {})
    )
    measured.make("trip_features", months=("2023-03",))
    if job == "ingest_trips":  # the run that brings months plans them when it is launched
        plan(measured.project.instance, run, "trip_features", "2023-03")
    assert measured.tick() == []
    measured.project.instance.report_run_failed(run)
    assert measured.tick() == BOTH


def plan(instance, run, asset, partition):
    """Note that a run is going to make a partition."""
    event = dg.DagsterEvent(
        event_type_value="ASSET_MATERIALIZATION_PLANNED",
        job_name=run.job_name,
        event_specific_data=dg._core.events.AssetMaterializationPlannedData(
            dg.AssetKey(asset), partition=partition
        ),
    )
    instance.report_dagster_event(event, run.run_id)


def test_a_run_that_makes_the_measures_itself_is_not_followed_by_another(measured):
    instance, keys = measured.project.instance, [dg.AssetKey("champion_model"), *MEASURES]
    # One run with all three, which names them as a press of Materialize all does.
    run = instance.create_run_for_job(
        measured.project.definitions.resolve_implicit_global_asset_job_def(),
        asset_selection=frozenset(keys),
        status=dg.DagsterRunStatus.STARTED,
    )
    for key in keys:
        made = dg._core.events.StepMaterializationData(dg.AssetMaterialization(key))
        event = dg.DagsterEvent("ASSET_MATERIALIZATION", run.job_name, event_specific_data=made)
        instance.report_dagster_event(event, run.run_id)
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name), run.run_id)
    assert [measured.tick(), measured.tick()] == [[], []]


def test_training_is_not_slowed_by_the_measures(watching):
    for job in ("train_models", "retrain"):
        layer = watching.project.definitions.resolve_job_def(job).asset_layer
        assert not {*MEASURES} & layer.selected_asset_keys


def test_the_sensor_is_on_and_says_why_it_starts_a_run():
    sensor = monitoring_sensor()
    assert sensor.name == MONITORING_SENSOR
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert run_reason_of(sensor.run_tags) == "months or the champion changed"
