"""The request log is measured by day, and its requests against the champion's training months."""

from datetime import date, timedelta

import polars as pl
import pytest

from ml_assets.monitoring.drift.records import DRIFT_LIMIT
from ml_assets.monitoring.online import measure as online
from ml_assets.monitoring.online.measure import ExpectedMiles, measure_online
from ml_assets.monitoring.online.records import (
    DROPPED_DAYS,
    NOTHING_SERVED,
    WINDOW_DAYS,
    OnlineRecord,
    online_finding,
    request_log_summary,
)
from ml_assets.reporting.monthly_charts import online_days
from ml_assets.serving.request_log.files import day_file
from ml_assets.serving.request_log.reader import read_chunks
from ml_assets.trips.quality.finding import Verdict
from ml_assets_tests.monitoring.online.served_requests import serve
from ml_assets_tests.monitoring.watched_months import (
    PLANTED,
    SHIFTED,
    TRAINING_MONTHS,
    champion_of,
    kept_sample,
    put,
    store_at,
)

TODAY = date(2026, 11, 25)
YESTERDAY = TODAY - timedelta(days=1)
WINDOW_FROM = TODAY - timedelta(days=WINDOW_DAYS - 1)
LONG_AGO = TODAY - timedelta(days=WINDOW_DAYS)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = store_at(tmp_path_factory.mktemp("months"))
    for month in TRAINING_MONTHS:
        put(store, month)
    return store


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """A month with each of the planted shifts."""
    store = store_at(tmp_path_factory.mktemp("shifted"))
    return {name: put(store, "2023-04", fault) for name, fault in PLANTED.items()}


def measured(store, folder, earlier=None, today=TODAY, **champion):
    return measure_online(folder, store, champion_of(store, **champion), "", earlier, today)


def test_without_served_predictions_the_check_is_skipped(store, tmp_path):
    record = measured(store, tmp_path / "request_log")
    assert record.status == "nothing_served"
    assert request_log_summary(record) == NOTHING_SERVED
    assert online_finding(record).verdict == Verdict.SKIP
    assert online_days(record) is None


def test_predictions_minutes_and_latency_by_day_and_version(store, tmp_path):
    trips = kept_sample("2023-04")
    serve(tmp_path, YESTERDAY, trips.head(30), minutes=8.0, calls=3)
    serve(tmp_path, TODAY, trips.head(100), calls=100, milliseconds=1.0)
    serve(tmp_path, TODAY, trips.head(50), version="2", minutes=20.0, milliseconds=50.0)
    serve(tmp_path, TODAY, trips.head(4), minutes=36.0, calls=4, milliseconds=300.0)
    found = {(day.day, day.version): day for day in measured(store, tmp_path).days}
    first, second, third = found.values()
    assert [*found] == [(str(YESTERDAY), "1"), (str(TODAY), "1"), (str(TODAY), "2")]
    assert (first.answers, first.requests, first.mean_minutes) == (30, 3, 8.0)
    assert (second.answers, second.requests, second.mean_minutes) == (104, 104, 11.0)
    assert (second.p50_milliseconds, second.p99_milliseconds) == (1.0, 300.0)
    assert (third.answers, third.requests, third.p50_milliseconds) == (50, 1, 50.0)


def test_requests_like_the_training_months_pass(store, tmp_path):
    serve(tmp_path, TODAY, kept_sample("2023-04"))
    record = measured(store, tmp_path)
    found = online_finding(record)
    assert found.verdict == Verdict.PASS
    assert found.value < DRIFT_LIMIT
    assert record.drift.left_out == {}
    assert record.drift.trips_no_distance == pytest.approx(record.drift.no_distance, abs=0.02)
    assert record.drift.trips_far_off == pytest.approx(record.drift.far_off, abs=0.02)


@pytest.mark.parametrize("shift", PLANTED)
def test_requests_with_a_planted_shift_warn_and_name_the_feature(store, tmp_path, shifted, shift):
    serve(tmp_path, TODAY, shifted[shift])
    found = online_finding(measured(store, tmp_path))
    assert found.verdict == Verdict.WARN
    assert f"{SHIFTED[shift]} by " in found.sentence
    assert "the training months of version 1" in found.sentence


