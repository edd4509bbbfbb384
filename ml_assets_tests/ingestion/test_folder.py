"""Months in a folder, local or anywhere that fsspec opens."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_assets.ingestion.folder import FolderSource
from ml_assets.ingestion.source import (
    ChangedDuringDownload,
    InvalidFile,
    InvalidSource,
    SourceUnavailable,
    published_filename,
)
from ml_assets.trips.month import Month, months_between
from ml_assets_tests.ingestion.conftest import JANUARY, published_file

FEBRUARY = Month(2023, 2)
FILE = published_filename("green", JANUARY)


@pytest.fixture
def folder(tmp_path: Path, january: bytes) -> Path:
    """A folder that holds January 2023 of the green taxis, and other things."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / FILE).write_bytes(january)
    (folder / "yellow_tripdata_2023-02.parquet").write_bytes(january)
    (folder / "README.txt").write_text("about these files")
    (folder / published_filename("green", FEBRUARY)).mkdir()
    return folder


@pytest.fixture
def memory_url(january: bytes) -> Iterator[str]:
    """A folder in fsspec's memory store that holds January 2023."""
    url = f"memory://published-{uuid.uuid4().hex}"
    store = fsspec.filesystem("memory")
    store.pipe(f"{url}/{FILE}", january)
    yield url
    store.rm(url, recursive=True)


