"""Settings: a wrong value is one line that names the variable, the value and what is allowed."""

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from ml_assets.config.environment import SettingsError
from ml_assets.config.settings import (
    PROJECT_FOLDER,
    make_paths_absolute,
    read_settings,
)
from ml_assets.config.sqlite_url import sqlite_path
from ml_assets.secrets import without_credentials
from ml_assets.trips.month import Month, latest_published_month, new_york_date

NEWEST = latest_published_month(new_york_date())


def test_an_empty_environment_is_the_offline_sample_in_the_checkout():
    for environment in ({}, dict.fromkeys(("ML_ASSETS_TRIPS", "ML_ASSETS_HOME"), "")):
        settings = read_settings(environment)
        assert (settings.trips, settings.taxi) == ("sample", "green")
        assert settings.synthetic
        assert settings.home == str(PROJECT_FOLDER / ".ml_assets")
        assert settings.first_month == Month(2023, 1)
        assert settings.tracking_uri == f"sqlite:///{PROJECT_FOLDER}/.ml_assets/mlflow.db"


def test_everything_lives_below_the_home(tmp_path):
    settings = read_settings({"ML_ASSETS_HOME": str(tmp_path / "home")})
    assert settings.home == str(tmp_path / "home")
    assert settings.local_home == tmp_path / "home"
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/home/mlflow.db"


def test_paths_are_absolute_wherever_the_command_is_called_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_settings({"ML_ASSETS_HOME": "home"}).home == str(tmp_path / "home")
    assert read_settings({"ML_ASSETS_HOME": "~/home"}).home == str(tmp_path / "home")
    assert read_settings({"ML_ASSETS_TRIPS": "."}).trips == str(tmp_path)
    assert read_settings({"ML_ASSETS_TRIPS": "~"}).trips == str(tmp_path)


@pytest.mark.parametrize("scheme", ["file://", "local://"])
def test_a_file_url_is_a_folder_of_this_machine(tmp_path, scheme):
    settings = read_settings({"ML_ASSETS_HOME": f"{scheme}{tmp_path}/home/"})
    assert settings.home_is_local
    assert settings.home == str(tmp_path / "home")
    assert settings.local_home == tmp_path / "home"


def test_a_remote_home_keeps_databases_on_this_machine_in_a_folder_of_its_own():
    settings = read_settings({"ML_ASSETS_HOME": "memory://bucket/home/"})
    assert not settings.home_is_local
    assert settings.home == "memory://bucket/home"
    assert settings.local_home.parent == PROJECT_FOLDER / ".ml_assets"
    assert settings.local_home.name.startswith("memory-bucket-home-")
    assert settings.tracking_uri == f"sqlite:///{settings.local_home}/mlflow.db"


def test_no_two_homes_share_a_local_folder():
    homes = ["s3://a/b-c", "s3://a/b/c", "s3://A/b/c", "gs://a/b/c", "sftp://me@a/b", "sftp://a/b"]
    folders = {read_settings({"ML_ASSETS_HOME": home}).local_home for home in homes}
    assert len(folders) == len(homes)


def test_a_new_password_keeps_the_local_folder_and_is_not_in_its_name():
    folders = {
        read_settings({"ML_ASSETS_HOME": f"sftp://me:{password}@host/home"}).local_home
        for password in ("s3cret", "0ther")
    }
    assert len(folders) == 1
    assert "s3cret" not in str(folders)


