"""Batch prediction of files: every row, its own columns, bit-equal predictions."""

import json
import random
import tracemalloc
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_assets.pipeline.conformal_intervals import interval_bounds, seen_pairs
from ml_assets.requests.column_names import RequestFileError
from ml_assets.requests.parse import states_distance
from ml_assets.requests.pickup_time import new_york_time
from ml_assets.training.families import FAMILIES
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.requests.batch_files import (
    GOOD,
    NOW,
    model,
    rows_of,
    some_trips,
    write,
)
from ml_assets_tests.requests.malformed_files import MALFORMED
from ml_assets_tests.training.sample_trips import validation_trips

MINUTES = ("predicted_minutes", "lower_minutes", "upper_minutes")


@pytest.mark.parametrize("out", ["out.parquet", "out.csv", "out.jsonl"])
@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
def test_every_format_is_bit_equal_to_the_pipeline(predict, tmp_path, name, out):
    trips, rows = some_trips()
    summary = predict(write(tmp_path / name, rows), out, chunk_rows=64)
    assert (summary.rows, summary.scored, summary.rejected) == (500, 500, 0)
    minutes = model().pipeline.predict(trips)
    pipeline, stated = model().pipeline, states_distance(trips["trip_distance"])
    seen = seen_pairs(pipeline, *(trips[name].to_numpy() for name in REQUEST_COLUMNS[:2]))
    assert seen is not None and 0 < seen.mean() < 1
    bounds = interval_bounds(pipeline, minutes, stated, seen)
    assert bounds is not None
    lower, upper = bounds
    answers = rows_of(tmp_path / out)
    for column, expected in (
        ("predicted_minutes", minutes),
        ("lower_minutes", lower),
        ("upper_minutes", upper),
    ):
        assert [float(answer[column]) for answer in answers] == expected.tolist()
    assert {answer["model_version"] for answer in answers} == {"7"}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_predictions_do_not_depend_on_other_rows(family):
    trips = pl.from_pandas(validation_trips().iloc[:300])
    together = model(family).pipeline.predict(validation_trips().iloc[:300])
    apart = pl.concat([model(family).predict_frame(part) for part in trips.iter_slices(7)])
    assert apart["predicted_minutes"].to_list() == together.tolist()


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
def test_an_invalid_row_has_its_reason_and_the_others_are_scored(predict, tmp_path, name):
    rows: list[dict[str, Any]] = [GOOD | {"mine": "a"} for _ in range(7)]
    rows[1] |= {"PULocationID": 300, "trip_distance": -1.0}
    rows[5] |= {"DOLocationID": None}
    summary = predict(write(tmp_path / name, rows))
    answers = rows_of(tmp_path / "answers.jsonl")
    assert [answer["mine"] for answer in answers] == ["a"] * 7
    rejected = [number for number, answer in enumerate(answers) if "reason" in answer]
    assert rejected == [1, 5]
    assert "PULocationID must be a zone number from 1 to 265, not 300" in answers[1]["reason"]
    assert answers[5]["reason"].startswith("DOLocationID is missing")
    assert [answer["predicted_minutes"] is None for answer in answers] == [
        number in rejected for number in range(7)
    ]
    assert answers[1]["model_version"] is None
    assert (summary.scored, summary.rejected) == (5, 2)
    assert summary.reasons == {"PULocationID": 1, "trip_distance": 1, "DOLocationID": 1}


def test_other_columns_keep_their_types_in_parquet(predict, tmp_path):
    own = pa.table(
        {
            "PULocationID": pa.array([74.0, 75.0]),
            "DOLocationID": pa.array(["75", "76"]).dictionary_encode(),
            "trip_distance": pa.array([1.0, 2.0], pa.float32()),
            "tags": pa.array([["a"], []]),
            "blob": pa.array([b"\xff", None]),
            "day": pa.array([1, 2], pa.date32()),
        }
    )
    pq.write_table(own, tmp_path / "in.parquet")
    assert predict(tmp_path / "in.parquet", "out.parquet").scored == 2
    assert pq.read_table(tmp_path / "out.parquet").select(own.column_names).equals(own)
    for out in ("out.csv", "out.jsonl"):
        predict(tmp_path / "in.parquet", out)
        assert [str(row["day"]) for row in rows_of(tmp_path / out)] == ["1970-01-02", "1970-01-03"]


