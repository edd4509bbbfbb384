"""Files that resemble a month are named with why they are not read, and affect no other month."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from ml_assets.ingestion.folder import FolderSource
from ml_assets.ingestion.source import (
    MAX_NEAR_MISSES,
    InvalidFile,
    SourceUnavailable,
    near_miss_lines,
    published_filename,
)
from ml_assets.trips.month import Month, months_between
from ml_assets_tests.ingestion.conftest import JANUARY, published_file

FEBRUARY = Month(2023, 2)
FILE = published_filename("green", FEBRUARY)
READ = f"is there, but only {FILE} is read"
RENAME = f"{READ}: rename it"


@pytest.fixture
def folder(tmp_path: Path, january: bytes) -> Path:
    """A folder with January 2023, in which February is missing."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / published_filename("green", JANUARY)).write_bytes(january)
    return folder


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("green_tripdata_2023-02-2.parquet", f"green_tripdata_2023-02-2.parquet {RENAME}"),
        ("green_tripdata_2023-02.PARQUET", f"green_tripdata_2023-02.PARQUET {RENAME}"),
        ("green_tripdata_2023-02 (1).parquet", f"green_tripdata_2023-02 (1).parquet {RENAME}"),
        ("Green_Tripdata_2023_02.parquet", f"Green_Tripdata_2023_02.parquet {RENAME}"),
        ("tripdata-202302.parq", f"tripdata-202302.parq {RENAME}"),
        (
            "green_tripdata_2023-02.parquet.crdownload",
            f".crdownload {READ}: it has to be a Parquet file",
        ),
        ("green_tripdata_2023-02.csv", f"2023-02.csv {READ}: it has to be a Parquet file"),
        (
            "yellow_tripdata_2023-02.parquet",
            "of the other taxi: to read it, set ML_ASSETS_TAXI=yellow",
        ),
        ("month=2023-02/part-0.parquet", f"month=2023-02/ {RENAME}"),
        ("year=2023/month=02/part-0.parquet", f"year=2023/ {READ}: move the month's folder out"),
        ("pickup_year=2023/pickup_month=2/part-0.parquet", f"pickup_year=2023/ {READ}: move"),
        (f"{FILE}/_SUCCESS", f"{FILE} is a folder without part files"),
    ],
)
@pytest.mark.parametrize("store", ["local", "memory"])
def test_a_near_miss_is_named(
    folder: Path, january: bytes, store: str, name: str, why: str
) -> None:
    url = str(folder)
    if store == "memory":
        url = f"memory://near/{abs(hash(name))}"
        fsspec.filesystem("memory").pipe(f"{url}/{published_filename('green', JANUARY)}", january)
        fsspec.filesystem("memory").pipe(f"{url}/{name}", january)
    else:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(january)
    source = FolderSource(url, "green")
    assert list(source.published([JANUARY, FEBRUARY])) == [JANUARY]
    found = source.near_misses(months_between(Month(2022, 1), Month(2024, 1)))
    assert list(found) == [FEBRUARY]
    assert why in found[FEBRUARY]


@pytest.mark.parametrize(
    "name",
    [FILE, "README-2023-02.txt", "notes", "1202302.parquet", "green_tripdata_2023-13.parquet"],
)
def test_other_names_are_not_near_misses(folder: Path, january: bytes, name: str) -> None:
    (folder / name).write_bytes(january)
    assert FolderSource(str(folder), "green").near_misses([JANUARY, FEBRUARY]) == {}


def test_a_broken_link_is_named(folder: Path) -> None:
    (folder / FILE).symlink_to(folder / "gone.parquet")
    found = FolderSource(str(folder), "green").near_misses([JANUARY, FEBRUARY])
    assert found == {FEBRUARY: f"{FILE} is a broken link"}


def test_many_near_misses_are_a_few_lines() -> None:
    months = list(months_between(Month(2020, 1), Month(2021, 12)))
    lines = near_miss_lines(dict.fromkeys(months, "is a broken link"))
    assert len(lines) == MAX_NEAR_MISSES + 1
    assert lines[0] == "2020-01: is a broken link"
    assert lines[-1] == "and 19 more months in another form"


def _socket(path: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)  # a socket's path is limited to about a hundred characters
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def _link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "is a named pipe (FIFO), not a file"),
        (_link_to_a_pipe, "is a named pipe (FIFO), not a file"),
        (_socket, "is a socket, not a file"),
        (lambda path: path.symlink_to(path), "is a link to itself, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
    ],
)
def test_an_entry_that_is_not_a_file_affects_only_its_month_and_blocks_nothing(
    folder: Path,
    destination: Path,
    assert_kept: Callable[[], None],
    make: Callable[[Path], object],
    kind: str,
) -> None:
    make(folder / FILE)
    source = FolderSource(str(folder), "green")
    listed = source.published([JANUARY, FEBRUARY])
    assert list(listed) == [JANUARY, FEBRUARY]
    with pytest.raises(InvalidFile) as error:
        source.fetch(listed[FEBRUARY], destination)
    assert f"{folder / FILE} {kind}" in str(error.value)
    assert_kept()
    source.fetch(listed[JANUARY], destination)
    (folder / FILE).unlink()
    (folder / FILE).write_bytes(published_file(FEBRUARY))
    assert source.published([FEBRUARY])[FEBRUARY].version != listed[FEBRUARY].version


class _Locked(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A store in which one file cannot be read and one folder cannot be listed."""

    protocol = "locked"

    def ls(self, path: str, detail: bool = True, **_: object) -> list[dict[str, object]]:
        if path.endswith(".parquet"):
            raise PermissionError(13, "Permission denied")
        types = {JANUARY: "file", FEBRUARY: "directory"}
        return [
            {"name": f"folder/{published_filename('green', month)}", "type": kind, "size": 9}
            for month, kind in types.items()
        ]

    def _open(self, path: str, *_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied", path)


def test_an_entry_that_cannot_be_opened_affects_only_its_month(destination: Path) -> None:
    fsspec.register_implementation("locked", _Locked, clobber=True)
    source = FolderSource("locked://folder", "green")
    listed = source.published([JANUARY, FEBRUARY])
    with pytest.raises(SourceUnavailable, match=r"2023-01.parquet could not be read \(Permission"):
        source.fetch(listed[JANUARY], destination)
    with pytest.raises(InvalidFile, match="2023-02.parquet is a folder that cannot be listed"):
        source.fetch(listed[FEBRUARY], destination)
