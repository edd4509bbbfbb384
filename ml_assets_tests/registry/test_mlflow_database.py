"""The SQLite database behind MLflow: interrupted, migrated, moved."""

import resource
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import create_engine

from ml_assets.config.sqlite_url import sqlite_url
from ml_assets.registry import TrackingUnavailable, artifact_location
from ml_assets.registry.mlflow_store import TrackingStore
from ml_assets_tests.interrupting import count_statements, in_a_process, interrupted
from ml_assets_tests.project import lay_tables_of_mlflow, settings_for

EXPERIMENT = "taxi-trip-duration"
INTERRUPTIONS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def store_in(home: Path) -> TrackingStore:
    database = sqlite_url(home / "mlflow.db")
    return TrackingStore(database, EXPERIMENT, artifact_location(str(home), home), home)


def create_in_place(database: Path) -> None:
    """What MLflow does by itself with a database that is not there."""
    SqlAlchemyStore(sqlite_url(database), str(database.parent / "mlartifacts"))


def rows(database: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def names(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir())


def test_a_first_start_may_be_interrupted_at_any_moment(tmp_path):
    # How many there are depends on what SQLAlchemy has looked up in this process before.
    statements = count_statements(lambda: store_in(tmp_path / "whole").client())
    home = tmp_path / "home"
    for moment in range(15):
        by, statement = INTERRUPTIONS[moment % 3], 1 + moment * statements // 15
        status = interrupted(lambda: store_in(home).client(), statement, by)
        assert status == (130 if by is signal.SIGINT else -by)
        assert not (home / "mlflow.db").exists()
    client = store_in(home).client()
    assert client.get_experiment_by_name(EXPERIMENT) is not None
    assert names(home) == [".mlflow_migration.lock", "mlflow.db"]


@pytest.mark.parametrize("kilobytes", [8, 200, 600])
def test_a_first_start_on_a_full_disk_leaves_nothing_that_stops_the_next(tmp_path, kilobytes):
    def on_a_full_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))
        with pytest.raises(TrackingUnavailable):
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
    (message,) = [
        record.getMessage() for record in caplog.records if record.name.startswith("ml_assets")
    ]
    assert "first start that was interrupted" in message
    assert "\n" not in message
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
    with pytest.raises(TrackingUnavailable, match="cannot be migrated .*already exists") as error:
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
        with pytest.raises(TrackingUnavailable, match="full|disk I/O"):
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
    with pytest.raises(TrackingUnavailable, match="created by a newer MLflow .schema fedcba987654"):
        store_in(tmp_path).client()
    assert database.read_bytes() == before


def tracked_in(home: Path) -> tuple[str, str]:
    """A run, a model and a registered version in a home; returns the ids of run and model.

    Made by another process, since MLflow remembers where a run's artifacts are.
    """
    lay_tables_of_mlflow(settings_for(home))
    assert in_a_process(lambda: _track_in(home)) == 0
    ((run, model),) = rows(home / "mlflow.db", "SELECT run_uuid, model_id FROM runs, logged_models")
    return run, model


def _track_in(home: Path) -> None:
    client = store_in(home).client()
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    run = client.create_run(experiment).info.run_id
    client.log_text(run, "of the run", "run.txt")
    model = client.create_logged_model(experiment, name="pipeline", source_run_id=run)
    (home / "MLmodel").write_text("of the model")
    client.log_model_artifact(model.model_id, str(home / "MLmodel"))
    client.create_registered_model("taxi")
    client.create_model_version("taxi", f"models:/{model.model_id}", run, model_id=model.model_id)


def locations(home: Path) -> set[str]:
    queries = (
        "SELECT artifact_location FROM experiments",
        "SELECT artifact_uri FROM runs",
        "SELECT artifact_location FROM logged_models",
        "SELECT storage_location FROM model_versions",
    )
    return {found for query in queries for (found,) in rows(home / "mlflow.db", query)}


def text_of(home: Path, uri: str, name: str = "") -> str:
    store_in(home).client()
    return (Path(mlflow.artifacts.download_artifacts(uri)) / name).read_text()


@pytest.mark.parametrize("name", ["moved", "a%41b", "what? #1 & so on"])
def test_a_moved_home_works_and_is_said_to_have_moved(tmp_path, caplog, name):
    old, new = tmp_path / "old", tmp_path / name
    run, model = tracked_in(old)
    old.rename(new)
    caplog.clear()
    client = store_in(new).client()
    (message,) = [each.getMessage() for each in caplog.records if each.name.startswith("ml_assets")]
    assert "was moved or copied" in message
    assert str(new / "mlartifacts") in message
    assert text_of(new, f"runs:/{run}/run.txt") == "of the run"
    assert text_of(new, f"models:/{model}", "MLmodel") == "of the model"
    assert text_of(new, "models:/taxi/1", "MLmodel") == "of the model"
    client.log_text(run, "later", "later.txt")
    another = client.create_run(client.get_experiment_by_name(EXPERIMENT).experiment_id)
    client.log_text(another.info.run_id, "another", "another.txt")
    assert not any(str(old) in location for location in locations(new))
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    caplog.clear()
    store_in(new).client()
    assert not caplog.records


def test_a_copied_home_writes_nothing_into_the_original(tmp_path):
    original, copy = tmp_path / "original", tmp_path / "copy"
    run, _ = tracked_in(original)
    before = {path: path.read_bytes() for path in original.rglob("*") if path.is_file()}
    shutil.copytree(original, copy)
    client = store_in(copy).client()
    client.log_text(run, "of the copy", "copy.txt")
    another = client.create_run(client.get_experiment_by_name(EXPERIMENT).experiment_id)
    client.log_text(another.info.run_id, "another", "another.txt")
    assert {path: path.read_bytes() for path in original.rglob("*") if path.is_file()} == before
    assert text_of(original, f"runs:/{run}/run.txt") == "of the run"
    assert not any(str(original) in location for location in locations(copy))


def test_a_database_that_homes_share_keeps_its_locations_until_the_home_has_moved(tmp_path):
    database = sqlite_url(tmp_path / "shared.db")

    def shared(home: Path) -> TrackingStore:
        return TrackingStore(database, EXPERIMENT, str(home / "mlartifacts"), home)

    first, second, moved = tmp_path / "first", tmp_path / "second", tmp_path / "moved"
    client = shared(first).client()
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    model = client.create_logged_model(experiment, name="pipeline")
    first.mkdir(exist_ok=True)
    (first / "MLmodel").write_text("of the model")
    client.log_model_artifact(model.model_id, str(first / "MLmodel"))
    (second / "mlartifacts").mkdir(parents=True)
    shared(second).client()
    assert client.get_experiment(experiment).artifact_location == f"{first}/mlartifacts"
    first.rename(moved)
    shared(second).client()
    assert client.get_experiment(experiment).artifact_location == f"{first}/mlartifacts"
    shared(moved).client()
    assert client.get_experiment(experiment).artifact_location == f"{moved}/mlartifacts"