def test_spaces_around_a_value_do_not_matter(tmp_path):
    settings = read_settings(
        {"ML_ASSETS_TRIPS": " tlc ", "ML_ASSETS_TAXI": "yellow\n", "ML_ASSETS_HOME": f" {tmp_path}"}
    )
    assert (settings.trips, settings.taxi, settings.home) == ("tlc", "yellow", str(tmp_path))


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("ML_ASSETS_TRIPS", "smaple", "use sample, tlc, a folder that exists, or a URL"),
        ("ML_ASSETS_TRIPS", "/nowhere/at/all", "a folder that exists"),
        ("ML_ASSETS_TRIPS", __file__, "a folder that exists"),
        ("ML_ASSETS_TRIPS", "://trips", "a URL"),
        ("ML_ASSETS_TRIPS", "S3 ://trips", "a URL"),
        ("ML_ASSETS_TAXI", "Green", "use green or yellow"),
        ("ML_ASSETS_TAXI", "fhv", "use green or yellow"),
        ("ML_ASSETS_HOME", __file__, "use a folder, not a file"),
        ("ML_ASSETS_HOME", f"{__file__}/home", "use a folder"),
        ("ML_ASSETS_HOME", "s4://bucket", "an fsspec URL"),
        ("ML_ASSETS_HOME", "https://example.org/home", "an fsspec URL that can be written"),
        ("ML_ASSETS_FIRST_MONTH", "2023", "written YYYY-MM, for example 2023-01"),
        ("ML_ASSETS_FIRST_MONTH", "2023-13", "written YYYY-MM"),
        ("ML_ASSETS_FIRST_MONTH", "2008-12", "from 2009-01"),
        ("ML_ASSETS_FIRST_MONTH", "2098-01", "from 2009-01"),
        (
            "ML_ASSETS_FIRST_MONTH",
            str(NEWEST.shift(1)),
            f"to {NEWEST}, the newest that can be published",
        ),
        ("MLFLOW_TRACKING_URI", "./mlruns", "sqlite:///"),
        ("MLFLOW_TRACKING_URI", "file:///mlruns", "sqlite:///"),
        ("MLFLOW_TRACKING_URI", "sqlitefoo", "sqlite:///"),
        ("MLFLOW_TRACKING_URI", "sqlite:mlflow.db", "sqlite:///"),
        ("MLFLOW_TRACKING_URI", "httpx://server", "http(s)://"),
        ("ML_ASSETS_ALLOWED_HOSTS", "http://rides.example", "names of hosts separated by commas"),
        ("ML_ASSETS_ALLOWED_HOSTS", "a.example, b.example:80", "without scheme and port"),
        ("ML_ASSETS_ALLOWED_HOSTS", "*", "for example rides.example.com"),
        ("ML_ASSETS_MAX_MONTH_ROWS", "0", "a whole number of rows from 1 to 2,147,483,647"),
        ("ML_ASSETS_MAX_MONTH_ROWS", "1e6", "a whole number of rows"),
        ("ML_ASSETS_MAX_MONTH_ROWS", "99999999999", "a whole number of rows"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_variable_the_value_and_what_is_allowed(
    variable, value, allowed
):
    with pytest.raises(SettingsError) as error:
        read_settings({variable: value})
    line = str(error.value)
    assert line.startswith(f"{variable}={value!r} is not allowed: ")
    assert allowed in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ML_ASSETS_TRIPS", "https://trips.example.org/data"),
        ("ML_ASSETS_TRIPS", "simplecache::s3://bucket/trips"),
        ("ML_ASSETS_TAXI", "yellow"),
        ("ML_ASSETS_FIRST_MONTH", str(NEWEST)),
        ("ML_ASSETS_FIRST_MONTH", "2009-01"),
        ("MLFLOW_TRACKING_URI", "sqlite:////tmp/mlflow.db"),
        ("MLFLOW_TRACKING_URI", "postgresql+psycopg2://user@server/mlflow"),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000"),
        ("MLFLOW_TRACKING_URI", "databricks"),
    ],
)
def test_what_is_allowed_is_taken(variable, value):
    read_settings({variable: value})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MLFLOW_TRACKING_URI", "postgres://mlflow:s3cret@server/mlflow"),
        ("ML_ASSETS_HOME", "s4://key:s3cret@bucket"),
        ("ML_ASSETS_TRIPS", "S3://key:s3cret@bucket?signature=s3cret"),
    ],
)
def test_a_password_in_a_wrong_value_is_not_shown(variable, value):
    with pytest.raises(SettingsError) as error:
        read_settings({variable: value})
    assert "s3cret" not in str(error.value)
    assert variable in str(error.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sample", "sample"),
        ("/data/me:s3cret@host", "/data/me:s3cret@host"),
        ("https://host:8000/trips", "https://host:8000/trips"),
        ("https://host:8000/a@b/c", "https://host:8000/a@b/c"),
        ("s3://bucket/path@2", "s3://bucket/path@2"),
        ("postgresql://user@server/mlflow", "postgresql://***@server/mlflow"),
        ("https://me:s3cret@host/a?b=c", "https://***@host/a"),
        ("https://host/file?signature=s3cret", "https://host/file"),
        ("postgresql://me:s3cret@s3cret@server/db", "postgresql://***@server/db"),
        ("postgresql://me:s3cret/s3cret@server/db", "postgresql://***@server/db"),
        ("postgresql://me:s3cret?s3cret@server/db", "postgresql://***@server/db"),
        ("postgresql://me:s3cret#s3cret@server/db", "postgresql://***@server/db"),
        ("simplecache::s3://key:s3cret@bucket/x", "simplecache::s3://***@bucket/x"),
        ("zip://a.csv::https://me:s3cret@host/x", "zip://a.csv::https://***@host/x"),
        ("https://:s3cret@host/", "https://***@host/"),
    ],
)
def test_a_url_is_shown_without_what_opens_it(url, shown):
    assert without_credentials(url) == shown


