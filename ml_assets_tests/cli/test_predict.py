"""``ml-assets predict``: predictions of a registered version for a file of requests."""

import json
import re
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ml_assets.registry.artifacts import load_pipeline
from ml_assets.requests.pickup_time import new_york_time
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.cli.calling import call
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_months import publish
from ml_assets_tests.requests.malformed_files import MALFORMED

REQUESTS = """PULocationID,DOLocationID,trip_distance
41,74,2.5
41,74,-1
75,166,1.0
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A champion of small published months."""
    folder = tmp_path_factory.mktemp("published")
    for month in ("2023-01", "2023-02", "2023-03"):
        publish(folder, Month.parse(month))
    with open_project(settings_for(tmp_path_factory.mktemp("home"), folder)) as project:
        assert project.ingest("2023-01", "2023-03").success
        assert project.train().success
        yield project


@pytest.fixture
def predict(monkeypatch, capsys, project, tmp_path):
    """The command in a folder that holds requests.csv."""
    (tmp_path / "requests.csv").write_text(REQUESTS)
    monkeypatch.chdir(tmp_path)

    def predicted(*arguments, home=project.settings.home):
        variables = {"ML_ASSETS_HOME": home, "ML_ASSETS_TRIPS": project.settings.trips}
        return call(monkeypatch, capsys, ["predict", *arguments], variables)

    return predicted


def test_requests_are_scored_by_the_champion_and_rejected_ones_counted(predict, tmp_path):
    answer = predict("requests.csv", "--out", "minutes.csv")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("minutes.csv: 2 of 3 requests scored with version 1 in ")
    assert "1 could not be scored, by invalid field: trip_distance 1" in answer.out
    [shown] = re.findall(
        r"^no pick-up time given: all rows scored as of (.*)$", answer.out, re.MULTILINE
    )
    as_of = datetime.strptime(shown, "%Y-%m-%d %H:%M (New York time)")
    assert abs(as_of - new_york_time()) < timedelta(minutes=5)
    minutes = pl.read_csv(tmp_path / "minutes.csv")
    assert minutes["PULocationID"].to_list() == [41, 41, 75]
    assert minutes["predicted_minutes"].is_null().to_list() == [False, True, False]
    assert minutes["reason"].is_null().to_list() == [True, False, True]
    assert (minutes["lower_minutes"] <= minutes["upper_minutes"]).drop_nulls().to_list() == [
        True,
        True,
    ]


def test_json_is_one_object_and_nothing_else(predict, tmp_path):
    answer = predict("requests.csv", "--out", "minutes.parquet", "--version", "1", "--json")
    assert answer.status == 0
    shown = json.loads(answer.out)
    seconds = shown.pop("seconds")
    assert 0 < seconds < 60
    as_of = datetime.fromisoformat(shown.pop("scored_as_of"))
    assert abs(as_of - new_york_time()) < timedelta(minutes=5)
    assert shown == {
        "rows": 3,
        "scored": 2,
        "refused": 1,
        "reasons": {"trip_distance": 1},
        "model_version": "1",
        "without_pickup_time": 2,
        "usual_distance": 0,
        "out": "minutes.parquet",
    }


def test_an_existing_file_is_replaced_only_with_overwrite(predict, tmp_path):
    (tmp_path / "minutes.csv").write_text("mine")
    answer = predict("requests.csv", "--out", "minutes.csv")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == (
        "error: minutes.csv already exists: name another file, or use --overwrite\n"
    )
    assert (tmp_path / "minutes.csv").read_text() == "mine"
    assert predict("requests.csv", "--out", "minutes.csv", "--overwrite").status == 0
    assert (tmp_path / "minutes.csv").read_text() != "mine"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["absent.csv", "--out", "minutes.csv"], "absent.csv cannot be read: No such file"),
        (["requests.csv", "--out", "minutes.txt"], "minutes.txt must end with one of .parquet"),
        (
            ["requests.csv", "--out", "minutes.csv", "--version", "99"],
            "has no version or alias '99'",
        ),
        (
            ["requests.csv", "--out", "minutes.csv", "--version", "gone"],
            "has no version or alias 'gone'",
        ),
    ],
)
def test_an_error_is_one_line(predict, tmp_path, arguments, shown):
    answer = predict(*arguments)
    assert (answer.status, answer.out) == (1, "")
    assert shown in answer.err
    assert answer.err.count("\n") == 1
    assert not list(tmp_path.glob("minutes*"))


