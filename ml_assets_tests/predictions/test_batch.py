"""Files of requests in, files of answers out: every row, its own columns, the pipeline's bits."""

import csv
import json
import random
import tracemalloc
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_assets.modeling.families import FAMILIES
from ml_assets.modeling.intervals import calibrate, interval_bounds, keep_intervals
from ml_assets.predictions import request_files, request_names
from ml_assets.predictions.batch import predict_file
from ml_assets.predictions.request_names import RequestFileError
from ml_assets.predictions.scoring import Model
from ml_assets.trips.rules import REQUEST_COLUMNS
from ml_assets_tests.modeling.sample_trips import train_trips, tune_trips
from ml_assets_tests.predictions.malformed_files import MALFORMED

NOW = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
GOOD = {"PULocationID": 74, "DOLocationID": 75, "trip_distance": 2.5}


@cache
def model(family="xgboost", *, intervals=True) -> Model:
    trips = train_trips()
    trees = {"n_estimators": 20} if "n_estimators" in FAMILIES[family].defaults else None
    pipeline = FAMILIES[family].make_pipeline(trees, n_jobs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(trips, trips["duration_minutes"])
    if intervals:
        told = pipeline.predict(tune_trips())
        keep_intervals(pipeline, calibrate(told, tune_trips()["duration_minutes"]))
    return Model(pipeline, "7")


@pytest.fixture
def predict(tmp_path, monkeypatch):
    """Answers to a file of this name and content; chunks of three rows, to have several."""

    def predicted(source, out="answers.jsonl", chunk_rows=3, by=None, **options):
        monkeypatch.setattr(request_files, "CHUNK_ROWS", chunk_rows)
        return predict_file(by or model(), source, tmp_path / out, now=NOW, **options)

    return predicted


def rows_of(path):
    """The rows of a file as text and numbers, whatever its format."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        return list(csv.DictReader(path.read_text().splitlines()))
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, rows):
    """A file of these rows, in the format of its name."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def some_trips(count=500):
    trips = tune_trips().iloc[:count]
    rows = trips[list(REQUEST_COLUMNS)].to_dict("records")
    for row in rows:
        row["pickup_datetime"] = row["pickup_datetime"].isoformat()
        row["passenger_count"] = (
            None if np.isnan(row["passenger_count"]) else row["passenger_count"]
        )
    return trips, rows


@pytest.mark.parametrize("out", ["out.parquet", "out.csv", "out.jsonl"])
@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
def test_every_format_gives_the_minutes_of_the_pipeline_to_the_last_bit(
    predict, tmp_path, name, out
):
    trips, rows = some_trips()
    summary = predict(write(tmp_path / name, rows), out, chunk_rows=64)
    assert (summary.rows, summary.scored, summary.refused) == (500, 500, 0)
    minutes = model().pipeline.predict(trips)
    lower, upper = interval_bounds(model().pipeline, minutes)
    answers = rows_of(tmp_path / out)
    for column, expected in (
        ("predicted_minutes", minutes),
        ("lower_minutes", lower),
        ("upper_minutes", upper),
    ):
        assert [float(answer[column]) for answer in answers] == expected.tolist()
    assert {answer["model_version"] for answer in answers} == {"7"}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_minutes_do_not_depend_on_the_rows_beside(family):
    trips = pl.from_pandas(tune_trips().iloc[:300])
    together = model(family).pipeline.predict(tune_trips().iloc[:300])
    apart = pl.concat([model(family).answers(part) for part in trips.iter_slices(7)])
    assert apart["predicted_minutes"].to_list() == together.tolist()


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
def test_a_row_that_cannot_be_scored_comes_out_with_its_reason_and_the_rest_is_scored(
    predict, tmp_path, name
):
    rows = [GOOD | {"mine": "a"} for _ in range(7)]
    rows[1] |= {"PULocationID": 300, "trip_distance": -1.0}
    rows[5] |= {"trip_distance": None}
    summary = predict(write(tmp_path / name, rows))
    answers = rows_of(tmp_path / "answers.jsonl")
    assert [answer["mine"] for answer in answers] == ["a"] * 7
    refused = [number for number, answer in enumerate(answers) if "reason" in answer]
    assert refused == [1, 5]
    assert "PULocationID must be a zone number from 1 to 265, not 300" in answers[1]["reason"]
    assert answers[5]["reason"].startswith("trip_distance is missing")
    assert [answer["predicted_minutes"] is None for answer in answers] == [
        number in refused for number in range(7)
    ]
    assert answers[1]["model_version"] is None
    assert (summary.scored, summary.refused) == (5, 2)
    assert summary.reasons == {"PULocationID": 1, "trip_distance": 2}


def test_the_requests_own_columns_keep_their_types_in_parquet(predict, tmp_path):
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
def test_a_column_of_any_kind_is_kept_and_refused_as_a_time(predict, tmp_path, own, out):
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
    assert (summary.rows, summary.refused) == (2, 2 - own.null_count)


def test_times_in_lists_that_json_cannot_hold_are_an_error_that_names_the_column(predict, tmp_path):
    nested = pa.array([[2**63 - 1], None], pa.list_(pa.timestamp("us")))
    columns = {name: pa.array([value] * 2) for name, value in GOOD.items()}
    pq.write_table(pa.table(columns | {"nested": nested}), tmp_path / "in.parquet")
    with pytest.raises(RequestFileError, match=r"the column nested holds times.*\.parquet"):
        predict(tmp_path / "in.parquet")
    assert predict(tmp_path / "in.parquet", "out.parquet").scored == 2


def test_json_lines_keep_fields_of_any_kind_and_broken_lines_keep_their_place(predict, tmp_path):
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
    assert answers[1]["reason"] == "line 2 is no JSON object"
    assert answers[2]["reason"] == "line 4 is no JSON object"
    assert answers[3]["other"] == "é\ud800"
    assert [answer.get("reason") is None for answer in answers] == [True] + [False] * 6 + [True]
    assert summary.reasons["row"] == 4


def test_a_csv_row_of_another_width_is_refused_and_quoted_fields_are_kept(predict, tmp_path):
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
    assert answers[1]["reason"] == "the row has 2 fields, and the header 4"
    assert answers[2]["reason"] == "the row has 5 fields, and the header 4"


def test_a_model_without_intervals_gives_minutes_without_bounds(predict, tmp_path):
    source = write(tmp_path / "in.jsonl", [GOOD])
    predict(source, "out.parquet", by=model("linear_regression", intervals=False))
    (answer,) = rows_of(tmp_path / "out.parquet")
    assert answer["predicted_minutes"] > 0
    assert answer["lower_minutes"] is answer["upper_minutes"] is None


def test_requests_without_a_time_are_all_asked_for_the_same_moment(predict, tmp_path):
    write(tmp_path / "in.jsonl", [GOOD] * 7)
    write(tmp_path / "at.jsonl", [GOOD | {"pickup_datetime": NOW.isoformat()}] * 7)
    predict(tmp_path / "in.jsonl", "none.jsonl")
    predict(tmp_path / "at.jsonl", "told.jsonl")
    none, told = (
        [row["predicted_minutes"] for row in rows_of(tmp_path / name)]
        for name in ("none.jsonl", "told.jsonl")
    )
    assert none == told


FULL = "PULocationID,DOLocationID,trip_distance"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("in.csv", b"", "lacks the column PULocationID, DOLocationID, trip_distance"),
        ("in.csv", f"{FULL}\n".encode(), "holds no requests"),
        ("in.csv", b"PULocationID,miles\n1,2\n", "lacks the column DOLocationID, trip_distance"),
        ("in.csv", f"{FULL},a,a\n1,2,3,4,5\n".encode(), "more than one column 'a'"),
        ("in.csv", f"{FULL},reason\n1,2,3,4\n".encode(), "have a column reason of their own"),
        ("in.csv", f"{FULL},note\n1,2,3,caf\xe9\n".encode("latin-1"), "is not UTF-8 text"),
        ("in.csv", f"{FULL}\n{'1' * 200_000},2,3\n".encode(), "cannot be read: field larger"),
        ("in.jsonl", b"", "holds no requests"),
        ("in.jsonl", b" " * 1_000_001, "line 1 of"),
        ("in.jsonl", json.dumps(GOOD | {"predicted_minutes": 1}).encode(), "predicted_minutes of"),
        ("in.parquet", b"PAR1 no such thing", "cannot be read"),
        ("in.xlsx", b"PK", "must end with one of .parquet, .csv, .jsonl"),
    ],
)
def test_a_file_that_cannot_be_answered_is_an_error_in_a_line_and_leaves_nothing(
    predict, tmp_path, name, content, told
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestFileError, match=told) as error:
        predict(tmp_path / name)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_one_line_that_names_the_cause_and_leaves_nothing(
    predict, tmp_path, name
):
    source, content, told = MALFORMED[name]
    (tmp_path / source).write_bytes(content())
    with pytest.raises(RequestFileError) as error:
        predict(tmp_path / source, "out.csv")
    assert told in str(error.value)
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [source]


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
@pytest.mark.parametrize("out", ["out.parquet", "out.csv", "out.jsonl"])
def test_bytes_changed_at_random_are_answered_or_refused_in_a_line(predict, tmp_path, name, out):
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


