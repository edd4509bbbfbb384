"""The request log writes all predictions that it can, counts the others, and never blocks."""

import os
import resource
import threading
from datetime import date, timedelta
from pathlib import Path

import orjson
import pytest

from ml_assets.serving.request_log import writer as request_log
from ml_assets.serving.request_log.files import append, day_file, remove_old
from ml_assets.serving.request_log.reader import read_chunks
from ml_assets.serving.request_log.writer import RequestLog
from ml_assets_tests.serving.request_log.logged_requests import (
    AT,
    FULL_DISK,
    PICKUP,
    columns,
    many,
    one,
    settled,
    wait_until,
)
from ml_assets_tests.serving.request_log.whole_log import read_log

DAY = AT.date()


@pytest.fixture
def log(tmp_path):
    log = RequestLog(tmp_path / "request_log", capacity=1000, writer="w")
    yield log
    log.close(5)


def file_of(log: RequestLog, day: date = DAY) -> Path:
    return day_file(log.folder, day, log.writer)


def link(log: RequestLog, target: str) -> Path:
    path = file_of(log)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)
    return path


def fifo(log: RequestLog) -> Path:
    path = file_of(log)
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    return path


def lost_entries(folder: Path) -> int:
    return sum(chunk.dropped for chunk in read_chunks(folder))


def test_single_predictions_and_lists_are_read_as_written(log):
    log.add(one(0))
    log.add(one(1))
    log.add(many(3))
    log.close(5)
    frame = read_log(log.folder)
    assert (log.written, log.dropped) == (5, 0)
    assert frame["request_id"].to_list() == ["r0", "r1", "list", "list", "list"]
    assert frame["position"].to_list() == [0, 0, 0, 1, 2]
    assert frame["answered_at"].to_list() == [AT] * 5
    assert frame["PULocationID"].to_list() == [74, 74, 1, 2, 3]
    assert frame["trip_distance"][2:].to_list() == columns(3)["trip_distance"].tolist()
    assert frame["pickup_datetime"].to_list() == [PICKUP] * 5
    assert frame["passenger_count"].to_list() == [2.0, None, None, None, None]
    assert frame["lower_minutes"].to_list() == [8.5, 8.5, None, None, None]


def test_a_line_holds_only_request_prediction_and_metadata(log):
    log.add(one())
    log.close(5)
    assert [*orjson.loads(file_of(log).read_bytes())] == [
        "request_id",
        "answered_at",
        "model_version",
        "latency_milliseconds",
        "position",
        "PULocationID",
        "DOLocationID",
        "trip_distance",
        "pickup_datetime",
        "passenger_count",
        "predicted_minutes",
        "lower_minutes",
        "upper_minutes",
        "distance",
        "distance_miles",
    ]


def test_each_utc_day_has_a_file_also_when_days_alternate(log):
    days = [DAY, DAY + timedelta(days=1), DAY]
    for number, day in enumerate(days):
        log.add(one(number, AT.replace(day=day.day)))
    log.close(5)
    assert len(file_of(log, days[0]).read_bytes().splitlines()) == 2
    assert read_log(log.folder, first=days[1])["request_id"].to_list() == ["r1"]
    assert read_log(log.folder, last=days[0])["request_id"].to_list() == ["r0", "r2"]


def test_two_logs_of_one_folder_never_share_a_file(tmp_path):
    logs = [RequestLog(tmp_path) for _ in range(2)]
    for number in range(200):
        logs[number % 2].add(one(number))
    for log in logs:
        log.close(5)
    assert len([*tmp_path.iterdir()]) == 2
    assert sorted(read_log(tmp_path)["request_id"]) == sorted(f"r{n}" for n in range(200))


def test_a_full_disk_loses_only_what_does_not_fit_and_recovers(log):
    path = link(log, FULL_DISK)
    for number in range(1003):
        log.add(one(number))
    wait_until(lambda: log._failing)
    assert (log.written, log.dropped) == (0, 3)
    path.unlink()
    settled(log, 1000)
    log.add(one(5000))
    log.close(5)
    assert (log.written, log.dropped) == (1001, 3)
    assert lost_entries(log.folder) == 3
    assert read_log(log.folder)["request_id"].to_list() == [
        *(f"r{number}" for number in range(1000)),
        "r5000",
    ]


