"""``ml-assets run``: complete runs and failures."""

import json
import signal
import time
from datetime import timedelta
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from ml_assets.cli.run import run
from ml_assets.defs.promotion.champion import ChampionConfig
from ml_assets.defs.training.models import ModelConfig
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets_tests.cli.calling import call, start
from ml_assets_tests.project import lay_tables_of_mlflow, settings_for
from ml_assets_tests.published_months import publish, published_month

MODEL = ["--models", "linear_regression", "--trials", "0"]
RANGE = ["--first", "2023-01", "--last", "2023-06"]


def published_in(folder, numbers=(1, 2, 4, 5)):
    """Months 3 and 6 are not published: one in the middle, one at the end."""
    for number in numbers:
        publish(folder, Month(2023, number))
    return folder


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    def called(*arguments, **environment):
        variables = {
            "ML_ASSETS_HOME": tmp_path / "home",
            "ML_ASSETS_TRIPS": tmp_path / "published",
        } | environment
        return call(monkeypatch, capsys, list(arguments), variables)

    return called


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A complete run in its own process, with ``--json``."""
    published = published_in(tmp_path_factory.mktemp("published"))
    for number in (2, 4, 5):  # plausible meter errors that the course's rule keeps
        month = Month(2023, number)
        distances = published_month(month)["trip_distance"].to_pylist()
        distances[:3] = [201_421.0, 1e300, 0.0]
        publish(published, month, published_month(month, trip_distance=distances))
    home = tmp_path_factory.mktemp("home")
    lay_tables_of_mlflow(settings_for(home))
    environment = {"ML_ASSETS_HOME": home, "ML_ASSETS_TRIPS": published}
    process = start(["run", *RANGE, *MODEL, "--json"], environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return environment, out, err


def test_json_is_one_object_and_nothing_else_on_standard_output(finished):
    _, out, _ = finished
    assert out.count("\n") == 1
    answer = json.loads(out)
    (model,) = answer["models"]
    assert {"model", "validation_rmse", "test_rmse", "test_mae", "fit_seconds"} < set(model)
    assert model["test_rmse"] < model["test_rmse_usual"]
    assert 0.6 < model["interval_coverage"] < 0.95
    assert 0.6 < model["interval_coverage_usual"] < 0.95
    assert answer["baselines"][0]["interval_coverage"] is None
    assert model["model"] == answer["champion"] == "linear_regression"
    assert 0 < model["test_rmse"] < min(row["test_rmse"] for row in answer["baselines"])
    assert (answer["registry_version"], answer["test_month"]) == ("1", "2023-05")


def test_progress_is_a_line_a_step_without_the_libraries_own_logs(finished):
    _, _, err = finished
    steps = [line for line in err.splitlines() if line.startswith(("✓ ", "– ", "✗ "))]
    *in_order, last, last_beside_it = [line.split()[1] for line in steps]
    assert in_order == [
        *("raw_trips", "data_profile", "rejected_trips", "trip_features", "ingestion_checks"),
        *("training_set", "training_set_checks", "linear_regression_model"),
        *("model_leaderboard", "champion_model", "champion_checks"),
    ]
    assert {last, last_beside_it} == {"model_checks", "champion_model_serving_parity"}
    window = (
        "train 2023-01 to 2023-02 (2) · validation 2023-04 · test 2023-05 · missing in between: "
    )
    assert any(line.endswith(f"{window}2023-03") for line in steps)
    assert "INFO" not in err
    assert "Traceback" not in err
    plan = ("linear_regression: all 598 trips, ", "training: about ")
    others = [line for line in err.splitlines() if line not in steps and not line.startswith(plan)]
    assert all(line.startswith("  ! check ") for line in others), others


def test_its_runs_are_executed_as_those_of_the_ui(finished):
    environment, _, _ = finished
    with dg.DagsterInstance.from_config(f"{environment['ML_ASSETS_HOME']}/dagster") as instance:
        found = instance.get_runs()
        assert len(found) == 2
        for run in found:
            events = [entry.dagster_event for entry in instance.all_logs(run.run_id)]
            messages = [event.message for event in events if event is not None]
            assert any("Started because: manually: ml-assets run" in str(m) for m in messages)


def test_the_last_leaderboard_can_be_shown_again(finished, monkeypatch, capsys):
    environment, out, _ = finished
    again = call(monkeypatch, capsys, ["leaderboard", "--json"], environment)
    assert json.loads(again.out) == json.loads(out)
    table = call(monkeypatch, capsys, ["leaderboard"], environment)
    assert "linear_regression ♛" in table.out
    assert "Champion: linear_regression, version 1 (promoted): " in table.out
    assert "validation" in table.out
    assert "tune RMSE" not in table.out


def test_a_folder_without_files_fails_in_one_line(cli, tmp_path):
    (tmp_path / "published").mkdir()
    answer = cli("run", "--first", "2023-01", "--last", "2023-02", *MODEL)
    assert (answer.status, answer.out) == (1, "")
    (message,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert "published has no green_tripdata_YYYY-MM.parquet of 2023-01 to 2023-02" in message
    assert "Traceback" not in answer.err


def errors(answer):
    """The error lines without the last one, which names the run."""
    lines = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert lines[-1].startswith("error: run ")
    assert "Existing data and models are kept" in lines[-1]
    assert "Traceback" not in answer.err
    return lines[:-1]


def test_a_damaged_month_is_named_with_the_way_out_and_the_others_are_kept(cli, tmp_path):
    published_in(tmp_path / "published", (1, 2, 4))
    bad = tmp_path / "published" / "green_tripdata_2023-02.parquet"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    months = ["--first", "2023-01", "--last", "2023-04"]
    answer = cli("run", *months, *MODEL)
    assert (answer.status, answer.out) == (1, "")
    (message,) = errors(answer)
    for text in ("raw_trips: 1 of 4 months could not be ingested", "2023-02: ", str(bad),
                 "not a readable Parquet file", "at its source", "kept: 2023-01, 2023-04", "--exclude 2023-02"):  # fmt: skip
        assert text in message
    store = TripStore(str(tmp_path / "home"), "green", synthetic=False)
    assert store.raw_record(Month(2023, 1)) is not None
    assert store.raw_record(Month(2023, 2)) is None
    around = cli("run", *months, "--exclude", "2023-02", "--ingest-only", "--json")
    assert around.status == 0
    assert json.loads(around.out) == {"models": [], "champion": None, "registry_version": None}
    assert [str(month) for month in store.months("trip_features")] == ["2023-01", "2023-04"]


def test_a_month_that_fails_a_check_is_named_with_the_way_out(cli, tmp_path):
    published_in(tmp_path / "published", (1,))
    publish(tmp_path / "published", Month(2023, 2), published_month(Month(2023, 2), 0))
    answer = cli("run", "--first", "2023-01", "--last", "2023-02", *MODEL)
    assert (answer.status, answer.out) == (1, "")
    assert "2023-02" in answer.err
    assert "row_count" in "".join(errors(answer))


def test_a_window_longer_than_what_is_published_fails_in_one_line(cli, tmp_path):
    published_in(tmp_path / "published", (1, 2, 4))
    answer = cli("run", "--first", "2023-01", "--last", "2023-04", *MODEL, "--train-months", "2")
    assert (answer.status, answer.out) == (1, "")
    (message,) = errors(answer)
    assert message.startswith("error: training_set: 2 training month(s), a validation month")
    assert "missing: 2023-03" in message


def test_a_home_that_cannot_be_created_is_a_one_line_error(cli, tmp_path, monkeypatch):
    published_in(tmp_path / "published", (1, 2))
    answer = cli("run", *RANGE, *MODEL, ML_ASSETS_HOME="/proc/ml_assets")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.count("\n") == 1
    for text in ("error: ", "/proc/ml_assets", "could not be stored", "ML_ASSETS_HOME"):
        assert text in answer.err


def test_an_mlflow_that_does_not_respond_stops_the_run_before_training(cli, tmp_path):
    published_in(tmp_path / "published", (1, 2))
    months = ["--first", "2023-01", "--last", "2023-02"]
    answer = cli("run", *months, *MODEL, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert answer.status == 1
    message = " ".join(errors(answer))
    assert "linear_regression_model: MLflow does not answer at MLFLOW_TRACKING_URI=" in message
    assert "Nothing was trained" in message


def test_seed_and_refit_reach_the_run(cli, tmp_path):
    published_in(tmp_path / "published", (1, 2))
    months = ["--first", "2023-01", "--last", "2023-02"]
    options = ["--seed", "7", "--refit"]
    answer = cli("run", *months, *MODEL, *options)
    assert answer.status == 0, answer.err
    what_next = answer.out[answer.out.index("What to do next:") :]
    assert f"ML_ASSETS_HOME={tmp_path}/home " in what_next
    assert "MLFLOW_TRACKING_URI" not in what_next  # it was set by MLflow, not by the user
    decision = DecisionLog(str(tmp_path / "home"), "green").newest()
    assert decision.refit
    assert decision.description.startswith("refitted on all months: 2023-01, 2023-02;")
    with dg.DagsterInstance.from_config(str(tmp_path / "home" / "dagster")) as instance:
        (run,) = instance.get_runs(dg.RunsFilter(job_name="train_models"))
    config: Any = run.run_config
    assert config["ops"]["linear_regression_model"]["config"] == {
        "trials": 0,
        "seed": 7,
        "max_rows": "default",
    }


def test_the_options_have_the_defaults_of_the_assets():
    defaults = {option.name: option.default for option in run.params}
    assert (defaults["trials"], defaults["seed"]) == (ModelConfig().trials, ModelConfig().seed)
    assert not ChampionConfig().refit_on_all_months  # as without --refit


def test_a_leaderboard_without_a_model_that_can_serve_is_shown_and_the_status_is_1(cli, tmp_path):
    for number in (1, 2, 3):  # random durations: models overfit
        month = Month(2023, number)
        pickups = published_month(month)["lpep_pickup_datetime"].to_pylist()
        minutes = np.random.default_rng(number).uniform(2, 58, len(pickups))
        ends = [at + timedelta(minutes=float(n)) for at, n in zip(pickups, minutes, strict=True)]
        table = published_month(month, dropoff=pa.array(ends, pa.timestamp("us")))
        publish(tmp_path / "published", month, table)
    months = ["--first", "2023-01", "--last", "2023-03"]
    shown = cli("run", *months, *MODEL)
    as_json = cli("run", *months, *MODEL, "--json")
    for answer in (shown, as_json):
        assert answer.status == 1
        (message,) = errors(answer)
        assert "no champion: linear_regression is not promoted: beats_baselines" in message
        failed = "! check best_model_is_servable of model_leaderboard: linear_regression: RMSE"
        assert failed in answer.err
    assert "Leaderboard, test month 2023-03" in shown.out
    assert "linear_regression" in shown.out
    assert "Champion" not in shown.out
    content = json.loads(as_json.out)
    assert [row["model"] for row in content["models"]] == ["linear_regression"]
    assert (content["champion"], content["registry_version"]) == (None, None)


def test_ctrl_c_ends_with_130_in_one_line_and_keeps_what_was_done(tmp_path):
    home = tmp_path / "home"
    months = ["--first", "2023-01", "--last", "2025-12"]  # long enough on a busy machine, too
    process = start(["run", *months, "--ingest-only"], {"ML_ASSETS_HOME": home})
    january = home / "raw_trips" / "sample_green" / "green_tripdata_2023-01.json"
    deadline = time.monotonic() + 60
    while not january.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    message = err.splitlines()[-1]
    assert message.startswith("stopped; what was finished is kept: the next run fetches no month")
    assert message.endswith("but trains its models again")
    assert "Traceback" not in err
    store = TripStore(str(home), "green", synthetic=True)
    assert store.raw_record(Month(2023, 1)) is not None