PUBLISHED = {
    "green": "VendorID lpep_pickup_datetime lpep_dropoff_datetime store_and_fwd_flag RatecodeID "
    "PULocationID DOLocationID passenger_count trip_distance fare_amount extra mta_tax tip_amount "
    "tolls_amount ehail_fee improvement_surcharge total_amount payment_type trip_type "
    "congestion_surcharge cbd_congestion_fee",
    "yellow": "VendorID tpep_pickup_datetime tpep_dropoff_datetime passenger_count trip_distance "
    "RatecodeID store_and_fwd_flag PULocationID DOLocationID payment_type fare_amount extra "
    "mta_tax tip_amount tolls_amount improvement_surcharge total_amount congestion_surcharge "
    "Airport_fee cbd_congestion_fee",
}


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
@pytest.mark.parametrize("taxi", PUBLISHED)
def test_a_published_month_is_predicted_at_its_own_pick_up_times(predict, tmp_path, taxi, name):
    trips, rows = some_trips(200)
    published = [
        dict.fromkeys(PUBLISHED[taxi].split(), 1)
        | {column: value for column, value in row.items() if column != "pickup_datetime"}
        | {f"{'lpep' if taxi == 'green' else 'tpep'}_pickup_datetime": row["pickup_datetime"]}
        for row in rows
    ]
    summary = predict(write(tmp_path / name, published), "out.csv", chunk_rows=64)
    assert (summary.scored, summary.without_pickup_time) == (200, 0)
    answers = rows_of(tmp_path / "out.csv")
    assert [float(answer["predicted_minutes"]) for answer in answers] == model().pipeline.predict(
        trips
    ).tolist()
    assert set(PUBLISHED[taxi].split()) < {*answers[0]}
    assert "pickup_datetime" not in answers[0]
    again = predict(tmp_path / "in.csv", "out.csv", overwrite=True) if name == "in.csv" else summary
    assert again.scored == 200