def test_a_password_is_not_shown_where_settings_are_described():
    settings = read_settings({"MLFLOW_TRACKING_URI": "postgresql://mlflow:s3cret@server/mlflow"})
    assert settings.shown_tracking_uri == "postgresql://***@server/mlflow"
    assert "s3cret" not in repr(settings)


def test_schedules_have_a_default_and_are_switched_off_one_by_one():
    defaults = read_settings(
        {"ML_ASSETS_INGEST_CRON": "", "ML_ASSETS_MONITOR_CRON": " 5  4 * * * "}
    )
    assert (defaults.ingest_cron, defaults.monitor_cron) == ("0 6 5 * *", "5 4 * * *")
    some = read_settings({"ML_ASSETS_INGEST_CRON": "off", "ML_ASSETS_RETRAIN_CRON": "off"})
    assert (some.ingest_cron, some.monitor_cron, some.retrain_cron) == (None, "0 8 5 * *", None)


def test_the_project_folder_is_the_checkout():
    assert (PROJECT_FOLDER / "ml_assets" / "config" / "settings.py").is_file()
    assert Path(__file__).is_relative_to(PROJECT_FOLDER)


def test_the_rows_of_a_month_are_those_of_the_taxi_unless_they_are_set():
    assert read_settings({}).max_month_rows is None
    for value in ("5000000", "5_000_000", "5,000,000"):
        assert read_settings({"ML_ASSETS_MAX_MONTH_ROWS": value}).max_month_rows == 5_000_000


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sqlite:///mlflow.db", "sqlite:///{here}/mlflow.db"),
        ("sqlite:///below/mlflow.db?timeout=3", "sqlite:///{here}/below/mlflow.db?timeout=3"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("sqlite:////a%3Fb/c.db", "sqlite+pysqlite:////a%3Fb/c.db"),
        ("postgresql://server/mlflow", "postgresql://server/mlflow"),
    ],
)
def test_a_database_is_the_same_in_every_working_directory(tmp_path, monkeypatch, given, meant):
    monkeypatch.chdir(tmp_path)
    expected = meant.format(here=tmp_path)
    settings = read_settings({"MLFLOW_TRACKING_URI": given})
    assert settings.tracking_uri == expected
    environment = {"MLFLOW_TRACKING_URI": given}
    make_paths_absolute(environment)
    monkeypatch.chdir("/")
    assert read_settings(environment).tracking_uri == expected


@pytest.mark.parametrize("name", ["a%41b", "what?", "no #1", "with a space", "müller@here"])
def test_the_database_lies_in_the_home_whatever_that_is_called(tmp_path, name):
    home = tmp_path / name
    settings = read_settings({"ML_ASSETS_HOME": str(home)})
    assert make_url(settings.tracking_uri).database == str(home / "mlflow.db")
    assert sqlite_path(settings.tracking_uri) == home / "mlflow.db"


def test_every_path_in_a_variable_is_made_absolute_where_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("trips", "other"):
        (tmp_path / folder).mkdir()
    (tmp_path / "months.zip").touch()
    environment = {
        "ML_ASSETS_HOME": "home",
        "DAGSTER_HOME": "./dagster",
        "ML_ASSETS_TRIPS": "trips",
        "ML_ASSETS_SMTP_CA_FILE": "months.zip",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": "nowhere.pem",
    }
    make_paths_absolute(environment)
    assert environment == {
        "ML_ASSETS_HOME": f"{tmp_path}/home",
        "DAGSTER_HOME": f"{tmp_path}/dagster",
        "ML_ASSETS_TRIPS": f"{tmp_path}/trips",
        "ML_ASSETS_SMTP_CA_FILE": f"{tmp_path}/months.zip",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": "nowhere.pem",
    }
    for given, meant in {
        "file://trips": f"file://{tmp_path}/trips",
        "zip://*::months.zip": f"zip://*::{tmp_path}/months.zip",
        "simplecache::file://trips": f"simplecache::file://{tmp_path}/trips",
        "http://[::1]:8000/trips": "http://[::1]:8000/trips",
        "s3://bucket/trips": "s3://bucket/trips",
    }.items():
        environment = {"ML_ASSETS_TRIPS": given}
        assert read_settings(environment).trips == meant
        make_paths_absolute(environment)
        assert environment == {"ML_ASSETS_TRIPS": meant}


def test_sqlite_s_other_way_to_write_a_path_is_refused():
    with pytest.raises(SettingsError, match="write the path itself"):
        read_settings({"MLFLOW_TRACKING_URI": "sqlite:///file:mlflow.db?uri=true"})
