"""The asset graph on real published months of both taxis."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.evaluation.records import Leaderboard, TrainingSet
from ml_assets.pipeline.predict import Model
from ml_assets.promotion.candidate_service import candidate_service
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.serving_parity import compare, sample_requests
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.loading import load_model
from ml_assets.registry.registry import Registry
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.families import FAMILIES
from ml_assets.training.training_set import load_trips
from ml_assets.trips.cleaning import kept_trips, read_published
from ml_assets.trips.month import Month
from ml_assets_tests.project import Project, open_project, settings_for

NAME = "taxi-trip-duration"


def outcome(project: Project, dataset: str) -> tuple[Leaderboard, ChampionDecision | None]:
    records = RecordStore(project.settings.home, dataset)
    return (
        records.read("model_leaderboard", Leaderboard),
        DecisionLog(project.settings.home, dataset).newest(),
    )


@pytest.fixture(scope="module")
def on_real_months(tmp_path_factory, real_trips):
    """A champion of three published months, of every fourth trip."""
    home, published = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("published")
    for name in (f"green_tripdata_2023-0{month}.parquet" for month in (1, 2, 3)):
        trips = pq.read_table(real_trips / name)
        pq.write_table(trips.take(np.arange(0, len(trips), 4)), published / name)
    with open_project(settings_for(home, published)) as project:
        assert project.ingest("2023-01", "2023-03").success
        assert project.train(("linear_svr", "xgboost")).success
        yield project


def test_published_months_become_a_champion_that_beats_the_baselines(on_real_months):
    board, decision = outcome(on_real_months, "green")
    assert not board.synthetic and board.test_month == "2023-03"
    assert decision.champion == "xgboost"
    rmse = {row.model: row.test.rmse for row in board.rows}
    # Seen on these trips: 4.2, 4.5 and 6.9 minutes.
    assert rmse["xgboost"] < rmse["linear_svr"] < 0.75 * rmse["distance_line"]


def test_left_out_is_better_than_the_usual_distance_as_if_metered(real_trips):
    """Fitted on January, asked about February; seen: 4.97 and 5.04 minutes."""
    january, february = (
        kept_trips(
            read_published(real_trips / f"green_tripdata_{month}.parquet", "green", month, "file"),
            month,
        ).to_pandas()
        for month in (Month(2023, 1), Month(2023, 2))
    )
    actual = february["duration_minutes"]
    pipeline = FAMILIES["xgboost"].make_pipeline().fit(january, january["duration_minutes"])
    zones = (february[name].to_numpy() for name in ("PULocationID", "DOLocationID"))
    usual = Model(pipeline, "1").usual_miles(*zones)
    left_out, as_if_metered = (
        root_mean_squared_error(actual, pipeline.predict(february.assign(trip_distance=miles)))
        for miles in (np.full(len(february), np.nan), usual)
    )
    assert left_out < 0.995 * as_if_metered, (left_out, as_if_metered)


def test_its_champion_predicts_a_request(on_real_months):
    import mlflow
    import pandas as pd

    mlflow.set_tracking_uri(on_real_months.settings.tracking_uri)
    champion = load_pipeline("models:/taxi-trip-duration@champion")
    east_harlem_to_jfk = pd.DataFrame(
        {"PULocationID": [74, 74], "DOLocationID": [75, 132], "trip_distance": [1.0, 17.0],
         "pickup_datetime": pd.to_datetime(["2023-03-01 03:00", "2023-03-01 17:00"])}
    )  # fmt: skip
    near, far = champion.predict(east_harlem_to_jfk)
    assert 2 < near < 12
    assert 35 < far <= 60


def test_real_trips_get_the_same_predictions_through_every_channel(on_real_months):
    settings = on_real_months.settings
    registry = Registry.of(settings)
    training_set = RecordStore(settings.home, "green").read("training_set", TrainingSet)
    test_trips = load_trips(TripStore(settings.home, "green", False), training_set, "test")
    model, trips = load_model(registry), sample_requests(test_trips, 1000)
    champion = registry.champion()
    assert champion is not None
    with candidate_service(champion, NAME) as service:
        found = compare(model, trips, service.post, single=200)
    assert found.difference is None
    many, few = ("batch_parquet", "batch_csv", "http_list", "features"), ("http_single", "page")
    assert found.compared == dict.fromkeys(many, 1000) | dict.fromkeys(few, 200)


def test_no_result_on_real_months_is_called_synthetic(on_real_months):
    for asset in ("training_set", "xgboost_model", "model_leaderboard", "champion_model"):
        assert on_real_months.metadata(asset)["trips"] == "green", asset


def test_yellow_months_run_through_the_same_graph(tmp_path):
    settings = settings_for(tmp_path, ML_ASSETS_TAXI="yellow")
    with open_project(settings) as project:
        assert project.ingest("2023-01", "2023-03").success
        assert project.train().success
        board, decision = outcome(project, "sample_yellow")
        assert decision.champion == "linear_regression"
        assert board.rows[0].model == "linear_regression"
