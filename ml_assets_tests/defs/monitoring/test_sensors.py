"""Drift and error are measured automatically: once for all changes, and not while they are made.

With the daemon running: see ``daemon/test_automation``.
"""

from typing import Any

import dagster as dg
import pytest

from ml_assets.defs.monitoring.assets import MONITORING_SENSOR, monitoring_sensor
from ml_assets.defs.operations.run_tags import run_reason_of
from ml_assets_tests.defs.ticks import left_in_progress
from ml_assets_tests.project import Project, settings_for

MEASURES = [dg.AssetKey("feature_drift"), dg.AssetKey("prediction_performance")]


class Automation:
    """The condition of both assets, evaluated tick by tick as the daemon does."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.cursor: Any = None

    def tick(self) -> list[str]:
        """Return the assets that would be requested now; the daemon requests them in one run."""
        result = dg.evaluate_automation_conditions(
            self.project.definitions,
            self.project.instance,
            asset_selection=monitoring_sensor().asset_selection,
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return [key.to_user_string() for key in MEASURES if result.get_num_requested(key)]

    def make(self, *assets: str, months: tuple[str, ...] = ()) -> None:
        """Report materializations outside of a run."""
        for asset in assets:
            for month in months or (None,):
                event = dg.AssetMaterialization(asset, partition=month)
                self.project.instance.report_runless_asset_event(event)


BOTH = [key.to_user_string() for key in MEASURES]


@pytest.fixture
def automation(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield Automation(Project(settings_for(tmp_path), instance))


def test_nothing_is_measured_before_there_is_a_champion(automation):
    assert automation.tick() == []
    automation.make("trip_features", months=("2023-01", "2023-02"))
    assert automation.tick() == []
    automation.make("champion_model")
    assert automation.tick() == BOTH
    assert automation.tick() == []


def test_a_champion_promoted_before_the_first_tick_is_measured(automation):
    automation.make("trip_features", months=("2023-01",))
    automation.make("champion_model")
    assert automation.tick() == BOTH
    assert automation.tick() == [], "requested once, whatever the outcome of the run"


@pytest.fixture
def measured(automation):
    """A champion, and both measures made since."""
    automation.make("trip_features", months=("2023-01", "2023-02"))
    automation.make("champion_model")
    automation.tick()
    automation.make(*BOTH)
    assert automation.tick() == []
    return automation


def test_several_months_at_once_are_measured_once(measured):
    measured.make("trip_features", months=("2023-03", "2023-04", "2023-05"))
    assert measured.tick() == BOTH
    measured.make(*BOTH)
    assert measured.tick() == []


def test_another_champion_is_measured(measured):
    measured.make("champion_model")
    assert measured.tick() == BOTH


def test_a_month_ingested_right_after_a_measurement_is_measured(
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


@pytest.mark.parametrize("job", ["ingest_trips", "train_models", "run_monitoring"])
def test_it_waits_while_months_champion_or_measures_are_in_progress(measured, job):
    tags = {"dagster/asset_partition_range_start": "2023-03",
            "dagster/asset_partition_range_end": "2023-04"}  # fmt: skip
    run = left_in_progress(
        measured.project, job, dg.DagsterRunStatus.STARTED, **(tags if "ingest" in job else {})
    )
    measured.make("trip_features", months=("2023-03",))
    if job == "ingest_trips":  # the ingesting run plans its months when it is launched
        plan(measured.project.instance, run, "trip_features", "2023-03")
    assert measured.tick() == []
    measured.project.instance.report_run_failed(run)
    assert measured.tick() == BOTH


def plan(instance, run, asset, partition):
    """Report that a run is going to materialize a partition."""
    event = dg.DagsterEvent(
        event_type_value="ASSET_MATERIALIZATION_PLANNED",
        job_name=run.job_name,
        event_specific_data=dg._core.events.AssetMaterializationPlannedData(
            dg.AssetKey(asset), partition=partition
        ),
    )
    instance.report_dagster_event(event, run.run_id)


def test_a_run_that_includes_the_measures_is_not_followed_by_another(measured):
    instance, keys = measured.project.instance, [dg.AssetKey("champion_model"), *MEASURES]
    # One run with all three, selected by name as by a click on "Materialize all".
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


def test_training_jobs_do_not_include_the_measures(automation):
    for job in ("train_models", "retrain"):
        layer = automation.project.definitions.resolve_job_def(job).asset_layer
        assert not {*MEASURES} & layer.selected_asset_keys


def test_the_sensor_is_on_and_tags_its_runs_with_a_reason():
    sensor = monitoring_sensor()
    assert sensor.name == MONITORING_SENSOR
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert run_reason_of(sensor.run_tags) == "months or the champion changed"