@pytest.mark.parametrize("out", ["out.parquet", "out.csv", "out.jsonl"])
@pytest.mark.parametrize(
    "own",
    [
        pa.array([2**63 - 1, 0], pa.timestamp("us")),
        pa.array([2**63 - 1, 0], pa.timestamp("us", "America/New_York")),
        pa.array([2**31 - 1, 0], pa.date32()),
        pa.array([2**63 - 1, 0], pa.duration("us")),
        pa.array([b"ab", b"\xff\xff"], pa.binary(2)),
        pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int32())),
        pa.array([2**64 - 1, 0], pa.uint64()),
        pa.array(["a", "b"], pa.string_view()),
        pa.array([b"0" * 16, b"1" * 16], pa.uuid()),
        pa.array([Decimal("2.5"), Decimal("1")], pa.decimal256(50, 2)),
        pa.nulls(2),
    ],
    ids=lambda column: str(column.type),
)
def test_a_column_of_any_type_is_kept_and_invalid_as_a_time(predict, tmp_path, own, out):
    columns = {name: pa.array([value] * 2) for name, value in GOOD.items()}
    pq.write_table(pa.table(columns | {"own": own}), tmp_path / "in.parquet")
    assert predict(tmp_path / "in.parquet", out).scored == 2
    if out == "out.parquet":
        assert pq.read_table(tmp_path / out)["own"].combine_chunks().equals(own)
    else:
        assert len(rows_of(tmp_path / out)) == 2
    pq.write_table(pa.table(columns | {"pickup_datetime": own}), tmp_path / "in.parquet")
    if own.null_count == 0:
        with pytest.raises(RequestFileError, match="0 of 2 rows.*pickup_datetime must be"):
            predict(tmp_path / "in.parquet", out, overwrite=True)
        return
    summary = predict(tmp_path / "in.parquet", out, overwrite=True)
    assert (summary.rows, summary.rejected) == (2, 2 - own.null_count)


def test_nested_times_out_of_range_raise_with_the_column(predict, tmp_path):
    nested = pa.array([[2**63 - 1], None], pa.list_(pa.timestamp("us")))
    columns = {name: pa.array([value] * 2) for name, value in GOOD.items()}
    pq.write_table(pa.table(columns | {"nested": nested}), tmp_path / "in.parquet")
    with pytest.raises(RequestFileError, match=r"the column nested has nested times.*\.parquet"):
        predict(tmp_path / "in.parquet")
    assert predict(tmp_path / "in.parquet", "out.parquet").scored == 2


