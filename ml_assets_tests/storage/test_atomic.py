"""A full disk, a kill or another writer never leaves a partial file."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ml_assets.storage.atomic import StorageError, atomic_write, write_text
from ml_assets.storage.leftovers import STALE_SECONDS
from ml_assets_tests.conftest import REPOSITORY
from ml_assets_tests.storage.stored_months import CONTENTS, MONTH, put_month, store_at, store_raw

OTHER_USER = 65534
FULL_DISK = """
import resource, shutil, signal, sys
from pathlib import Path
from ml_assets.storage.atomic import StorageError
from ml_assets_tests.storage.stored_months import MONTH, put_tables, store_at

store = store_at(sys.argv[1])
record = store.raw_record(MONTH)
fetched = Path(shutil.copy(store.raw_path(MONTH), sys.argv[2]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    {action}
except StorageError as error:
    sys.exit(str(error))
"""


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


def start_writer(home: Path, rounds: int) -> "subprocess.Popen[str]":
    command = [
        sys.executable,
        "-m",
        "ml_assets_tests.serving.request_log.busy_writer",
        str(home),
        str(rounds),
    ]
    writer = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def assert_month_is_complete(home: Path) -> None:
    """The stored month is one of the two contents; a record, if there is one, matches its file."""
    store = store_at(home)
    assert store.read_table("trip_features", MONTH).height in CONTENTS
    store.read_table("rejected_trips", MONTH)
    record = store.raw_record(MONTH)
    assert record is None or store.verify_raw(MONTH, record)


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "record.json"
    write_text(str(target), "old")
    with pytest.raises(ZeroDivisionError), atomic_write(str(target)) as temporary:
        temporary.write_text("half of the n")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_while_writing_to_a_url_leaves_the_old_file():
    import fsspec

    write_text("memory://atomic/record.json", "old")
    with pytest.raises(ZeroDivisionError), atomic_write("memory://atomic/record.json") as temporary:
        temporary.write_text("half of the n")
        raise ZeroDivisionError
    assert fsspec.filesystem("memory").cat_file("/atomic/record.json") == b"old"


@pytest.mark.parametrize(
    ("action", "named"),
    [
        ("put_tables(store, MONTH, record)", "trip_features/green/2023-01.parquet"),
        (
            "store.store_raw(MONTH, fetched, record)",
            "raw_trips/green/green_tripdata_2023-01.parquet",
        ),
    ],
)
def test_a_full_disk_keeps_existing_data_and_is_reported(tmp_path_factory, action, named):
    tmp_path = tmp_path_factory.mktemp("home")
    store = store_at(tmp_path)
    record = put_month(store)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = run_python(FULL_DISK.format(action=action), tmp_path, tmp_path_factory.mktemp("fetched"))
    assert done.returncode == 1, done.stderr
    assert named in done.stderr
    assert "File too large" in done.stderr
    assert "free space on that disk" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert store.raw_record(MONTH) == record


def test_a_process_killed_while_it_writes_leaves_a_complete_month(tmp_path):
    for milliseconds in (3, 17, 41):
        writer = start_writer(tmp_path, rounds=10_000)
        time.sleep(milliseconds / 1000)
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
        assert_month_is_complete(tmp_path)
    put_month(store_at(tmp_path))
    assert store_at(tmp_path).require_raw(MONTH) is not None


def test_two_processes_that_write_one_month_leave_one_complete_month(tmp_path):
    writers = [start_writer(tmp_path, rounds=12) for _ in range(2)]
    while any(writer.poll() is None for writer in writers):
        assert store_at(tmp_path).read_table("trip_features", MONTH).height in CONTENTS
    assert [writer.wait() for writer in writers] == [0, 0]
    assert_month_is_complete(tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))


def test_leftovers_of_a_killed_process_are_removed_after_a_day(tmp_path):
    old = time.time() - STALE_SECONDS - 60
    folder = tmp_path / "raw_trips" / "green"
    leftovers = [folder / ".2023-01.parquet.abc.tmp", tmp_path / ".incoming_abc" / "half.parquet"]
    fresh = [folder / ".2023-02.parquet.def.tmp", tmp_path / ".incoming_def" / "half.parquet"]
    for path in leftovers + fresh:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    for path in [*leftovers, leftovers[1].parent]:
        os.utime(path, (old, old))
    store_raw(store_at(tmp_path))
    assert not any(path.exists() for path in [*leftovers, leftovers[1].parent])
    assert all(path.exists() for path in fresh)


def test_an_unwritable_home_is_reported_with_its_variable(tmp_path):
    (tmp_path / "file").write_text("")
    home = tmp_path / "file" / "home"
    with pytest.raises(StorageError) as error:
        write_text(f"{home}/training_set/green.json", "{}")
    for part in (str(home), "Not a directory", "ML_ASSETS_HOME"):
        assert part in str(error.value)
    with pytest.raises(StorageError, match="ML_ASSETS_HOME"), store_at(home).staging_dir():
        pass


@contextlib.contextmanager
def as_a_user():
    """Run the block as the user nobody, since root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(OTHER_USER)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_write_permission_is_reported(tmp_path):
    tmp_path.chmod(0o500)
    message = "Permission denied.*make that folder writable"
    with as_a_user(), pytest.raises(StorageError, match=message):
        write_text(str(tmp_path / "training_set" / "green.json"), "{}")
