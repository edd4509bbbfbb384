"""Leftovers of killed processes are removed by the next one; files in use are kept."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from ml_assets.storage import leftovers
from ml_assets.storage.leftovers import PROCESS_FOLDER, clean_home, process_folder
from ml_assets.storage.sqlite import new_database, tables
from ml_assets_tests.conftest import REPOSITORY, inherited_environment

WRITER = """
import sys, tempfile, time
from pathlib import Path
from ml_assets.storage.atomic import atomic_write
from ml_assets.storage.leftovers import process_folder
from ml_assets.storage.trip_store import TripStore

home = sys.argv[1]
with (
    process_folder(),
    atomic_write(f"{home}/decisions/green/one.json") as temporary,
    TripStore(home, "green", synthetic=False).staging_dir() as folder,
):
    temporary.write_text("half")
    (folder / "half.parquet").write_text("half")
    Path(tempfile.mkdtemp(), "model").write_text("half")
    print("ready", flush=True)
    time.sleep(600)
"""


@contextmanager
def writing(home, temporary):
    """A process in the middle of writing to a home."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home)],
        cwd=REPOSITORY,
        env={**inherited_environment(), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def found(home, temporary):
    """All temporary files and folders, by the first characters of their names."""
    below = [*home.rglob(".*.tmp"), *home.glob(".incoming_*"), *temporary.iterdir()]
    return sorted(path.name[:9] for path in below)


def test_the_next_process_removes_the_leftovers_of_a_killed_one_and_nothing_in_use(
    tmp_path, monkeypatch
):
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(leftovers, "MIN_AGE_SECONDS", 0.0)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    everything = [".incoming", ".one.json", PROCESS_FOLDER[:9]]

    def cleaned():
        with process_folder():
            clean_home(home)
        return found(home, temporary)

    with writing(home, temporary) as process:
        assert cleaned() == everything  # it is alive
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert found(home, temporary) == everything
        assert cleaned() == []
    assert not (home / "decisions" / "green" / "one.json").exists()


def test_a_new_file_is_kept_since_it_may_not_be_marked_yet(tmp_path):
    path = tmp_path / "raw_trips" / ".half.tmp"
    path.parent.mkdir()
    path.touch()
    clean_home(tmp_path)
    assert path.exists()
    hour_ahead = time.time() + 3600  # the clock was set back since
    os.utime(path, (hour_ahead, hour_ahead))
    clean_home(tmp_path)
    assert not path.exists()


def test_the_folder_of_a_process_killed_just_before_is_removed_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers, "MIN_AGE_SECONDS", 0.3)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{PROCESS_FOLDER}killed").mkdir()
    with process_folder():
        assert len([*tmp_path.iterdir()]) == 2
        time.sleep(0.4)
    assert [*tmp_path.iterdir()] == []


def test_an_unfinished_database_is_kept(tmp_path):
    with new_database(tmp_path / "runs.sqlite") as made:
        sqlite3.connect(made).execute("CREATE TABLE one (number)").connection.close()
        os.utime(made, (0, 0))
        clean_home(tmp_path)
        assert made.exists()
    assert tables(tmp_path / "runs.sqlite") == {"one"}


def test_a_child_process_has_its_folder_beside_its_parents(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("TMPDIR", raising=False)
    with process_folder():
        outer = Path(tempfile.gettempdir())
        assert os.environ["TMPDIR"] == str(outer)
        with process_folder():
            assert Path(tempfile.gettempdir()).parent == outer.parent == tmp_path
        assert Path(tempfile.gettempdir()) == outer
    assert "TMPDIR" not in os.environ
    assert list(tmp_path.iterdir()) == []