def test_json_lines_keep_other_fields_and_malformed_lines_keep_their_place(predict, tmp_path):
    lines = [
        json.dumps(GOOD | {"mine": {"deep": [1, None]}}),
        "{broken",
        "",
        "[]",
        json.dumps(GOOD | {"PULocationID": [1], "other": "é\ud800"}),
        "[" * 100_000,
        json.dumps(GOOD)[:-1] + ', "passenger_count": ' + "9" * 5000 + "}",
        json.dumps(GOOD | {"trip_distance": float("nan")}),
        json.dumps(GOOD),
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    summary = predict(tmp_path / "in.jsonl")
    answers = rows_of(tmp_path / "answers.jsonl")
    assert len(answers) == summary.rows == 8
    assert answers[0]["mine"] == {"deep": [1, None]}
    assert answers[1]["reason"] == "line 2 is not a JSON object"
    assert answers[2]["reason"] == "line 4 is not a JSON object"
    assert answers[3]["other"] == "é\ud800"
    predicted = [answer.get("reason") is None for answer in answers]
    assert predicted == [True] + [False] * 5 + [True] * 2
    assert summary.reasons["row"] == 4


def test_a_csv_row_of_another_width_is_rejected(predict, tmp_path):
    (tmp_path / "in.csv").write_text(
        "\ufeffPULocationID,DOLocationID,trip_distance,note\n"
        '74,75,1.5,"two\nlines, and ""quotes"""\n'
        "74,75\n"
        "\n"
        "74,75,1.5,x,too many\n"
        "74,75,1.5,\n",
        encoding="utf-8",
    )
    assert predict(tmp_path / "in.csv", "out.parquet").scored == 2
    answers = rows_of(tmp_path / "out.parquet")
    assert [answer["note"] for answer in answers] == ['two\nlines, and "quotes"', None, "x", None]
    assert answers[1]["reason"] == "the row has 2 fields, the header 4"
    assert answers[2]["reason"] == "the row has 5 fields, the header 4"


def test_a_model_without_intervals_has_no_bounds(predict, tmp_path):
    source = write(tmp_path / "in.jsonl", [GOOD])
    predict(source, "out.parquet", by=model("linear_regression", intervals=False))
    (answer,) = rows_of(tmp_path / "out.parquet")
    assert answer["predicted_minutes"] > 0
    assert answer["lower_minutes"] is answer["upper_minutes"] is None


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
@pytest.mark.parametrize("family", ["xgboost", "lasso"])
def test_a_distance_left_out_in_any_form_is_the_usual_one(predict, tmp_path, name, family):
    zones = {name: GOOD[name] for name in ("PULocationID", "DOLocationID")}
    left_out = [None, None, float("nan"), 0.0]
    rows: list[dict[str, Any]] = [zones | {"trip_distance": miles} for miles in left_out]
    if name == "in.jsonl":
        rows[0] = zones
        rows[1] = zones | {"trip_distance": ""}
    summary = predict(write(tmp_path / name, [*rows, GOOD]), "out.parquet", by=model(family))
    *usual, stated = pl.read_parquet(tmp_path / "out.parquet").to_dicts()
    (expected,) = model(family).usual_miles(np.array([74]), np.array([75]))
    request = pd.DataFrame([zones]).assign(pickup_datetime=new_york_time(NOW))
    (alone,) = model(family).pipeline.predict(request)
    for row in usual:
        assert (row["distance"], row["distance_miles"]) == ("usual", expected)
        assert row["predicted_minutes"] == alone
        assert [row[name] for name in MINUTES] == [usual[0][name] for name in MINUTES]
    assert (stated["distance"], stated["distance_miles"]) == ("stated", 2.5)
    assert (summary.scored, summary.usual_distance) == (5, 4)


def test_a_file_of_the_two_zones_alone_is_predicted(predict, tmp_path):
    source = write(tmp_path / "in.csv", [{"PULocationID": 74, "DOLocationID": 75}] * 2)
    predict(source, "out.csv")
    rows = rows_of(tmp_path / "out.csv")
    assert [row["distance"] for row in rows] == ["usual"] * 2
    assert float(rows[0]["distance_miles"]) > 0
    assert list(rows[0])[2:] == [*MINUTES, "distance", "distance_miles", "model_version",
                                 "scored_at", "reason"]  # fmt: skip


def test_requests_without_a_time_have_the_same_current_time(predict, tmp_path):
    write(tmp_path / "in.jsonl", [GOOD] * 7)
    write(tmp_path / "at.jsonl", [GOOD | {"pickup_datetime": NOW.isoformat()}] * 7)
    predict(tmp_path / "in.jsonl", "none.jsonl")
    predict(tmp_path / "at.jsonl", "stated.jsonl")
    none, stated = (
        [row["predicted_minutes"] for row in rows_of(tmp_path / name)]
        for name in ("none.jsonl", "stated.jsonl")
    )
    assert none == stated


FULL = "PULocationID,DOLocationID,trip_distance"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", b"", "lacks the column PULocationID, DOLocationID"),
        ("in.csv", f"{FULL}\n".encode(), "has no requests"),
        ("in.csv", b"PULocationID,miles\n1,2\n", "lacks the column DOLocationID; it has"),
        ("in.csv", f"{FULL},a,a\n1,2,3,4,5\n".encode(), "more than one column 'a'"),
        ("in.csv", f"{FULL},reason\n1,2,3,4\n".encode(), "have a column reason, which"),
        ("in.csv", f"{FULL},note\n1,2,3,caf\xe9\n".encode("latin-1"), "is not UTF-8 text"),
        ("in.csv", f"{FULL}\n{'1' * 200_000},2,3\n".encode(), "cannot be read: field larger"),
        ("in.jsonl", b"", "has no requests"),
        ("in.jsonl", b" " * 1_000_001, "line 1 of"),
        (
            "in.jsonl",
            json.dumps(GOOD | {"predicted_minutes": 1}).encode(),
            "predicted_minutes, which",
        ),
        ("in.parquet", b"PAR1 no such thing", "cannot be read"),
        ("in.xlsx", b"PK", "must end with one of .parquet, .csv, .jsonl"),
    ],
)
def test_an_unusable_file_raises_one_line_and_writes_nothing(
    predict, tmp_path, name, content, message
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestFileError, match=message) as error:
        predict(tmp_path / name)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_raises_its_cause_and_writes_nothing(predict, tmp_path, name):
    source, content, message = MALFORMED[name]
    (tmp_path / source).write_bytes(content())
    with pytest.raises(RequestFileError) as error:
        predict(tmp_path / source, "out.csv")
    assert message in str(error.value)
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [source]


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
@pytest.mark.parametrize("out", ["out.parquet", "out.csv", "out.jsonl"])
def test_random_corruption_is_predicted_or_raises_one_line(predict, tmp_path, name, out):
    whole = write(tmp_path / name, [row | {"note": "é"} for row in some_trips(30)[1]]).read_bytes()
    change = random.Random(7)
    for _ in range(40):
        content = bytearray(whole)
        for _ in range(change.choice([1, 2, 20])):
            content[change.randrange(len(content))] = change.randrange(256)
        (tmp_path / name).write_bytes(content)
        try:
            assert predict(tmp_path / name, out, overwrite=True, chunk_rows=20).rows > 0
        except RequestFileError as error:
            assert str(error).isprintable()
            assert not (tmp_path / out).exists()
        (tmp_path / out).unlink(missing_ok=True)
        assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_truncated_file_keeps_the_existing_target(predict, tmp_path):
    whole = write(tmp_path / "whole.parquet", [GOOD] * 50_000).read_bytes()
    half = len(whole) // 2
    broken = whole[:200] + b"\x00" * (half - 200) + whole[half:]
    (tmp_path / "in.parquet").write_bytes(broken)
    (tmp_path / "answers.jsonl").write_text("before")
    with pytest.raises(RequestFileError, match="in.parquet cannot be read"):
        predict(tmp_path / "in.parquet", overwrite=True, chunk_rows=1000)
    assert (tmp_path / "answers.jsonl").read_text() == "before"
    assert not list(tmp_path.glob(".*"))


