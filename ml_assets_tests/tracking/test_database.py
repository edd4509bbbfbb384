"""The SQLite database behind MLflow: interrupted, migrated, moved."""

import resource
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import create_engine

from ml_assets.sqlite_url import sqlite_url
from ml_assets.tracking.store import TrackingStore, TrackingUnreachable
from ml_assets_tests.interrupting import in_a_process, interrupted

EXPERIMENT = "taxi-trip-duration"
STATEMENTS = 1700
"""Roughly what MLflow 3.17 executes to create its tables, look-ups of SQLAlchemy included."""
INTERRUPTIONS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def store_in(home: Path) -> TrackingStore:
    database = sqlite_url(home / "mlflow.db")
    return TrackingStore(database, EXPERIMENT, str(home / "mlartifacts"), home)


def create_in_place(database: Path) -> None:
    """What MLflow does by itself with a database that is not there."""
    SqlAlchemyStore(sqlite_url(database), str(database.parent / "mlartifacts"))


def rows(database: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def names(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir())


def test_a_first_start_may_be_interrupted_at_any_moment(tmp_path):
    for moment in range(15):
        by, statement = INTERRUPTIONS[moment % 3], 1 + moment * STATEMENTS // 15
        status = interrupted(lambda: store_in(tmp_path).client(), statement, by)
        assert status == (130 if by is signal.SIGINT else -by)
        assert not (tmp_path / "mlflow.db").exists()
    client = store_in(tmp_path).client()
    assert client.get_experiment_by_name(EXPERIMENT) is not None
    assert names(tmp_path) == [".mlflow_migration.lock", "mlflow.db"]


@pytest.mark.parametrize("kilobytes", [8, 200, 600])
def test_a_first_start_on_a_full_disk_leaves_nothing_that_stops_the_next(tmp_path, kilobytes):
    def on_a_full_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))
        with pytest.raises(TrackingUnreachable):
            store_in(tmp_path).client()

    assert in_a_process(on_a_full_disk) == 0
    assert names(tmp_path) == [".mlflow_migration.lock"]
    store_in(tmp_path).client()


@pytest.mark.parametrize("statement", [40, 900, 1500])
def test_what_an_interrupted_first_start_of_an_earlier_version_left_is_made_again(
    tmp_path, caplog, statement
):
    database = tmp_path / "mlflow.db"
    assert interrupted(lambda: create_in_place(database), statement, signal.SIGKILL) == -9
    unfinished = rows(database, "SELECT name FROM sqlite_master")
    assert unfinished
    client = store_in(tmp_path).client()
    assert client.get_experiment_by_name(EXPERIMENT) is not None
    (told,) = [
        record.getMessage() for record in caplog.records if record.name.startswith("ml_assets")
    ]
    assert "first start that was interrupted" in told
    assert "\n" not in told
    assert rows(tmp_path / "mlflow.db.unfinished", "SELECT name FROM sqlite_master") == unfinished


def of_an_earlier_mlflow(database: Path) -> str:
    """A database with an older schema and an experiment in it; returns the schema's revision."""
    import mlflow.store.db_migrations
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from mlflow.store.tracking.dbmodels.initial_models import Base

    scripts = mlflow.store.db_migrations.__path__[0]
    older = [each.revision for each in ScriptDirectory(scripts).walk_revisions()][3]
    engine = create_engine(sqlite_url(database))
    Base.metadata.create_all(engine)
    config = Config()
    config.set_main_option("script_location", scripts)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, older)
        connection.exec_driver_sql(
            "INSERT INTO experiments (name, lifecycle_stage, artifact_location) "
            "VALUES ('mine', 'active', 'somewhere')"
        )
    engine.dispose()
    return older


def test_a_schema_that_cannot_be_migrated_is_left_alone_and_named(tmp_path):
    from mlflow.store.db.base_sql_model import Base

    database = tmp_path / "mlflow.db"
    of_an_earlier_mlflow(database)
    there = {name for (name,) in rows(database, "SELECT name FROM sqlite_master")}
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in {*Base.metadata.tables} - there:  # an upgrade in place was interrupted
            connection.execute(f"CREATE TABLE {table} (id INTEGER)")
    before = database.read_bytes()
    with pytest.raises(TrackingUnreachable, match="cannot be migrated .*already exists") as error:
        store_in(tmp_path).client()
    assert "\n" not in str(error.value)
    assert str(database) in str(error.value)
    assert database.read_bytes() == before
    assert names(tmp_path) == [".mlflow_migration.lock", "mlflow.db"]


def test_an_older_schema_is_migrated_as_a_copy_whenever_that_is_interrupted(tmp_path, caplog):
    database = tmp_path / "mlflow.db"
    older = of_an_earlier_mlflow(database)
    before = database.read_bytes()
    for statement in (3, 10, 20):
        assert interrupted(lambda: store_in(tmp_path).client(), statement, signal.SIGKILL) == -9
        assert database.read_bytes() == before
    client = store_in(tmp_path).client()
    assert {each.name for each in client.search_experiments()} >= {"mine", EXPERIMENT}
    kept = tmp_path / f"mlflow.db.schema-{older}"
    assert rows(kept, "SELECT version_num FROM alembic_version") == [(older,)]
    assert rows(database, "SELECT version_num FROM alembic_version") != [(older,)]
    assert not [name for name in names(tmp_path) if name.endswith((".tmp", "-journal"))]
    assert f"migrated from MLflow's schema {older}" in caplog.text


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path):
    database = tmp_path / "mlflow.db"
    of_an_earlier_mlflow(database)
    before = database.read_bytes()
    room = len(before) + 4096

    def on_a_full_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        with pytest.raises(TrackingUnreachable, match="full|disk I/O"):
            store_in(tmp_path).client()

    assert in_a_process(on_a_full_disk) == 0
    assert database.read_bytes() == before
    assert names(tmp_path) == [".mlflow_migration.lock", "mlflow.db"]


def test_a_database_of_a_newer_mlflow_is_named_and_not_touched(tmp_path):
    database = tmp_path / "mlflow.db"
    create_in_place(database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
    before = database.read_bytes()
    with pytest.raises(TrackingUnreachable, match="made by a newer MLflow .schema fedcba987654"):
        store_in(tmp_path).client()
    assert database.read_bytes() == before