def test_kilometres_and_missing_distances_count_as_outliers(store, tmp_path):
    trips = kept_sample("2023-04").with_columns(
        trip_distance=pl.when(pl.int_range(pl.len()) % 2 == 0)
        .then(0.0)
        .otherwise(pl.col("trip_distance") * 30)
    )
    serve(tmp_path, TODAY, trips)
    drift = measured(store, tmp_path).drift
    assert drift.no_distance + drift.far_off > 0.95
    assert drift.no_distance >= 0.5
    assert drift.trips_no_distance + drift.trips_far_off < 0.2


def test_the_share_of_stated_distances_is_that_of_four_weeks(store, tmp_path):
    trips = kept_sample("2023-04").filter(pl.col("trip_distance").is_between(0.05, 60)).head(400)
    assert measured(store, tmp_path / "none").stated_share is None
    serve(tmp_path, LONG_AGO, trips.head(50))
    serve(tmp_path, TODAY, trips.head(300).with_columns(trip_distance=None))
    serve(tmp_path, TODAY, trips.tail(100))
    record = measured(store, tmp_path)
    assert record.stated_share == 0.25
    assert [day.stated for day in record.days] == [50, 100]
    assert "25% of them for a stated distance" in request_log_summary(record)
    earlier = {key: value for key, value in record.model_dump().items() if key != "window_stated"}
    for day in earlier["days"]:
        del day["stated"]
    former = OnlineRecord.model_validate(earlier)
    assert former.stated_share is None
    again = measured(store, tmp_path, former)
    assert ([day.stated for day in again.days], again.stated_share) == ([None, 100], 0.25)


def test_requests_that_leave_the_distance_out_are_no_drift_of_it(store, tmp_path):
    trips = kept_sample("2023-04")
    half = pl.when(pl.int_range(pl.len()) % 2 == 0).then("trip_distance")
    serve(tmp_path / "half", TODAY, trips.with_columns(trip_distance=half))
    found = online_finding(measured(store, tmp_path / "half"))
    assert found.verdict == Verdict.PASS
    serve(tmp_path / "none", TODAY, trips.with_columns(trip_distance=None))
    drift = measured(store, tmp_path / "none").drift
    assert drift.left_out == {"trip_distance": f"0 of {trips.height} requests have a distance"}
    assert "trip_distance" not in drift.psi
    assert drift.no_distance == 1.0


def test_a_distance_over_three_times_the_expected_one_is_an_outlier():
    pairs = pl.DataFrame(
        {"PULocationID": [10, 20] * 200, "DOLocationID": [20, 10] * 200, "trip_distance": 4.0}
    )
    expected = ExpectedMiles(pairs)
    for miles, far in ((1.2, 1), (1.5, 0), (4.0, 0), (11.0, 0), (13.0, 1), (70.0, 0), (0.0, 0)):
        counted = expected.count(pairs.head(1).with_columns(trip_distance=pl.lit(miles)))
        assert (counted.outliers, counted.missing) == (far, int(miles in (0.0, 70.0)))


def test_hour_drift_needs_requests_on_every_weekday(store, tmp_path):
    mondays = kept_sample("2023-04").filter(pl.col("pickup_datetime").dt.weekday() == 1)
    serve(tmp_path, TODAY, mondays)
    record = measured(store, tmp_path)
    assert record.drift.left_out == {"hour_of_week": "requests are for 1 of 7 weekdays so far"}
    assert "hour_of_week" not in record.drift.psi
    assert online_finding(record).verdict == Verdict.PASS


def test_few_requests_are_not_enough_to_measure_drift(store, tmp_path):
    serve(tmp_path, TODAY, kept_sample("2023-04").head(99))
    record = measured(store, tmp_path)
    assert record.drift is None
    assert online_finding(record).verdict == Verdict.SKIP
    assert "99 requests since" in request_log_summary(record)


