"""What the service answered is measured by day, and its requests against the champion's trips."""

from datetime import date, timedelta

import polars as pl
import pytest

from ml_assets.monitoring.drift.records import DRIFT_LIMIT
from ml_assets.monitoring.online import measure as online
from ml_assets.monitoring.online.distance_outliers import ExpectedMiles
from ml_assets.monitoring.online.measure import measure_online
from ml_assets.monitoring.online.records import (
    LOST_DAYS,
    NOTHING_SERVED,
    WINDOW_DAYS,
    OnlineRecord,
    online_finding,
    online_sentence,
)
from ml_assets.reporting.monitoring_charts import online_days
from ml_assets.serving.request_log.files import day_file
from ml_assets.serving.request_log.reader import read_pieces
from ml_assets.trips.quality import Verdict
from ml_assets_tests.monitoring.online.served_requests import serve
from ml_assets_tests.monitoring.watched_months import (
    FITTED_ON,
    PLANTED,
    SHIFTED,
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
    for month in FITTED_ON:
        put(store, month)
    return store


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """A month with each of the planted shifts."""
    store = store_at(tmp_path_factory.mktemp("shifted"))
    return {name: put(store, "2023-04", fault) for name, fault in PLANTED.items()}


def measured(store, folder, earlier=None, today=TODAY, **champion):
    return measure_online(folder, store, champion_of(store, **champion), "", earlier, today)


def test_before_anything_was_served_it_says_so_and_judges_nothing(store, tmp_path):
    record = measured(store, tmp_path / "request_log")
    assert record.status == "nothing_served"
    assert online_sentence(record) == NOTHING_SERVED
    assert online_finding(record).verdict == Verdict.SKIP
    assert online_days(record) is None


def test_days_and_versions_have_their_answers_minutes_and_latency(store, tmp_path):
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


def test_requests_like_the_champions_trips_are_fine(store, tmp_path):
    serve(tmp_path, TODAY, kept_sample("2023-04"))
    record = measured(store, tmp_path)
    found = online_finding(record)
    assert found.verdict == Verdict.PASS
    assert found.value < DRIFT_LIMIT
    assert record.drift.left_out == {}
    assert record.drift.trips_no_distance == pytest.approx(record.drift.no_distance, abs=0.02)
    assert record.drift.trips_far_off == pytest.approx(record.drift.far_off, abs=0.02)


@pytest.mark.parametrize("shift", PLANTED)
def test_requests_with_a_planted_shift_are_odd_and_the_feature_is_named(
    store, tmp_path, shifted, shift
):
    serve(tmp_path, TODAY, shifted[shift])
    found = online_finding(measured(store, tmp_path))
    assert found.verdict == Verdict.WARN
    assert f"{SHIFTED[shift]} by " in found.sentence
    assert "version 1 was fitted on" in found.sentence


def test_kilometres_and_missing_distances_show_among_the_odd_ones(store, tmp_path):
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


def test_a_distance_is_far_off_beyond_three_times_the_usual_of_its_pair():
    pairs = pl.DataFrame(
        {"PULocationID": [10, 20] * 200, "DOLocationID": [20, 10] * 200, "trip_distance": 4.0}
    )
    usual = ExpectedMiles(pairs)
    for miles, far in ((1.2, 1), (1.5, 0), (4.0, 0), (11.0, 0), (13.0, 1), (70.0, 0), (0.0, 0)):
        counted = usual.count(pairs.head(1).with_columns(trip_distance=pl.lit(miles)))
        assert (counted.far_off, counted.none) == (far, int(miles in (0.0, 70.0)))


def test_hours_are_not_judged_before_there_is_a_request_for_each_weekday(store, tmp_path):
    mondays = kept_sample("2023-04").filter(pl.col("pickup_datetime").dt.weekday() == 1)
    serve(tmp_path, TODAY, mondays)
    record = measured(store, tmp_path)
    assert record.drift.left_out == {"hour_of_week": "requests are for 1 of 7 weekdays so far"}
    assert "hour_of_week" not in record.drift.psi
    assert online_finding(record).verdict == Verdict.PASS


def test_few_requests_tell_nothing_of_drift(store, tmp_path):
    serve(tmp_path, TODAY, kept_sample("2023-04").head(99))
    record = measured(store, tmp_path)
    assert record.drift is None
    assert online_finding(record).verdict == Verdict.SKIP
    assert "99 requests since" in online_sentence(record)


def test_without_a_champion_days_are_measured_and_it_says_why_drift_is_not(store, tmp_path):
    serve(tmp_path, TODAY, kept_sample("2023-04").head(200))
    record = measure_online(tmp_path, store, None, "nothing serves yet", None, TODAY)
    assert record.days[0].answers == record.window_answers == 200
    assert online_finding(record).sentence == "nothing serves yet"
    gone = measured(store, tmp_path, fitted_on=("2021-01",))
    assert "bring them again" in online_finding(gone).sentence


def test_lost_answers_and_unreadable_lines_are_warned_of_for_a_week(store, tmp_path):
    trips = kept_sample("2023-04")
    log = serve(tmp_path, TODAY, trips.head(90), calls=3, capacity=60)
    assert (log.written, log.lost) == (60, 30)
    with open(day_file(tmp_path, TODAY, log.writer), "ab") as file:
        file.write(b'{"request_id": "torn"\n')
    record = measured(store, tmp_path)
    found = online_finding(record)
    assert found.verdict == Verdict.WARN
    assert "30 answers since 2026-11-19" in found.sentence
    assert "1 lines of the request log" in found.sentence
    later = measured(store, tmp_path, today=TODAY + timedelta(days=LOST_DAYS))
    assert online_finding(later).verdict == Verdict.SKIP
    assert later.faults_since("").lost == 30


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


def test_days_that_nobody_has_measured_are_read_however_old(store, tmp_path):
    trips = kept_sample("2023-04")
    serve(tmp_path, LONG_AGO - timedelta(days=9), trips.head(7))
    first = measured(store, tmp_path)
    serve(tmp_path, LONG_AGO, trips.head(3))
    second = measured(store, tmp_path, first)
    assert [day.answers for day in second.days] == [7, 3]


def test_whole_days_are_kept_however_many_versions_answered(store, tmp_path, monkeypatch):
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


def test_a_day_whose_log_is_empty_is_read_once(store, tmp_path, monkeypatch):
    tmp_path.joinpath(f"{LONG_AGO}_w.jsonl").touch()
    serve(tmp_path, TODAY, kept_sample("2023-04").head(2))
    record = measured(store, tmp_path)
    assert record.empty == [str(LONG_AGO)]
    assert first_read(monkeypatch, store, tmp_path, record) == WINDOW_FROM


def first_read(monkeypatch, store, folder, earlier):
    """The first day that a further measurement reads from the log."""
    asked = []

    def reading(folder, first):
        asked.append(first)
        return read_pieces(folder, first)

    monkeypatch.setattr(online, "read_pieces", reading)
    assert measured(store, folder, earlier).days == earlier.days
    return asked[0]


def test_a_record_survives_its_file_and_is_drawn(store, tmp_path):
    serve(tmp_path, TODAY, kept_sample("2023-04"), calls=5)
    record = measured(store, tmp_path)
    assert OnlineRecord.model_validate_json(record.model_dump_json()) == record
    assert online_days(record).startswith(b"\x89PNG")
