"""Columns of a file that are request fields, and columns that are not."""

import tracemalloc
from datetime import datetime

import polars as pl
import pytest

from ml_assets.requests import column_names, request_files
from ml_assets.requests.column_names import RequestFileError
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.requests.batch_files import GOOD, NOW, model, rows_of, some_trips, write

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
def test_a_published_month_is_predicted_for_its_own_pickup_times(predict, tmp_path, taxi, name):
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


def test_real_published_months_can_be_predicted_directly(predict, tmp_path, real_trips):
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
def test_columns_match_in_any_letter_case(predict, tmp_path, name):
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
def test_an_ignored_column_that_looks_like_a_field_is_kept(predict, tmp_path, name):
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
def test_a_missing_ignored_column_raises(predict, tmp_path, name):
    source = write(tmp_path / name, [GOOD | {"note": "a"}])
    message = "no column 'noet' for --ignore-column; it has 'note'$"
    with pytest.raises(RequestFileError, match=message):
        predict(source, ignored=["noet"])
    with pytest.raises(RequestFileError, match="lacks the column PULocationID; it has 'DOLoc"):
        predict(write(tmp_path / "in.csv", [GOOD]), ignored=["PULocationID"])
    assert not (tmp_path / "answers.jsonl").exists()


def test_rows_without_a_pickup_time_are_counted(predict, tmp_path):
    rows = [GOOD, GOOD | {"pickup_datetime": ""}, GOOD | {"pickup_datetime": "2024-05-06T17:30"}]
    summary = predict(write(tmp_path / "in.jsonl", [*rows, {**GOOD, "PULocationID": 0}]))
    assert (summary.rows, summary.scored, summary.without_pickup_time) == (4, 3, 2)
    assert summary.scored_as_of == datetime(2024, 5, 6, 8, 0)


@pytest.mark.parametrize(("lines", "length"), [(300, 20_000), (2_000, 100)])
def test_the_cache_of_keys_is_bounded(monkeypatch, lines, length):
    monkeypatch.setattr(column_names, "_MAX_CACHED", 100)
    fields = column_names.JsonFields("in.jsonl", ["own"])
    tracemalloc.start()
    for number in range(lines):
        row = GOOD | {f"note{number}{'x' * length}": 1, "PICKUP_DATETIME": NOW, "own": 2}
        assert fields.read(number, row) == GOOD | {"pickup_datetime": NOW}
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 300_000