def test_without_a_champion_days_are_measured_but_drift_is_not(store, tmp_path):
    serve(tmp_path, TODAY, kept_sample("2023-04").head(200))
    record = measure_online(tmp_path, store, None, "there is no champion yet", None, TODAY)
    assert record.days[0].answers == record.window_answers == 200
    assert online_finding(record).sentence == "there is no champion yet"
    gone = measured(store, tmp_path, training_months=("2021-01",))
    assert "ingest them again" in online_finding(gone).sentence


def test_dropped_predictions_and_unreadable_lines_warn_for_a_week(store, tmp_path):
    trips = kept_sample("2023-04")
    log = serve(tmp_path, TODAY, trips.head(90), calls=3, capacity=60)
    assert (log.written, log.dropped) == (60, 30)
    with open(day_file(tmp_path, TODAY, log.writer), "ab") as file:
        file.write(b'{"request_id": "torn"\n')
    record = measured(store, tmp_path)
    found = online_finding(record)
    assert found.verdict == Verdict.WARN
    assert "30 predictions since 2026-11-19" in found.sentence
    assert "1 lines of the request log" in found.sentence
    later = measured(store, tmp_path, today=TODAY + timedelta(days=DROPPED_DAYS))
    assert online_finding(later).verdict == Verdict.SKIP
    assert later.faults_since("").dropped == 30


def test_days_before_the_window_are_kept_and_not_read_again(store, tmp_path):
    trips = kept_sample("2023-04")
    serve(tmp_path, LONG_AGO, trips.head(10))
    serve(tmp_path, TODAY, trips.head(20))
    first = measured(store, tmp_path)
    assert [day.answers for day in first.days] == [10, 20]
    assert first.window_answers == 20
    for path in tmp_path.glob(f"{LONG_AGO}*"):
        path.unlink()
    serve(tmp_path, TODAY, trips.head(5))
    second = measured(store, tmp_path, first)
    assert [day.answers for day in second.days] == [10, 25]
    assert measured(store, tmp_path, second).days == second.days


def test_unmeasured_days_are_read_however_old(store, tmp_path):
    trips = kept_sample("2023-04")
    serve(tmp_path, LONG_AGO - timedelta(days=9), trips.head(7))
    first = measured(store, tmp_path)
    serve(tmp_path, LONG_AGO, trips.head(3))
    second = measured(store, tmp_path, first)
    assert [day.answers for day in second.days] == [7, 3]


def test_the_newest_days_are_kept_for_all_versions(store, tmp_path, monkeypatch):
    monkeypatch.setattr(online, "MAX_DAYS", 3)
    trips = kept_sample("2023-04").head(2)
    days = [LONG_AGO - timedelta(days=back) for back in (3, 2, 1, 0)]
    for day in days:
        serve(tmp_path, day, trips)
        serve(tmp_path, day, trips, version="2")
    record = measured(store, tmp_path)
    kept = [str(day) for day in days[1:] for _ in range(2)]
    assert [entry.day for entry in record.days] == kept
    assert first_read(monkeypatch, store, tmp_path, record) == WINDOW_FROM


def test_a_day_with_an_empty_log_is_read_once(store, tmp_path, monkeypatch):
    tmp_path.joinpath(f"{LONG_AGO}_w.jsonl").touch()
    serve(tmp_path, TODAY, kept_sample("2023-04").head(2))
    record = measured(store, tmp_path)
    assert record.empty == [str(LONG_AGO)]
    assert first_read(monkeypatch, store, tmp_path, record) == WINDOW_FROM


def first_read(monkeypatch, store, folder, earlier):
    """The first day that a further measurement reads from the log."""
    read = []

    def recording(folder, first):
        read.append(first)
        return read_chunks(folder, first)

    monkeypatch.setattr(online, "read_chunks", recording)
    assert measured(store, folder, earlier).days == earlier.days
    return read[0]


def test_a_record_survives_serialization_and_is_drawn(store, tmp_path):
    serve(tmp_path, TODAY, kept_sample("2023-04"), calls=5)
    record = measured(store, tmp_path)
    assert OnlineRecord.model_validate_json(record.model_dump_json()) == record
    assert online_days(record).startswith(b"\x89PNG")