@pytest.mark.parametrize("spelling", ["absolute", "slash", "relative", "home", "file://"])
def test_any_spelling_of_a_local_folder(
    folder: Path,
    destination: Path,
    january: bytes,
    monkeypatch: pytest.MonkeyPatch,
    spelling: str,
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    named = {
        "absolute": str(folder),
        "slash": f"{folder}/",
        "relative": "published",
        "home": "~/published",
        "file://": f"file://{folder}",
    }[spelling]
    source = FolderSource(named, "green")
    listed = source.published([FEBRUARY, JANUARY])
    assert list(listed) == [JANUARY]
    assert listed[JANUARY].location == str(folder / FILE)
    assert listed[JANUARY].size_bytes == len(january)
    source.fetch(listed[JANUARY], destination)
    assert destination.read_bytes() == january


def test_a_folder_in_a_store(memory_url: str, destination: Path, january: bytes) -> None:
    source = FolderSource(memory_url, "green")
    progress: list[tuple[int, int | None]] = []
    listed = source.published(months_between(Month(2022, 1), Month(2024, 1)))
    assert list(listed) == [JANUARY]
    assert listed[JANUARY].location == f"{memory_url.replace('memory://', 'memory:///')}/{FILE}"
    source.fetch(listed[JANUARY], destination, lambda done, total: progress.append((done, total)))
    assert destination.read_bytes() == january
    assert progress[-1] == (len(january), len(january))


def test_yellow_and_green_share_a_folder(folder: Path) -> None:
    assert list(FolderSource(str(folder), "yellow").published([JANUARY, FEBRUARY])) == [FEBRUARY]


def test_all_months_of_the_real_source_pass(real_trips: Path, tmp_path: Path) -> None:
    source = FolderSource(str(real_trips), "green")
    listed = source.published(months_between(Month(2023, 1), Month(2023, 12)))
    assert Month(2023, 9) in listed  # int32 and large_string, where January has int64 and string
    for item in listed.values():
        source.fetch(item, tmp_path / "month.parquet")
        assert (tmp_path / "month.parquet").stat().st_size == item.size_bytes


@pytest.mark.parametrize("store", ["local", "memory"])
def test_a_republished_month_has_another_version_and_is_not_fetched_as_the_old_one(
    folder: Path,
    memory_url: str,
    destination: Path,
    assert_kept: Callable[[], None],
    store: str,
) -> None:
    url = {"local": str(folder), "memory": memory_url}[store]
    source = FolderSource(url, "green")
    before = source.published([JANUARY])[JANUARY]
    assert source.published([JANUARY])[JANUARY] == before
    fsspec.core.url_to_fs(url)[0].pipe_file(f"{url}/{FILE}", published_file(rows=900))
    assert source.published([JANUARY])[JANUARY].version != before.version
    with pytest.raises(ChangedDuringDownload, match="list the months again"):
        source.fetch(before, destination)
    assert_kept()


def test_a_file_of_the_same_size_but_another_time_is_another_version(folder: Path) -> None:
    source = FolderSource(str(folder), "green")
    before = source.published([JANUARY])[JANUARY]
    os.utime(folder / FILE, (1_700_000_000, 1_700_000_000))
    assert source.published([JANUARY])[JANUARY].version != before.version


def test_a_file_replaced_while_it_is_read_is_not_kept(
    memory_url: str, destination: Path, assert_kept: Callable[[], None]
) -> None:
    source = FolderSource(memory_url, "green")
    listed = source.published([JANUARY])[JANUARY]
    store = fsspec.filesystem("memory")
    other = published_file(rows=900)
    with pytest.raises(ChangedDuringDownload):
        source.fetch(listed, destination, lambda *_: store.pipe(f"{memory_url}/{FILE}", other))
    assert_kept()


def test_a_month_withdrawn_after_the_listing(
    folder: Path, destination: Path, assert_kept: Callable[[], None]
) -> None:
    source = FolderSource(str(folder), "green")
    listed = source.published([JANUARY])[JANUARY]
    (folder / FILE).unlink()
    with pytest.raises(SourceUnavailable, match="no longer there"):
        source.fetch(listed, destination)
    assert_kept()


def test_a_link_has_the_version_of_its_target(folder: Path, tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / FILE).symlink_to(folder / FILE)
    (links / published_filename("green", FEBRUARY)).symlink_to(folder / "gone.parquet")
    source = FolderSource(str(links), "green")
    before = source.published([JANUARY, FEBRUARY])
    assert list(before) == [JANUARY]
    os.utime(folder / FILE, (1_700_000_000, 1_700_000_000))
    assert source.published([JANUARY])[JANUARY].version != before[JANUARY].version


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_file_is_an_invalid_file_or_readable_and_nothing_else(
    folder: Path, destination: Path, assert_kept: Callable[[], None], data: st.DataObject
) -> None:
    whole = published_file(rows=200)
    cut = data.draw(st.integers(0, len(whole) - 1), label="cut at")
    # The Parquet footer is at the end of the file: damage there has the most varied effects.
    changes = st.tuples(st.integers(1, 2_500), st.integers(0, 255))
    damaged = bytearray(whole)
    for from_end, byte in data.draw(st.lists(changes, min_size=1, max_size=4), label="changes"):
        damaged[-min(from_end, len(whole))] = byte
    source = FolderSource(str(folder), "green")

    (folder / FILE).write_bytes(whole[:cut])
    with pytest.raises(InvalidFile, match=FILE):
        source.fetch(source.published([JANUARY])[JANUARY], destination)
    assert_kept()

    (folder / FILE).write_bytes(damaged)
    refusal = None
    try:
        source.fetch(source.published([JANUARY])[JANUARY], destination)
    except InvalidFile as error:
        refusal = str(error)
    if refusal is not None:
        assert FILE in refusal
        assert_kept()
    destination.write_bytes(b"the last good version")


@pytest.mark.parametrize(
    ("trips", "fault"),
    [
        ("no/such/folder", "there is no such folder"),
        ("TLC", "there is no such folder"),
        ("~nobody-of-this-name/trips", "there is no such folder"),
        ("nowhere://trips", "fsspec knows no protocol nowhere://"),
        ("simplecache::nowhere://trips", "fsspec knows no protocol nowhere://"),
    ],
)
def test_a_wrong_value_is_one_line_that_says_what_is_allowed(trips: str, fault: str) -> None:
    with pytest.raises(InvalidSource) as error:
        FolderSource(trips, "yellow")
    message = str(error.value)
    assert message.startswith(f"ML_ASSETS_TRIPS={trips!r}: {fault}; allowed are sample, tlc, or")
    assert "yellow_tripdata_YYYY-MM.parquet" in message
    assert "\n" not in message


def test_a_file_is_not_accepted_as_a_folder(folder: Path) -> None:
    with pytest.raises(InvalidSource, match="a file, not a folder"):
        FolderSource(str(folder / FILE), "green")


def test_a_folder_missing_from_a_store_is_reported_on_use() -> None:
    source = FolderSource("memory://no-such-folder", "green")
    with pytest.raises(InvalidSource, match="there is no such folder"):
        source.published([JANUARY])


def test_a_store_whose_package_is_not_installed_names_it() -> None:
    fsspec.register_implementation(
        "absent", "absent_package.FileSystem", clobber=True, errtxt="Install absent_package"
    )
    source = FolderSource("absent://user:hidden@bucket/trips", "green")
    with pytest.raises(InvalidSource, match="Install absent_package") as error:
        source.published([JANUARY])
    assert "hidden" not in str(error.value)


class _BrokenStore(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A store whose client raises its own type of error."""

    protocol = "broken"

    def ls(self, path: str, detail: bool = True, **_: object) -> list[dict[str, object]]:
        raise LookupError("no credentials found")


def test_a_store_with_its_own_error_type_is_unavailable() -> None:
    fsspec.register_implementation("broken", _BrokenStore, clobber=True)
    source = FolderSource("broken://bucket", "green")
    with pytest.raises(SourceUnavailable, match="no credentials found") as error:
        source.published([JANUARY])
    assert "broken://bucket" in str(error.value)
