"""Predictions in the request log are read, and other lines are counted."""

import os
import time

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.serving.request_log.files import day_file
from ml_assets.serving.request_log.reader import COLUMNS, read_chunks
from ml_assets.serving.request_log.writer import RequestLog
from ml_assets_tests.serving.request_log.logged_requests import AT, many, one
from ml_assets_tests.serving.request_log.whole_log import read_log

DAY = AT.date()


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    log = RequestLog(folder, writer="w")
    log.add(one())
    log.close(5)
    return day_file(folder, DAY, "w").read_bytes()


def read(folder, data, seconds_old=0):
    path = day_file(folder, DAY, "w")
    path.write_bytes(data)
    written = time.time() - seconds_old
    os.utime(path, (written, written))
    chunks = [*read_chunks(folder)]
    counts = (
        sum(chunk.predictions.height for chunk in chunks),
        sum(chunk.unreadable for chunk in chunks),
        sum(chunk.dropped for chunk in chunks),
    )
    path.unlink()
    return counts


def test_a_missing_or_empty_log_is_an_empty_typed_frame(tmp_path):
    assert read_log(tmp_path / "none").schema == COLUMNS
    day_file(tmp_path, DAY, "w").touch()
    assert read_log(tmp_path).schema == COLUMNS
    assert read_log(tmp_path).is_empty()


@pytest.mark.parametrize(
    "foreign",
    [
        b'{"request_id":"r0","answered_at":"2026-11-25T14:3\n',
        b'{"hello": 1}\n',
        b"[1, 2]\n",
        b"5\n",
        b"null\n",
        b"\x00\x00\x00\n",
        b"\xff\xfe\n",
        b"not JSON at all\n",
        b'{"dropped": -3}\n',
        b'{"dropped": "many"}\n',
        b"[" * 5000 + b"\n",
        b'{"latency_milliseconds": 1e999}\n',
    ],
)
def test_an_unreadable_line_is_counted_and_the_others_are_read(tmp_path, line, foreign):
    assert read(tmp_path, line + foreign + line + line) == (3, 1, 0)


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "passenger_count"])
@pytest.mark.parametrize("value", ["x", [1], {"a": 1}])
def test_a_line_with_a_field_of_a_wrong_type_is_unreadable(tmp_path, line, name, value):
    """Except what may be missing, and texts, which may have any value."""
    fields = orjson.loads(line) | {name: value}
    predictions, unreadable, _ = read(tmp_path, line + orjson.dumps(fields) + b"\n")
    optional = name in (
        "lower_minutes", "upper_minutes", "distance_miles", "model_version", "request_id"
    )  # fmt: skip
    assert (predictions, unreadable) == ((2, 0) if optional else (1, 1))


def test_a_distance_left_out_is_read_as_null(tmp_path, line):
    fields = orjson.loads(line) | {"trip_distance": None, "distance": "usual", "distance_miles": 2}
    day_file(tmp_path, DAY, "w").write_bytes(orjson.dumps(fields) + b"\n")
    (row,) = read_log(tmp_path).to_dicts()
    assert (row["trip_distance"], row["distance"], row["distance_miles"]) == (None, "usual", 2.0)


def test_lines_of_before_distances_could_be_left_out_are_read(tmp_path, line):
    old = {k: v for k, v in orjson.loads(line).items() if not k.startswith("distance")}
    given = [2.5, 0.0, 61.0]
    lines = [orjson.dumps(old | {"trip_distance": miles}) + b"\n" for miles in given]
    day_file(tmp_path, DAY, "w").write_bytes(b"".join(lines))
    rows = read_log(tmp_path)
    assert rows["trip_distance"].to_list() == given
    assert rows["distance"].to_list() == ["stated", "usual", "usual"]
    assert rows["distance_miles"].to_list() == [2.5, None, None]


@pytest.mark.parametrize("zone", [0, -1, 266, 10**12])
def test_a_line_with_an_invalid_zone_is_unreadable(tmp_path, line, zone):
    fields = orjson.loads(line) | {"DOLocationID": zone}
    assert read(tmp_path, line + orjson.dumps(fields) + b"\n") == (1, 1, 0)


def test_a_torn_last_line_counts_once_its_writer_has_stopped(tmp_path, line):
    torn = line + line[:50]
    assert read(tmp_path, torn) == (1, 0, 0)
    assert read(tmp_path, torn, seconds_old=3600) == (1, 1, 0)


def test_blank_lines_are_ignored(tmp_path, line):
    assert read(tmp_path, b"\n\n" + line + b"\n" + line) == (2, 0, 0)


def test_drops_are_summed_also_under_their_former_name(tmp_path, line):
    dropped = b'{"dropped":41,"at":"2026-11-25T14:30:00Z"}\n'
    former = b'{"lost_answers":9,"noticed_at":"2026-11-25T14:30:00Z"}\n'
    assert read(tmp_path, dropped + line + former) == (1, 0, 50)


def test_a_long_day_is_read_in_chunks_in_order(tmp_path):
    log = RequestLog(tmp_path, writer="w")
    for _ in range(8):
        log.add(many(10_000))
    log.close(30)
    chunks = [*read_chunks(tmp_path)]
    assert len(chunks) > 1
    assert log.written == sum(chunk.predictions.height for chunk in chunks) == 80_000
    assert (
        pl.concat([chunk.predictions for chunk in chunks])["position"].to_list()
        == [*range(10_000)] * 8
    )


@given(st.lists(st.one_of(st.binary(max_size=60), st.none()), max_size=8))
def test_any_bytes_between_lines_do_not_affect_the_others(tmp_path_factory, line, junk):
    folder = tmp_path_factory.getbasetemp() / "any_bytes"
    folder.mkdir(exist_ok=True)
    data = b"".join(line if item is None else item + b"\n" for item in junk)
    foreign = sum(
        1 for item in junk if item is not None for part in item.split(b"\n") if part.strip()
    )
    predictions, unreadable, lost = read(folder, data)
    assert (predictions, unreadable + lost) == (junk.count(None), foreign)
