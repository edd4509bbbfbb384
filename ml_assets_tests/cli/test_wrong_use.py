"""A wrong option or variable: one line that names it, its value and what is allowed; status 2."""

import json
import re

import fsspec
import pyarrow.parquet as pq
import pytest

from ml_assets.cli.dev import announcement
from ml_assets.config.settings import read_settings
from ml_assets.trips.month import Month
from ml_assets_tests.cli.calling import call
from ml_assets_tests.published_months import publish, published_month
from ml_assets_tests.storage.stored_months import put_month, store_at

RANGE = ["--first", "2023-01", "--last", "2023-04"]


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Call the command with its own home and, by default, the sample."""

    def called(*arguments, **environment):
        variables = {"ML_ASSETS_HOME": tmp_path / "home"} | environment
        return call(monkeypatch, capsys, list(arguments), variables)

    return called


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    for number in (1, 2, 4, 5):
        publish(folder, Month(2023, number))
    return folder


def assert_one_line(answer, status, *parts):
    assert answer.status == status, answer.err
    assert answer.out == ""
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.startswith("error: ")
    for text in parts:
        assert text in answer.err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--models", "xgbost"], ["--models", "xgbost", "linear_regression", "xgboost"]),
        (["--models", ","], ["--models", "nothing", "choose from"]),
        (["--trials", "-1"], ["--trials", "-1", "x>=0"]),
        (["--trials", "many"], ["--trials", "many", "integer"]),
        (["--train-months", "0"], ["--train-months", "0", "x>=1"]),
        (["--train-months", "3"], ["--train-months 3", "make 5", "only 4", "2022-12"]),
        (["--first", "2023-05"], ["--last 2023-04", "before --first 2023-05"]),
        (["--first", "2022-12"], ["--first 2022-12", "ML_ASSETS_FIRST_MONTH", "2023-01"]),
        (["--last", "2098-01"], ["--last 2098-01", "newest month that can be published"]),
        (["--last", "2023-1"], ["--last", "2023-1", "YYYY-MM", "2023-01"]),
        (["--last", "2023-01"], ["--first 2023-01 --last 2023-01", "two are enough"]),
        (["--exclude", "2023-02,march"], ["--exclude", "march", "YYYY-MM"]),
        (["--exclude", "2023-02,2023-03,2023-04"], ["only 2023-01 is available"]),
        (["--nonsense"], ["--nonsense"]),
        (["--serve", "judged"], ["--serve is now --refit"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_wrong_option_is_one_line_and_status_2_before_anything_is_fetched(
    cli, tmp_path, options, named
):
    assert_one_line(cli("run", *RANGE, *options), 2, "ml-assets run --help", *named)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("ML_ASSETS_TRIPS", "smaple", "use sample, tlc"),
        ("ML_ASSETS_TRIPS", "gopher://trips", "folder or URL that fsspec opens"),
        ("ML_ASSETS_TAXI", "purple", "use green or yellow"),
        ("ML_ASSETS_FIRST_MONTH", "January", "2023-01"),
        ("ML_ASSETS_HOME", __file__, "use a folder, not a file"),
        ("MLFLOW_TRACKING_URI", "./mlruns", "sqlite:///"),
    ],
)
@pytest.mark.parametrize("command", [("run", *RANGE, "--dry-run"), ("months",)], ids=lambda c: c[0])
def test_a_wrong_variable_is_one_line_and_status_2(cli, command, variable, value, allowed):
    assert_one_line(cli(*command, **{variable: value}), 2, variable, repr(value), allowed)


@pytest.mark.parametrize("command", [[], ["run"], ["months"], ["leaderboard"], ["dev"]])
def test_help_describes_the_command(cli, command):
    for option in ("--help", "-h"):
        answer = cli(*command, option)
        assert (answer.status, answer.err) == (0, "")
        assert answer.out.startswith(f"Usage: {' '.join(['ml-assets', *command])}")
        assert len(answer.out.splitlines()) > 4


def test_a_bare_command_shows_its_help_and_an_unknown_one_is_named(cli):
    bare = cli()
    assert bare.status == 2
    assert "leaderboard" in bare.out + bare.err
    assert_one_line(cli("train"), 2, "train")


def test_a_missing_leaderboard_names_the_way_to_it(cli):
    assert_one_line(cli("leaderboard"), 1, "model_leaderboard", "ml-assets run")
    assert_one_line(cli("leaderboard", "--json"), 1, "model_leaderboard")


def test_a_damaged_record_is_a_one_line_error(cli, tmp_path):
    record = tmp_path / "home" / "model_leaderboard" / "sample_green.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    assert_one_line(cli("leaderboard"), 1, str(record), "materialize model_leaderboard again")


def test_a_missing_folder_is_reported(cli, tmp_path):
    answer = cli("months", ML_ASSETS_TRIPS=f"memory://{tmp_path.name}/nothing")
    assert_one_line(answer, 2, "ML_ASSETS_TRIPS", "no such folder")


def test_a_dry_run_shows_the_plan_and_does_nothing(cli, published, tmp_path):
    options = ["run", "--first", "2023-01", "--last", "2023-06", "--dry-run", "--models",
               "linear_regression, lasso,linear_regression"]  # fmt: skip
    answer = cli(*options, ML_ASSETS_TRIPS=published)
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert lines[:5] + lines[-1:] == [
        f"from {published}: 2023-01 to 2023-02, 2023-04 to 2023-05",
        "not published: 2023-03, 2023-06",
        "train 2023-01 to 2023-02 · validation 2023-04 · test 2023-05",
        "models: linear_regression, lasso",
        "tuning trials per model: 5 · seed 42",
        f"stored in {tmp_path}/home; tracked at sqlite:///{tmp_path}/home/mlflow.db",
    ]
    machine = cli(*options, "--json", ML_ASSETS_TRIPS=published)
    assert json.loads(machine.out)["window"] == {
        "train": ["2023-01", "2023-02"],
        "validation": ["2023-04"],
        "test": ["2023-05"],
    }
    assert not (tmp_path / "home").exists()


def test_a_dry_run_says_what_the_training_will_take(cli, published):
    options = ["run", "--first", "2023-01", "--last", "2023-06", "--dry-run", "--models", "lasso"]
    shown = cli(*options, "--max-rows", "50000", ML_ASSETS_TRIPS=published).out
    assert "lasso: 50,000 of 195,000 trips, 0.1 GB" in shown
    assert re.search(r"training: about 1\.\d GB of memory of [\d.]+ GB available", shown)
    assert "trips of 2023-01 to 2023-02, 2023-04 to 2023-05 are estimated: not stored" in shown
    ahead = json.loads(cli(*options, "--max-rows", "all", "--json", ML_ASSETS_TRIPS=published).out)
    assert ahead["refused"] is None
    assert ahead["training"]["families"][0]["rows"] == 195_000


def test_a_training_that_does_not_fit_the_memory_is_refused_with_advice(
    cli, published, monkeypatch
):
    for module in ("plan", "execution"):
        monkeypatch.setattr(f"ml_assets.cli.{module}.available_memory", lambda: 900_000_000)
    command = ["run", *RANGE, "--models", "lasso,extra_trees", "--max-rows", "all"]
    advice = r"the training needs about \d\.\d GB .* 90% of the 0\.9 GB .*give it more memory"
    shown = cli(*command, "--dry-run", ML_ASSETS_TRIPS=published)
    assert re.search(f"would be refused: {advice}", shown.out)
    refused = cli(*command, ML_ASSETS_TRIPS=published)
    assert refused.status == 1
    said = " ".join(refused.err.split())
    assert said.count("the training needs about") == 2
    assert re.search(advice, said)
    # The first time before the months are fetched.
    assert said.index("warning: by its estimate, the training needs") < said.index("raw_trips")
    assert "lasso_model" not in refused.err


@pytest.mark.parametrize("rows", ["12", "many"])
def test_a_wrong_number_of_rows_is_named(cli, rows):
    answer = cli("run", *RANGE, "--max-rows", rows)
    assert_one_line(answer, 2, "--max-rows", rows, "a number of at least 1000")


def test_a_dry_run_includes_stored_months(cli, published, tmp_path):
    for number in (3, 6):
        put_month(store_at(tmp_path / "home"), Month(2023, number))
    answer = cli("run", "--first", "2023-01", "--last", "2023-04", "--exclude", "2023-01",
                 "--dry-run", ML_ASSETS_TRIPS=published)  # fmt: skip
    assert "stored already: 2023-03" in answer.out
    assert "train 2023-02 · validation 2023-03 · test 2023-04" in answer.out


def test_a_dry_run_fails_as_the_run_would_when_too_little_is_published(cli, published):
    answer = cli("run", "--first", "2023-01", "--last", "2023-05", "--train-months", "3",
                 "--dry-run", ML_ASSETS_TRIPS=published)  # fmt: skip
    assert_one_line(answer, 1, "missing: 2023-03", "fewer months")


def test_a_dry_run_shows_no_password(cli):
    answer = cli("run", *RANGE, "--dry-run", MLFLOW_TRACKING_URI="http://me:s3cret@server:5000")
    assert answer.status == 0
    assert "s3cret" not in answer.out + answer.err


def test_months_and_dev_show_no_password(cli):
    trips = "memory://me:s3cret@bucket"
    with fsspec.open(f"{trips}/green_tripdata_2023-01.parquet", "wb") as file:
        pq.write_table(published_month(Month(2023, 1)), file)
    for option in ((), ("--json",)):
        answer = cli("months", *option, ML_ASSETS_TRIPS=trips)
        assert answer.status == 0, answer.err
        assert "bucket" in answer.out
        assert "s3cret" not in answer.out + answer.err
    shown = announcement(read_settings({"ML_ASSETS_TRIPS": trips, "ML_ASSETS_HOME": trips}))
    assert "bucket" in shown
    assert "s3cret" not in shown


def test_months_shows_what_is_published_and_what_is_stored(cli, published, tmp_path):
    store = store_at(tmp_path / "home")
    for number in (1, 2):
        put_month(store, Month(2023, number))
    (tmp_path / "home" / "trip_features" / "green" / "2023-02.parquet").write_bytes(b"")
    answer = cli("months", "--json", ML_ASSETS_TRIPS=published)
    assert answer.status == 0
    shown = {row["month"]: row for row in json.loads(answer.out)["months"]}
    assert (shown["2023-01"]["published"], shown["2023-01"]["kept_trips"]) == (True, 180)
    assert (shown["2023-03"]["published"], shown["2023-03"]["ingested"]) == (False, False)
    assert "materialize trip_features of 2023-02 again" in shown["2023-02"]["fault"]
    table = cli("months", ML_ASSETS_TRIPS=published)
    assert table.status == 0
    assert "damaged" in table.out
    assert "Not published yet: 2023-06 to " in table.out
    assert "2023-06" not in table.out.partition("Not published yet")[0]


def test_months_shows_which_month_is_rejected_and_why(cli, published, tmp_path):
    store = store_at(tmp_path / "home")
    for number, rows in ((1, 200), (2, 200), (3, 200), (4, 5)):
        put_month(store, Month(2023, number), rows)
    table = cli("months", ML_ASSETS_TRIPS=published)
    assert "rejected" in table.out
    assert "2023-04 is rejected and not used for training: " in table.out
    shown = json.loads(cli("months", "--json", ML_ASSETS_TRIPS=published).out)["months"]
    assert [row["month"] for row in shown if "refused" in row] == ["2023-04"]


def test_a_port_in_use_is_reported_before_anything_starts(cli):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_one_line(cli("dev", "--port", str(port)), 2, f"--port {port}", "choose another")
    assert_one_line(cli("dev", "--port", "99999"), 2, "--port", "99999")


@pytest.mark.parametrize("option", ["--dry-run", "--models=lasso"])
def test_a_source_without_any_of_the_months_is_reported(cli, published, option):
    months = ("--first", "2023-01", "--last", "2023-04")
    answer = cli("run", *months, option, ML_ASSETS_TRIPS=published, ML_ASSETS_TAXI="yellow")
    assert answer.status == 1
    message = answer.err.splitlines()[-1]
    assert f"{published} has no yellow_tripdata_YYYY-MM.parquet of 2023-01 to 2023-04" in message
    assert "ML_ASSETS_TAXI (yellow)" in message


def test_a_misspelt_command_is_reported_with_a_suggestion(monkeypatch, capsys):
    answer = call(monkeypatch, capsys, ["reproduc"], {})
    assert answer.status == 2
    assert "No such command 'reproduc'. Did you mean 'reproduce'?" in answer.err