def test_a_list_that_does_not_fit_is_dropped_and_each_prediction_counted(log):
    log.add(many(1001))
    log.add(many(10))
    log.close(5)
    assert (log.written, log.dropped, lost_entries(log.folder)) == (10, 1001, 1001)


def test_predictions_that_cannot_be_written_before_closing_are_dropped_with_a_warning(log, caplog):
    link(log, FULL_DISK)
    log.add(many(7))
    log.close(5)
    log.add(one())
    assert (log.written, log.dropped) == (0, 8)
    assert "7 predictions are not in the request log" in caplog.text


def test_a_disk_that_fills_up_within_a_line_leaves_no_torn_line(log):
    """A file size limit truncates the write, like a quota or a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        log.add(many(20))
        wait_until(lambda: log._failing)
        whole = file_of(log).read_bytes()
        assert 0 < log.written < 20
        assert whole.endswith(b"}\n")
        assert whole.count(b"\n") == log.written
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    settled(log, 20)
    assert read_log(log.folder)["position"].to_list() == [*range(20)]


def test_a_deleted_folder_is_created_again(log):
    log.add(one(0))
    settled(log, 1)
    file_of(log).unlink()
    log.folder.rmdir()
    log.add(one(1))
    settled(log, 2)
    assert read_log(log.folder)["request_id"].to_list() == ["r1"]


def test_the_creation_of_the_folder_is_retried(tmp_path):
    (tmp_path / "home").write_text("a file, where the home should be")
    log = RequestLog(tmp_path / "home" / "request_log")
    log.add(one())
    wait_until(lambda: log._failing)
    (tmp_path / "home").unlink()
    settled(log, 1)
    log.close(5)
    assert read_log(log.folder).height == 1


def test_a_blocked_writer_blocks_neither_add_nor_close(log):
    path = fifo(log)
    for number in range(1500):
        log.add(one(number))
    log.close(0.3)
    assert log._thread.is_alive()
    assert (log.written, log.dropped) == (0, 1500)
    with open(path, "rb") as reader:  # lets the thread go on and end
        read = reader.read()
    log._thread.join(10)
    assert read.count(b"predicted_minutes") == log.written == 1000
    assert log.dropped == 500


def test_after_a_torn_line_the_next_one_starts_on_a_new_line(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    lines = [b"a" * 100_000 + b"\n", b"b\n"]
    with EndingReader(tmp_path / "pipe", 10):
        torn = append(tmp_path / "pipe", lines)
    assert (torn.lines, torn.torn) == (0, True)
    assert isinstance(torn.error, BrokenPipeError)
    with EndingReader(tmp_path / "pipe", 200_000) as read:
        again = append(tmp_path / "pipe", lines, after_torn=True)
    assert (again.lines, again.torn) == (2, False)
    assert b"".join(read) == b"\n" + b"".join(lines)


class EndingReader:
    """Reads a limited number of bytes from a pipe, then closes it."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit, self._read = path, limit, []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with open(self._path, "rb", buffering=0) as pipe:
            while sum(map(len, self._read)) < self._limit:
                data = pipe.read(min(self._limit, 65_536))
                if not data:
                    return
                self._read.append(data)

    def __enter__(self) -> list[bytes]:
        self._thread.start()
        return self._read

    def __exit__(self, *_) -> None:
        self._thread.join(10)


def test_a_prediction_that_cannot_be_serialized_is_dropped_and_the_next_is_written(log):
    log.add(one(0)._replace(model_version=object()))  # type: ignore[arg-type]
    log.add(many(3)._replace(predictions=many(4).predictions))
    log.add(one(1))
    log.close(5)
    assert read_log(log.folder)["request_id"].to_list() == ["r1"]
    assert (log.written, log.dropped, lost_entries(log.folder)) == (1, 5, 5)


