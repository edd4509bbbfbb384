"""The whole graph on real published months, and on the other taxi's."""

import pytest

from ml_assets.modeling.records import ChampionDecision, Leaderboard
from ml_assets.storage.record_store import RecordStore
from ml_assets.tracking.models import load_pipeline
from ml_assets_tests.project import Project, open_project, settings_for


def outcome(project: Project, dataset: str) -> tuple[Leaderboard, ChampionDecision]:
    records = RecordStore(project.settings.home, dataset)
    return (
        records.read("model_leaderboard", Leaderboard),
        records.read("champion_model", ChampionDecision),
    )


@pytest.fixture(scope="module")
def on_real_months(tmp_path_factory, real_trips):
    home = tmp_path_factory.mktemp("home")
    with open_project(settings_for(home, real_trips)) as project:
        assert project.ingest("2023-01", "2023-03").success
        assert project.train(("linear_svr", "xgboost")).success
        yield project


def test_published_months_become_a_champion_that_beats_the_baselines(on_real_months):
    board, decision = outcome(on_real_months, "green")
    assert not board.synthetic and board.judged_month == "2023-03"
    assert decision.champion == "xgboost"
    rmse = {row.model: row.test.rmse for row in board.rows}
    # Seen on these months: 4.2, 4.6 and 7.0 minutes.
    assert rmse["xgboost"] < rmse["linear_svr"] < 0.75 * rmse["distance_line"]


def test_its_champion_answers_a_request(on_real_months):
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


def test_no_result_on_real_months_is_called_synthetic(on_real_months):
    for asset in ("training_set", "xgboost_model", "model_leaderboard", "champion_model"):
        assert on_real_months.metadata(asset)["trips"] == "green", asset


def test_yellow_months_go_through_the_same_graph(tmp_path):
    settings = settings_for(tmp_path, ML_ASSETS_TAXI="yellow")
    with open_project(settings) as project:
        assert project.ingest("2023-01", "2023-03").success
        assert project.train().success
        board, decision = outcome(project, "sample_yellow")
        assert decision.champion == "linear_regression"
        assert board.rows[0].model == "linear_regression"
