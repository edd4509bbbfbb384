"""Promotion in a registry with champions of different datasets."""

import pyarrow.parquet as pq
import pytest

from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.trips.month import Month
from ml_assets.trips.sample import generate_month
from ml_assets_tests.planted import publish, sample_month
from ml_assets_tests.project import open_project, settings_for

MONTHS = ("2023-01", "2023-02")


@pytest.fixture
def published(tmp_path):
    """Published months of both taxis in a folder."""
    folder = tmp_path / "published"
    folder.mkdir()
    for month in MONTHS:
        publish(folder, month, sample_month(month))
        yellow = generate_month(Month.parse(month), "yellow")
        pq.write_table(yellow, folder / f"yellow_tripdata_{month}.parquet")
    return folder


def test_a_champion_of_published_trips_replaces_the_sample_s_and_is_not_replaced_by_it(
    tmp_path, published
):
    def champion_after(trips, taxi="green", train=True, **config):
        """Return the decision on trips, new ones or those already trained on."""
        settings = settings_for(tmp_path / "home", trips, ML_ASSETS_TAXI=taxi)
        with open_project(settings) as project:
            if train:
                assert project.ingest(*MONTHS).success
                assert project.train().success
            else:
                steps = {"champion_model": {"config": config}}
                assert project.run("train_models", steps, ["champion_model"]).success
            dataset = taxi if trips == published else f"sample_{taxi}"
            found = DecisionLog(settings.home, dataset).newest()
            return found, project.metadata("champion_model")

    first, _ = champion_after("sample")
    assert (first.promoted, first.dataset) == (True, "sample_green")
    real, shown = champion_after(published)  # as after the demo, followed by published trips
    assert (real.promoted, real.dataset, shown["trips"]) == (True, "green", "green")
    again, shown = champion_after("sample", train=False)
    assert not again.promoted
    assert again.registry_version == real.registry_version
    assert (again.synthetic, shown["trips"]) == (False, "green")
    assert "another ML_ASSETS_HOME or MLFLOW_TRACKING_URI" in again.reason
    other, _ = champion_after(published, "yellow")
    assert (other.promoted, other.registry_version) == (False, real.registry_version)
    decision, _ = champion_after(published, "yellow", train=False, replace_other_dataset=True)
    assert (decision.promoted, decision.dataset) == (True, "yellow")