def test_missing_pick_up_times_are_counted(predict, tmp_path):
    (tmp_path / "some.csv").write_text(
        "PULocationID,DOLocationID,trip_distance,lpep_pickup_datetime\n"
        "41,74,2.5,2023-04-03 08:30\n"
        "41,74,2.5,\n"
    )
    answer = predict("some.csv", "--out", "minutes.csv")
    assert (answer.status, answer.err) == (0, "")
    assert "not every row has a pick-up time: 1 row scored as of 20" in answer.out


def test_rows_without_a_distance_are_counted(predict, tmp_path):
    (tmp_path / "some.csv").write_text(
        "PULocationID,DOLocationID,trip_distance\n41,74,2.5\n41,74,\n41,74,0\n"
    )
    (tmp_path / "zones.csv").write_text("PULocationID,DOLocationID\n41,74\n41,74\n")
    answer = predict("some.csv", "--out", "minutes.csv")
    assert "\n2 rows scored for the usual distance of the two zones: " in answer.out
    minutes = pl.read_csv(tmp_path / "minutes.csv")
    assert minutes["distance"].to_list() == ["stated", "usual", "usual"]
    answer = predict("zones.csv", "--out", "all.csv")
    assert "\nall rows scored for the usual distance of the two zones: " in answer.out
    usual = pl.read_csv(tmp_path / "all.csv")["distance_miles"]
    assert usual.to_list() == [minutes["distance_miles"][1]] * 2


def test_a_column_that_resembles_a_field_is_copied_with_the_option(predict, tmp_path):
    (tmp_path / "named.csv").write_text(
        "PULocationID,DOLocationID,trip_distance,pickup_time\n41,74,2.5,08:30\n"
    )
    answer = predict("named.csv", "--out", "minutes.csv")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err == (
        "error: named.csv has a column that is not a request field but looks like one: 'pickup_time' "
        "(looks like pickup_datetime). Rename it to the field, or keep it as a column of your own "
        "with --ignore-column 'pickup_time'\n"
    )
    assert not (tmp_path / "minutes.csv").exists()
    kept = predict("named.csv", "--out", "minutes.csv", "--ignore-column", "pickup_time")
    assert kept.status == 0
    assert pl.read_csv(tmp_path / "minutes.csv")["pickup_time"].to_list() == ["08:30"]


@pytest.mark.parametrize("name", ["semicolons", "kilometres in words", "an array", "no bytes"])
def test_a_malformed_file_is_a_one_line_error_and_leaves_no_output(predict, tmp_path, name):
    source, content, shown = MALFORMED[name]
    (tmp_path / source).write_bytes(content())
    answer = predict(source, "--out", "minutes.csv", "--json")
    assert (answer.status, answer.out) == (1, "")
    assert shown in answer.err
    assert answer.err.count("\n") == 1
    assert not list(tmp_path.glob("*minutes*"))


def test_without_a_champion_the_error_says_how_to_train_one(predict, tmp_path):
    answer = predict("requests.csv", "--out", "minutes.csv", home=tmp_path / "empty")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("error: there is no champion yet, nor any other model: ")
    assert "Train first (`ml-assets run`, or the job train_models)" in answer.err


def test_the_output_has_the_champions_predictions(predict, project, tmp_path):
    trips = pl.read_parquet(
        f"{project.settings.home}/trip_features/green/2023-03.parquet",
        columns=list(REQUEST_COLUMNS),
    )
    trips.write_parquet(tmp_path / "trips.parquet")
    assert predict("trips.parquet", "--out", "minutes.parquet").status == 0
    shown = pl.read_parquet(tmp_path / "minutes.parquet")["predicted_minutes"]
    pipeline = load_pipeline("models:/taxi-trip-duration@champion")
    assert np.array_equal(shown.to_numpy(), pipeline.predict(trips.to_pandas()))
