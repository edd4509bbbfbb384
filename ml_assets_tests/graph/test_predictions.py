"""``trip_predictions``: months scored with the champion, equal to the last bit everywhere."""

from datetime import UTC, datetime

import dagster as dg
import mlflow
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from ml_assets.cli.predict import predict as predict_command
from ml_assets.defs.predictions import assets as predictions
from ml_assets.defs.predictions.assets import scoring_sensor
from ml_assets.pipeline.conformal_intervals import interval_bounds, seen_pairs
from ml_assets.promotion.serving_parity import PAGE_PATH
from ml_assets.registry.loading import load_model
from ml_assets.registry.registry import CHAMPION, Registry
from ml_assets.requests.batch import predict_file
from ml_assets.requests.parse import states_distance
from ml_assets.serving.app import create_app
from ml_assets.serving.bundle import ModelCard, ServedModel
from ml_assets.serving.fast_predict import enable_fast_path
from ml_assets.serving.request_log.writer import RequestLog
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import REQUEST_COLUMNS, USUAL
from ml_assets.trips.target import TARGET
from ml_assets_tests.project import RANGE_END, RANGE_START, Project, open_project, settings_for
from ml_assets_tests.published_months import publish
from ml_assets_tests.serving.conftest import client_for
from ml_assets_tests.serving.fixed_model import FixedModel
from ml_assets_tests.serving.request_log.whole_log import read_log