def test_real_published_months_are_predicted_as_they_are(predict, tmp_path, real_trips):
    for month in sorted(real_trips.glob("green_tripdata_2023-0*.parquet")):
        request_files.require_readable(month)
    trips = pl.read_parquet(real_trips / "green_tripdata_2023-04.parquet").head(2000)
    trips.write_parquet(tmp_path / "in.parquet")
    trips.cast({"passenger_count": pl.Int64}).write_csv(tmp_path / "in.csv")
    renamed = trips.rename({"lpep_pickup_datetime": "pickup_datetime"})
    renamed.select(REQUEST_COLUMNS).write_parquet(tmp_path / "renamed.parquet")
    minutes = []
    for name in ("in.parquet", "in.csv", "renamed.parquet"):
        summary = predict(tmp_path / name, f"{name}.parquet", chunk_rows=1000)
        assert summary.without_pickup_time == 0
        assert summary.scored > 1990
        minutes.append(pl.read_parquet(tmp_path / f"{name}.parquet")["predicted_minutes"])
    assert minutes[0].equals(minutes[1]) and minutes[0].equals(minutes[2])
    assert pl.read_parquet(tmp_path / "in.parquet.parquet", columns=trips.columns).equals(trips)


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
def test_columns_in_other_letter_case_are_the_fields(predict, tmp_path, name):
    rows = some_trips(20)[1]
    predict(write(tmp_path / name, rows))
    upper = [{column.upper(): value for column, value in row.items()} for row in rows]
    predict(write(tmp_path / f"upper{name}", upper), "upper.jsonl")
    plain, other = (rows_of(tmp_path / out) for out in ("answers.jsonl", "upper.jsonl"))
    assert [row["predicted_minutes"] for row in other] == [
        row["predicted_minutes"] for row in plain
    ]
    assert [row["PICKUP_DATETIME"] for row in other] == [row["pickup_datetime"] for row in plain]


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
def test_a_column_that_looks_like_a_field_is_kept_where_it_is_to_be_ignored(
    predict, tmp_path, name
):
    rows = [GOOD | {"pickup_time": "noon", "passengers": 2}] * 3
    source = write(tmp_path / name, rows)
    with pytest.raises(RequestFileError, match="--ignore-column 'pickup_time' --ignore-column"):
        predict(source)
    summary = predict(source, ignored=["pickup_time", "passengers"])
    assert (summary.scored, summary.without_pickup_time) == (3, 3)
    assert [row["pickup_time"] for row in rows_of(tmp_path / "answers.jsonl")] == ["noon"] * 3


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
def test_of_two_names_of_a_field_one_may_be_ignored(predict, tmp_path, name):
    times = {"pickup_datetime": "2024-05-06T17:30", "lpep_pickup_datetime": "2024-05-06T03:30"}
    source = write(tmp_path / name, [GOOD | times])
    for ignored, other in (tuple(times), tuple(reversed(times))):
        predict(source, f"{ignored}.jsonl", ignored=[ignored])
        alone = write(tmp_path / "alone.jsonl", [GOOD | {"pickup_datetime": times[other]}])
        predict(alone, "expected.jsonl", overwrite=True)
        found, expected = (
            rows_of(tmp_path / f"{out}.jsonl")[0]["predicted_minutes"]
            for out in (ignored, "expected")
        )
        assert found == expected


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
def test_a_column_to_ignore_that_is_not_there_is_an_error(predict, tmp_path, name):
    source = write(tmp_path / name, [GOOD | {"note": "a"}])
    told = "no column 'noet', as --ignore-column says; it has 'note'$"
    with pytest.raises(RequestFileError, match=told):
        predict(source, ignored=["noet"])
    with pytest.raises(RequestFileError, match="lacks the column PULocationID; it has 'DOLoc"):
        predict(write(tmp_path / "in.csv", [GOOD]), ignored=["PULocationID"])
    assert not (tmp_path / "answers.jsonl").exists()