def test_counts_are_consistent_with_many_threads_and_a_small_capacity(tmp_path):
    log = RequestLog(tmp_path, capacity=50)

    def add(thread: int) -> None:
        for number in range(500):
            log.add(many(1 + (thread + number) % 3))

    threads = [threading.Thread(target=add, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close(10)
    added = sum(1 + (thread + number) % 3 for thread in range(4) for number in range(500))
    assert log.dropped > 0
    assert log.written + log.dropped == added
    assert read_log(tmp_path).height == log.written
    assert lost_entries(tmp_path) == log.dropped


def test_files_of_old_days_are_removed_and_other_files_kept(tmp_path):
    today = date(2026, 11, 25)
    for name in ("2025-10-20_a.jsonl", "2025-10-21_a.jsonl", "2026-11-25_b-c.jsonl"):
        (tmp_path / name).touch()
    for name in ("2020-01-01.jsonl", "2020-13-01_a.jsonl", "notes.txt"):
        (tmp_path / name).touch()
    remove_old(tmp_path, today, max_days=400)
    assert not (tmp_path / "2025-10-20_a.jsonl").exists()
    assert len([*tmp_path.iterdir()]) == 5


def test_a_new_log_removes_files_of_old_days(tmp_path):
    old = tmp_path / "2001-01-01_a.jsonl"
    old.touch()
    log = RequestLog(tmp_path)
    log.add(one())
    settled(log, 1)
    log.close(5)
    assert not old.exists()


def test_the_log_stays_within_its_size_and_keeps_the_newest_predictions(tmp_path, caplog):
    (tmp_path / "2026-01-01_a.jsonl").write_bytes(b"x" * 30_000)
    log = RequestLog(tmp_path, max_bytes=20_000, part_bytes=4_000, max_days=100_000)
    for number in range(200):
        log.add(one(number))
        if number % 20 == 19:
            settled(log, number + 1)
    log.close(5)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000 + 10_000
    kept = read_log(tmp_path)["request_id"].to_list()
    assert 20 < len(kept) < 200
    assert kept[-1] == one(199).request_id
    assert not (tmp_path / "2026-01-01_a.jsonl").exists()
    assert "oldest files are removed" in caplog.text


def test_files_are_readable_by_their_owner_only_also_existing_ones(tmp_path):
    folder = tmp_path / "request_log"
    folder.mkdir()
    before = folder / "2999-01-01_a.jsonl"
    before.touch(mode=0o644)
    log = RequestLog(folder)
    log.add(one())
    settled(log, 1)
    log.close(5)
    modes = [path.stat().st_mode & 0o777 for path in folder.iterdir()]
    assert modes == [0o600, 0o600]


def test_an_unexpected_error_drops_only_its_batch(log, monkeypatch, caplog):
    def broken(*_, **__):
        raise AttributeError("no such flag here")

    monkeypatch.setattr(request_log, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(request_log, "append", broken)
    log.add(one(0))
    wait_until(lambda: log.dropped == 1)
    log.add(one(1))
    wait_until(lambda: log.dropped == 2)
    monkeypatch.setattr(request_log, "append", append)
    log.add(one(2))
    settled(log, 1)
    log.close(5)
    assert read_log(log.folder)["request_id"].to_list() == ["r2"]
    assert lost_entries(log.folder) == 2
    assert caplog.text.count("cannot be written to the request log") == 1


def test_only_predictions_that_cannot_be_serialized_are_dropped(log, caplog):
    for number in range(3):
        log.add(one(number)._replace(model_version=object()))  # type: ignore[arg-type]
    log.add(one(3)._replace(answered_at="today"))  # type: ignore[arg-type]
    log.add(one(4))
    settled(log, 1)
    log.close(5)
    assert (log.written, log.dropped, lost_entries(log.folder)) == (1, 4, 4)
    assert caplog.text.count("cannot be written to the request log") == 1