NAME = "taxi-trip-duration"
MARCH = Month(2023, 3)
PREDICTED = (*TARGET.prediction_fields, "distance", "distance_miles", "model_version")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A champion of three small months; the fourth is unpublished."""
    folder = tmp_path_factory.mktemp("published")
    for month in ("2023-01", "2023-02", "2023-03"):
        publish(folder, Month.parse(month))
    with open_project(settings_for(tmp_path_factory.mktemp("home"), folder)) as project:
        assert project.ingest("2023-01", "2023-04").success
        assert project.train(["xgboost"]).success
        yield project


def predict(project: Project, first="2023-01", last="2023-04"):
    return project.run("predict_trips", tags={RANGE_START: first, RANGE_END: last})


def stored(project: Project, month=MARCH) -> pl.DataFrame:
    return TripStore(project.settings.home, "green", False).read_table("trip_predictions", month)


def test_process_file_and_asset_predict_the_same_bits(project, tmp_path):
    assert predict(project).success
    store = TripStore(project.settings.home, "green", False)
    model = load_model(Registry.of(project.settings))
    for month in store.months("trip_features"):
        trips = store.read_table("trip_features", month)
        requests = trips.select(REQUEST_COLUMNS)
        minutes = model.pipeline.predict(requests.to_pandas())
        stated = states_distance(requests["trip_distance"])
        zones = (requests[name].to_numpy() for name in REQUEST_COLUMNS[:2])
        seen = seen_pairs(model.pipeline, *zones)
        bounds = interval_bounds(model.pipeline, minutes, stated, seen)
        assert bounds is not None
        lower, upper = bounds
        requests.write_parquet(tmp_path / f"{month}.parquet")
        requests.write_csv(tmp_path / f"{month}.csv")
        frames = [stored(project, month)]
        assert frames[0]["trip_id"].equals(trips["trip_id"])
        for ending in ("parquet", "csv"):
            out = tmp_path / f"{month}.{ending}.answers.parquet"
            predict_file(model, tmp_path / f"{month}.{ending}", out)
            frames.append(pl.read_parquet(out))
        for frame in frames:
            assert frame["predicted_minutes"].to_list() == minutes.tolist()
            assert frame["lower_minutes"].to_list() == lower.tolist()
            assert frame["upper_minutes"].to_list() == upper.tolist()
            assert (frame["distance"] == "stated").to_list() == stated.tolist()
            assert (
                frame["distance_miles"]
                .filter(stated)
                .equals(requests["trip_distance"].filter(stated))
            )
            assert frame["distance_miles"].min() > 0
            assert set(frame["model_version"]) == {model.version}


def test_months_stored_before_distances_could_be_left_out_are_read(project):
    assert predict(project, "2023-03", "2023-03").success
    store = TripStore(project.settings.home, "green", False)
    lineage, _ = store.lineage("trip_predictions", MARCH)
    former = stored(project).drop("distance", "distance_miles")
    store.write_table("trip_predictions", former, lineage)
    assert stored(project).equals(former)


def test_scored_again_a_trip_keeps_its_id_and_prediction(project):
    assert predict(project, "2023-03", "2023-03").success
    first = stored(project)
    before = datetime.now(UTC)
    assert predict(project, "2023-03", "2023-03").success
    again = stored(project)
    assert again.drop("scored_at").equals(first.drop("scored_at"))
    assert first["scored_at"].max() < before <= again["scored_at"].min()


def test_a_month_scored_in_chunks_gets_the_same_bits(project, monkeypatch):
    assert predict(project, "2023-03", "2023-03").success
    whole = stored(project)
    monkeypatch.setattr(predictions, "_BATCH_ROWS", whole.height // 3)
    assert predict(project, "2023-03", "2023-03").success
    pieces = stored(project)
    assert pieces.drop("scored_at").equals(whole.drop("scored_at"))
    assert pieces["scored_at"].n_unique() == 1


def test_a_month_shows_its_rows_version_and_mean(project):
    assert predict(project).success
    shown = project.metadata("trip_predictions", "2023-03")
    frame = stored(project)
    assert shown["dagster/row_count"] == frame.height > 0
    serving = Registry.of(project.settings).client.get_model_version_by_alias(NAME, CHAMPION)
    assert shown["model_version"] == str(serving.version)
    assert shown["mean_predicted_minutes"] == pytest.approx(
        frame["predicted_minutes"].mean(), abs=1e-4
    )
    assert shown["preview"].records[0].data["PULocationID"] > 0
    assert len(shown["preview"].records) == 5


def test_a_month_without_trips_is_reported_and_has_no_file(project):
    assert predict(project).success
    shown = project.metadata("trip_predictions", "2023-04")
    assert shown["status"].startswith("no trip_features of 2023-04")
    assert shown["dagster/row_count"] == 0
    assert Month(2023, 4) not in TripStore(project.settings.home, "green", False).months(
        "trip_predictions"
    )


@pytest.fixture
def without_champion(project):
    client = Registry.of(project.settings).client
    version = client.get_model_version_by_alias(NAME, CHAMPION).version
    client.delete_registered_model_alias(NAME, CHAMPION)
    yield project
    client.set_registered_model_alias(NAME, CHAMPION, version)


def test_without_a_champion_it_fails_with_advice_and_keeps_stored_predictions(without_champion):
    project = without_champion
    before = stored(project)
    result = predict(project, "2023-03", "2023-03")
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    message = event.step_failure_data.error.to_string()
    assert "no version of taxi-trip-duration has the alias champion" in message
    assert "`ml-assets promote 1`" in message
    assert stored(project).equals(before)


def test_a_champion_of_other_trips_does_not_score(project):
    client = Registry.of(project.settings).client
    version = client.get_model_version_by_alias(NAME, CHAMPION).version
    client.set_model_version_tag(NAME, version, "dataset", "sample_green")
    try:
        result = predict(project, "2023-03", "2023-03")
        assert not result.success
        (event,) = [event for event in result.all_events if event.is_step_failure]
        message = event.step_failure_data.error.to_string()
        assert "was trained on sample_green, not on green" in message
    finally:
        client.set_model_version_tag(NAME, version, "dataset", "green")


def test_a_month_scored_automatically_under_another_champion_fails_no_run(without_champion):
    project = without_champion
    before = stored(project)
    tags = {"dagster/partition": "2023-03", **scoring_sensor().run_tags}
    assert project.run("predict_trips", tags=tags).success
    message = project.metadata("trip_predictions", "2023-03")["status"]
    assert message.startswith("not scored: no version of taxi-trip-duration has the alias champion")
    assert stored(project).equals(before)


def test_all_months_are_scored_in_one_run(project):
    node = project.definitions.resolve_asset_graph().get(dg.AssetKey("trip_predictions"))
    assert node.backfill_policy.max_partitions_per_run is None
    assert {key.to_user_string() for key in node.parent_keys} == {"trip_features", "champion_model"}


def ask(project: Project, *requests, **config):
    given = [{name: v for name, v in one.items() if v is not None} for one in requests]
    step = {"predict": {"config": {"requests": given, **config}}}
    result = project.run("predict_requests", step)
    outputs = [event for event in result.all_events if event.is_successful_output]
    shown = outputs[0].step_output_data.metadata if outputs else {}
    return result, {name: entry.value for name, entry in shown.items()}


REQUEST = {"PULocationID": 41, "DOLocationID": 74, "trip_distance": 2.5,
         "pickup_datetime": "2024-05-06T17:30", "passenger_count": 1}  # fmt: skip


def test_requests_in_the_launchpad_are_predicted_in_a_table(project):
    result, shown = ask(
        project,
        REQUEST,
        REQUEST | {"DOLocationID": 300},
        {**REQUEST, "trip_distance": 5},
        {**REQUEST, "trip_distance": None},
        {**REQUEST, "trip_distance": 0.0},
    )
    assert result.success
    rows = [record.data for record in shown["predictions"].records]
    model = load_model(Registry.of(project.settings))
    trips = [dict(REQUEST, trip_distance=miles) for miles in (2.5, 5.0, None, 0.0)]
    frame = pl.DataFrame(trips).with_columns(pl.col("pickup_datetime").str.to_datetime())
    minutes = model.pipeline.predict(frame.to_pandas())
    for found, expected in ((rows, minutes.round(4)), (shown["answers"], minutes)):
        assert [found[at]["predicted_minutes"] for at in (0, 2, 3, 4)] == expected.tolist()
    assert minutes[2] == minutes[3]
    used = [(row["distance"], row["distance_miles"]) for row in shown["answers"]]
    usual = float(model.usual_miles(np.array([41]), np.array([74]))[0])
    assert used == [("stated", 2.5), (None, None), ("stated", 5.0), *[("usual", usual)] * 2]
    assert rows[0]["lower_minutes"] <= rows[0]["predicted_minutes"] <= rows[0]["upper_minutes"]
    assert rows[1]["reason"].startswith("DOLocationID must be a zone number from 1 to 265, not 300")
    assert (shown["scored"], shown["refused"], shown["model_version"]) == (4, 1, model.version)


def test_a_request_without_a_distance_has_the_same_answer_everywhere(project, tmp_path):
    """A trip without a metered distance: stored, in files, over HTTP, on the page, in the log."""
    assert predict(project).success
    (trip,) = stored(project).filter(pl.col("distance") == USUAL).head(1).to_dicts()
    features = TripStore(project.settings.home, "green", False).read_table("trip_features", MARCH)
    row = features.filter(pl.col("trip_id") == trip["trip_id"]).select(REQUEST_COLUMNS)
    (request,) = row.drop("trip_distance").to_dicts()
    time = request["pickup_datetime"].isoformat()
    request |= {"pickup_datetime": time, "passenger_count": int(request["passenger_count"])}
    expected = {name: trip[name] for name in PREDICTED}
    assert expected["distance_miles"] > 0

    def answer(found):
        return {name: found[name] for name in PREDICTED}

    pl.DataFrame([request]).write_csv(tmp_path / "requests.csv")
    home = {"ML_ASSETS_HOME": str(project.settings.home), "ML_ASSETS_TRIPS": "sample"}
    arguments = [str(tmp_path / "requests.csv"), "--out", str(tmp_path / "predictions.parquet")]
    done = CliRunner(env=home).invoke(predict_command, arguments)
    assert done.exit_code == 0, done.output
    (from_file,) = pl.read_parquet(tmp_path / "predictions.parquet").to_dicts()
    assert answer(from_file) == expected

    _, shown = ask(project, request)
    assert answer(shown["answers"][0]) == expected

    registry = Registry.of(project.settings)
    champion, model = registry.champion(), load_model(registry)
    assert champion is not None
    card = ModelCard.of(champion, datetime.now(UTC))
    enable_fast_path(model.pipeline)
    app = create_app(FixedModel(ServedModel(model, card)), log=RequestLog(tmp_path / "log"))
    with client_for(app) as service:
        assert answer(service.post("/predict", json=request).json()) == expected
        listed = service.post("/predict", json=[request] * 40).json()["predictions"]
        assert [answer(each) for each in listed] == [expected] * 40
        # The page's time input has minutes only.
        of_page = service.post(PAGE_PATH, json=request | {"pickup_datetime": time[:16]}).json()
        assert answer(of_page) == expected
        assert of_page["explanation"]["contributions"]["trip_distance"] == 0
    logged = read_log(tmp_path / "log")
    assert [answer(each) for each in logged.to_dicts()] == [expected] * 42
    assert logged["trip_distance"].is_null().all()

    mlflow.set_tracking_uri(project.settings.tracking_uri)
    elsewhere = mlflow.pyfunc.load_model(f"models:/{NAME}@{CHAMPION}")
    minutes = elsewhere.predict(row.drop("trip_distance").to_pandas())
    assert minutes.tolist() == [expected["predicted_minutes"]]


def test_the_launchpad_accepts_published_names_and_refuses_unknown_ones(project):
    others = {"pulocationid": 41, "DOLOCATIONID": 74, "Trip_Distance": 2.5,
              "lpep_pickup_datetime": "2024-05-06T17:30", "Passenger_Count": 1}  # fmt: skip
    result, shown = ask(
        project,
        REQUEST,
        others,
        REQUEST | {"pickup_time": "2024-05-06T17:30"},
        REQUEST | {"tpep_pickup_datetime": "2024-05-06T17:30"},
    )
    assert result.success
    plain, other, unknown, repeated = shown["answers"]
    assert plain["predicted_minutes"] == other["predicted_minutes"] > 0
    assert plain.keys() == other.keys()
    assert (
        unknown["reason"] == "'pickup_time' is not a request field: did you mean pickup_datetime?"
    )
    assert "both mean pickup_datetime: remove one" in repeated["reason"]


@pytest.mark.parametrize(
    ("requests", "config", "message"),
    [
        ([{**REQUEST, "PULocationID": None}], {}, "request 1: PULocationID is missing"),
        ([{"PU": 41, "DOLocationID": 74, "trip_distance": 1.0}], {}, "did you mean PULocationID?"),
        ([REQUEST | {"trip_distance": -1.0}], {}, "request 1: trip_distance must be"),
        ([], {}, "no request: give at least one"),
        ([REQUEST], {"version": "99"}, "has no version or alias '99'"),
    ],
)
def test_a_launch_without_a_valid_request_fails_with_its_reason(project, requests, config, message):
    result, _ = ask(project, *requests, **config)
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert message in event.step_failure_data.error.to_string()
