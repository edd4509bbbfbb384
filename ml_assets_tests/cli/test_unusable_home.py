"""Errors of a home, its databases or its disk are one line with the cause and the way out."""

import ctypes
import os
import resource
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from ml_assets.config.settings import EXPERIMENT
from ml_assets.registry import NothingTracked, TrackingUnavailable
from ml_assets.registry.mlflow_store import TrackingStore
from ml_assets.storage import error_messages
from ml_assets_tests.cli.calling import call, call_in_fork
from ml_assets_tests.project import lay_tables_of_mlflow, settings_for


@pytest.fixture
def home(tmp_path, capsys) -> Path:
    """A home with MLflow's tables, all empty."""
    lay_tables_of_mlflow(settings_for(tmp_path))
    capsys.readouterr()  # MLflow's messages about creating them
    return tmp_path


@pytest.fixture
def store(home) -> TrackingStore:
    return TrackingStore(f"sqlite:///{home}/mlflow.db", EXPERIMENT, f"{home}/mlartifacts", home)


@pytest.fixture
def requests(tmp_path) -> Path:
    file = tmp_path / "requests.csv"
    file.write_text("PULocationID,DOLocationID,trip_distance\n74,75,2.5\n")
    return file


def sql(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def assert_one_line(answer, *parts):
    assert answer.status == 1, answer.err
    assert answer.out == ""
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.startswith("error: ")
    for text in parts:
        assert text in answer.err


def test_a_deleted_experiment_names_the_command_that_restores_it(store):
    number = store.client().get_experiment_by_name(EXPERIMENT).experiment_id
    mlflow.MlflowClient(store.uri).delete_experiment(number)
    with pytest.raises(TrackingUnavailable) as caught:
        store.client()
    message = str(caught.value)
    assert f"experiment {EXPERIMENT} is deleted: restore it" in message
    assert f"`mlflow experiments restore --experiment-id {number}`" in message
    store.reader()  # reading the registry needs no experiment


def test_reading_commands_create_nothing(monkeypatch, capsys, tmp_path, requests):
    empty = tmp_path / "empty"
    out = tmp_path / "minutes.csv"
    for arguments in (["predict", str(requests), "--out", str(out)], ["reproduce"], ["rollback"]):
        answer = call(monkeypatch, capsys, arguments, {"ML_ASSETS_HOME": empty})
        assert_one_line(answer, "there is no champion yet", "`ml-assets run`")
    assert not empty.exists()


def test_a_reader_creates_no_experiment(store):
    client = store.reader()
    assert client.get_experiment_by_name(EXPERIMENT) is None
    shutil.rmtree(store.lock_folder)
    with pytest.raises(NothingTracked, match="does not exist"):
        store.reader()


def test_the_schema_of_a_newer_mlflow_is_reported(monkeypatch, capsys, home, requests):
    sql(home / "mlflow.db", "UPDATE alembic_version SET version_num = 'from_the_future'")
    for arguments in (["predict", str(requests), "--out", str(home / "x.csv")], ["reproduce"]):
        answer = call(monkeypatch, capsys, arguments, {"ML_ASSETS_HOME": home})
        assert_one_line(answer, "from_the_future", "install that version")


@pytest.mark.parametrize("open_store", [TrackingStore.client, TrackingStore.reader])
def test_a_damaged_mlflow_database_is_reported(store, open_store):
    (store.lock_folder / "mlflow.db").write_bytes(b"no database " * 1000)
    with pytest.raises(TrackingUnavailable) as caught:
        open_store(store)
    message = str(caught.value)
    assert message.startswith(f"{store.lock_folder}/mlflow.db is damaged (file is not a database)")
    assert "restore it from a backup" in message
    assert "start that server" not in message


def test_a_locked_database_is_waited_for_and_then_reported(monkeypatch, store):
    monkeypatch.setattr(error_messages, "BUSY_SECONDS", 0.2)
    file = store.lock_folder / "mlflow.db"
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TrackingUnavailable, match=r"mlflow.db is locked by another process"):
        store.client()
    monkeypatch.setattr(error_messages, "BUSY_SECONDS", 20.0)
    released = threading.Timer(0.5, connection.execute, ["ROLLBACK"])
    released.start()
    assert store.client().get_experiment_by_name(EXPERIMENT) is not None
    connection.close()


@pytest.mark.parametrize("database", ["history/runs.db", "history/runs/index.db"])
def test_a_damaged_dagster_database_is_reported(monkeypatch, capsys, home, database):
    file = home / "dagster" / database
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database " * 1000)
    for arguments in (["backtest"], ["runs"]):
        answer = call(monkeypatch, capsys, arguments, {"ML_ASSETS_HOME": home})
        assert_one_line(answer, f"{file} is damaged", "start with an empty one")


def test_a_locked_dagster_database_is_reported(monkeypatch, capsys, home):
    monkeypatch.setattr(error_messages, "BUSY_SECONDS", 0.2)
    file = home / "dagster" / "history" / "runs.db"
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("CREATE TABLE runs (id INTEGER)")
        connection.execute("BEGIN EXCLUSIVE")
        answer = call(monkeypatch, capsys, ["backtest"], {"ML_ASSETS_HOME": home})
    assert_one_line(answer, f"{file} is locked by another process", "stop it")


def test_a_full_disk_is_reported(home):
    """A limit on the size of files simulates a full disk."""
    room = (home / "mlflow.db").stat().st_size + 4096

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room // 8, room // 8))

    answer = call_in_fork(["backtest"], {"ML_ASSETS_HOME": home}, limit)
    assert answer.status == 1
    assert "Traceback" not in answer.err
    line = answer.err.splitlines()[-1]
    assert line.startswith(f"error: {home}"), answer.err
    assert "disk" in line
    assert "free space there, or set ML_ASSETS_HOME to another disk" in line


def test_an_unwritable_home_is_reported(home):
    home.chmod(0o555)
    try:
        answer = call_in_fork(["backtest"], {"ML_ASSETS_HOME": home}, without_privileges)
        assert_one_line(answer, str(home), "set ML_ASSETS_HOME to")
    finally:
        home.chmod(0o755)


def test_an_unreadable_database_is_not_reported_as_read_only(home, requests):
    database = home / "mlflow.db"
    before = database.stat().st_mode
    database.chmod(0)
    try:
        arguments = ["predict", str(requests), "--out", str(home / "answers.csv")]
        answer = call_in_fork(arguments, {"ML_ASSETS_HOME": home}, without_privileges)
        assert_one_line(answer, f"error: {database} cannot be read (no permission)")
    finally:
        database.chmod(before)


def without_privileges() -> None:
    """Give up root's right to read and write everywhere."""
    if os.getuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
        sets = (ctypes.c_uint32 * 6)()
        assert libc.capget(header, sets) == 0
        for effective_or_permitted in (0, 1):
            sets[effective_or_permitted] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
        assert libc.capset(header, sets) == 0