def test_rows_without_a_pick_up_time_are_counted_among_the_scored(predict, tmp_path):
    rows = [GOOD, GOOD | {"pickup_datetime": ""}, GOOD | {"pickup_datetime": "2024-05-06T17:30"}]
    summary = predict(write(tmp_path / "in.jsonl", [*rows, {**GOOD, "PULocationID": 0}]))
    assert (summary.rows, summary.scored, summary.without_pickup_time) == (4, 3, 2)
    assert summary.scored_as_of == datetime(2024, 5, 6, 8, 0)


@pytest.mark.parametrize(("lines", "length"), [(300, 20_000), (2_000, 100)])
def test_of_lines_whose_keys_always_differ_a_bounded_part_is_remembered(monkeypatch, lines, length):
    monkeypatch.setattr(request_names, "_MAX_REMEMBERED", 100)
    fields = request_names.JsonFields("in.jsonl", ["own"])
    tracemalloc.start()
    for number in range(lines):
        row = GOOD | {f"note{number}{'x' * length}": 1, "PICKUP_DATETIME": NOW, "own": 2}
        assert fields.read(number, row) == GOOD | {"pickup_datetime": NOW}
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 300_000


def test_a_file_that_breaks_off_leaves_what_was_there_before(predict, tmp_path):
    whole = write(tmp_path / "whole.parquet", [GOOD] * 50_000).read_bytes()
    half = len(whole) // 2
    broken = whole[:200] + b"\x00" * (half - 200) + whole[half:]
    (tmp_path / "in.parquet").write_bytes(broken)
    (tmp_path / "answers.jsonl").write_text("before")
    with pytest.raises(RequestFileError, match="in.parquet cannot be read"):
        predict(tmp_path / "in.parquet", overwrite=True, chunk_rows=1000)
    assert (tmp_path / "answers.jsonl").read_text() == "before"
    assert not list(tmp_path.glob(".*"))


def test_answers_that_are_there_are_replaced_only_when_told_so(predict, tmp_path):
    source = write(tmp_path / "in.jsonl", [GOOD])
    predict(source)
    first = (tmp_path / "answers.jsonl").read_text()
    with pytest.raises(RequestFileError, match="is there already: name another file, or"):
        predict(source)
    assert (tmp_path / "answers.jsonl").read_text() == first
    predict(write(tmp_path / "in.jsonl", [GOOD] * 2), overwrite=True)
    assert len(rows_of(tmp_path / "answers.jsonl")) == 2


def test_a_file_of_answers_that_cannot_be_written_is_named(predict, tmp_path):
    source = write(tmp_path / "in.jsonl", [GOOD])
    with pytest.raises(RequestFileError, match="is no folder: make it first"):
        predict(source, "absent/answers.jsonl")
    with pytest.raises(RequestFileError, match="cannot be read: No such file"):
        predict(tmp_path / "absent.csv")


def test_a_later_json_field_without_a_column_is_an_error_that_names_the_way_out(predict, tmp_path):
    source = write(tmp_path / "in.jsonl", [GOOD] * 3 + [GOOD | {"late": 1}])
    with pytest.raises(RequestFileError, match=r"'late'.*ends with .jsonl"):
        predict(source, "out.parquet")


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_memory_does_not_grow_with_the_length_of_the_file(predict, tmp_path, name):
    def peak(rows):
        source = write(tmp_path / name, [GOOD | {"note": "x" * 100}] * rows)
        tracemalloc.start()
        predict(source, f"{rows}.jsonl", chunk_rows=500)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(500)  # what is loaded once
    assert peak(10_000) < 1.5 * peak(1000)


def test_progress_ends_at_the_whole_file(predict, tmp_path):
    for name in ("in.parquet", "in.csv", "in.jsonl"):
        told = []
        predict(
            write(tmp_path / name, [GOOD] * 10),
            f"{name}.jsonl",
            progress=lambda done, total, told=told: told.append((done, total)),
        )
        assert len(told) == 4
        assert told[-1][0] == told[-1][1] > 0