def test_an_existing_target_is_replaced_only_with_overwrite(predict, tmp_path):
    source = write(tmp_path / "in.jsonl", [GOOD])
    predict(source)
    first = (tmp_path / "answers.jsonl").read_text()
    with pytest.raises(RequestFileError, match="already exists: name another file, or"):
        predict(source)
    assert (tmp_path / "answers.jsonl").read_text() == first
    predict(write(tmp_path / "in.jsonl", [GOOD] * 2), overwrite=True)
    assert len(rows_of(tmp_path / "answers.jsonl")) == 2


def test_a_target_that_cannot_be_written_is_named(predict, tmp_path):
    source = write(tmp_path / "in.jsonl", [GOOD])
    with pytest.raises(RequestFileError, match="is not a folder: create it first"):
        predict(source, "absent/answers.jsonl")
    with pytest.raises(RequestFileError, match="cannot be read: No such file"):
        predict(tmp_path / "absent.csv")


def test_a_late_json_field_raises_with_the_remedy(predict, tmp_path):
    source = write(tmp_path / "in.jsonl", [GOOD] * 3 + [GOOD | {"late": 1}])
    with pytest.raises(RequestFileError, match=r"'late'.*ends with .jsonl"):
        predict(source, "out.parquet")


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_memory_does_not_grow_with_the_file(predict, tmp_path, name):
    def peak(rows):
        source = write(tmp_path / name, [GOOD | {"note": "x" * 100}] * rows)
        tracemalloc.start()
        predict(source, f"{rows}.jsonl", chunk_rows=500)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(500)  # warm-up
    assert peak(10_000) < 1.5 * peak(1000)


def test_progress_ends_at_the_total(predict, tmp_path):
    for name in ("in.parquet", "in.csv", "in.jsonl"):
        progress = []
        predict(
            write(tmp_path / name, [GOOD] * 10),
            f"{name}.jsonl",
            progress=lambda done, total, progress=progress: progress.append((done, total)),
        )
        assert len(progress) == 4
        assert progress[-1][0] == progress[-1][1] > 0
