"""Each ingested month is scored once, automatically, with the current champion."""

from typing import Any

import dagster as dg
import pytest

from ml_assets.defs.operations.run_tags import run_reason_of
from ml_assets.defs.predictions.assets import SCORING_SENSOR, scoring_sensor
from ml_assets_tests.defs.ticks import left_in_progress
from ml_assets_tests.project import Project, settings_for

PREDICTIONS = dg.AssetKey("trip_predictions")


class Scoring:
    """The condition, evaluated tick by tick as the daemon does."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.cursor: Any = None

    def tick(self) -> list[str]:
        """Return the months that would be scored now."""
        result = dg.evaluate_automation_conditions(
            self.project.definitions,
            self.project.instance,
            asset_selection=scoring_sensor().asset_selection,
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return sorted(str(month) for month in result.get_requested_partitions(PREDICTIONS))

    def make(self, asset: str, *months: str) -> None:
        """Report materializations outside of a run."""
        for month in months or (None,):
            event = dg.AssetMaterialization(asset, partition=month)
            self.project.instance.report_runless_asset_event(event)


@pytest.fixture
def scoring(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        scoring = Scoring(Project(settings_for(tmp_path), instance))
        assert scoring.tick() == []
        yield scoring


@pytest.fixture
def served(scoring):
    """A champion trained on two months."""
    scoring.make("trip_features", "2023-01", "2023-02")
    assert scoring.tick() == []
    scoring.make("champion_model")
    assert scoring.tick() == [], "training months of the first champion"
    return scoring


def test_a_month_is_scored_once_and_again_when_republished(served):
    served.make("trip_features", "2023-03")
    assert served.tick() == ["2023-03"]
    assert served.tick() == []
    served.make("trip_predictions", "2023-03")
    assert served.tick() == []
    served.make("trip_features", "2023-03")
    assert served.tick() == ["2023-03"]


def test_months_ingested_together_are_scored_together(served):
    served.make("trip_features", "2023-03", "2023-04", "2023-05")
    assert served.tick() == ["2023-03", "2023-04", "2023-05"]


def test_a_new_champion_scores_nothing_again(served):
    served.make("trip_features", "2023-03")
    assert served.tick() == ["2023-03"]
    served.make("trip_predictions", "2023-03")
    served.make("champion_model")
    assert served.tick() == []


def test_scoring_does_not_wait_for_the_retraining(served):
    left_in_progress(served.project, "retrain", dg.DagsterRunStatus.STARTED)
    served.make("trip_features", "2023-03")
    assert served.tick() == ["2023-03"]


def test_it_waits_while_the_same_months_are_being_scored(served):
    run = left_in_progress(
        served.project,
        "predict_trips",
        dg.DagsterRunStatus.STARTED,
        **{"dagster/partition": "2023-03"},
    )
    planned = dg._core.events.AssetMaterializationPlannedData(PREDICTIONS, partition="2023-03")
    event = dg.DagsterEvent(
        "ASSET_MATERIALIZATION_PLANNED", run.job_name, event_specific_data=planned
    )
    served.project.instance.report_dagster_event(event, run.run_id)
    served.make("trip_features", "2023-03")
    assert served.tick() == []
    served.project.instance.report_run_failed(run)
    assert served.tick() == ["2023-03"]


def test_the_sensor_is_on_and_tags_its_runs_with_a_reason():
    sensor = scoring_sensor()
    assert sensor.name == SCORING_SENSOR
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert run_reason_of(sensor.run_tags) == "a month came in"
