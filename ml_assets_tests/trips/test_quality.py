"""Data-quality rules find planted faults and pass unmodified months."""

from functools import cache
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.trips.cleaning import kept_trips, normalise, read_published, rejected_trips
from ml_assets.trips.month import Month, months_between
from ml_assets.trips.quality.finding import Finding, Verdict, ratio_band, share_band
from ml_assets.trips.quality.month_rejection import RULES, history_before, rejection_reasons
from ml_assets.trips.quality.profile import MonthProfile, kept_figures
from ml_assets.trips.sample import generate_month
from ml_assets_tests.planted import FAULTS, sample_month

HISTORY = ("2023-01", "2023-02", "2023-03", "2023-04")
TESTED = "2023-05"


def profile(published: pl.DataFrame, month: str, columns: dict[str, str]) -> MonthProfile:
    """The profile of a month, from rows with the project's column names."""
    kept = kept_trips(published, Month.parse(month))
    rejected = rejected_trips(published, Month.parse(month))
    return MonthProfile(
        month=month,
        raw_sha256=f"checksum of {month}",
        published=published.height,
        published_columns=columns,
        columns=kept.columns,
        contract_fault=None,
        kept=kept.height,
        rejected=dict(rejected["reason"].value_counts().iter_rows()),
        figures=kept_figures(kept, Month.parse(month)),
    )


def profile_of_file(frame: pl.DataFrame, month: str) -> MonthProfile:
    types = {field.name.lower(): str(field.type) for field in frame.to_arrow().schema}
    return profile(normalise(frame, "green"), month, types)


@cache
def history() -> list[MonthProfile]:
    return [profile_of_file(sample_month(month), month) for month in HISTORY]


def findings(month: MonthProfile, earlier: list[MonthProfile]) -> dict[str, Finding]:
    return {rule.name: rule.check(month, earlier) for rule in RULES}


def findings_with(fault: str) -> dict[str, Finding]:
    return findings(profile_of_file(FAULTS[fault](sample_month(TESTED)), TESTED), history())


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("40 % of the rows repeated", "duplicate_rate"),
        ("all distances 0", "feature_distribution"),
        ("all durations within a minute", "target_distribution"),
        ("distance made from the duration", "no_leaky_columns"),
        ("one row in twenty", "row_count"),
        ("no rows", "row_count"),
        ("every row rejected", "row_count"),
        ("60 % under a minute", "rejection_rates"),
        ("zones renumbered", "unseen_zone_pairs"),
        ("times written as UTC", "no_time_shift"),
        ("times an hour late", "no_time_shift"),
        ("times half a day early", "no_time_shift"),
    ],
)
def test_a_month_that_would_harm_training_fails(fault, rule):
    found = findings_with(fault)[rule]
    assert found.verdict == Verdict.FAIL
    assert "exclude_months" in found.sentence
    assert found.value is not None


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("every second row missing", "row_count"),
        ("cut off after the 20th", "pickups_within_month"),
        ("kilometres for miles", "feature_distribution"),
        ("half as long again", "target_distribution"),
        ("no passengers counted", "feature_distribution"),
        ("10 % of another year", "pickups_within_month"),
        ("a tenth over an hour", "rejection_rates"),
        ("a column of another kind", "published_schema"),
        ("a column gone", "published_schema"),
        ("a column new", "published_schema"),
        ("a third of the times as UTC", "no_time_shift"),
    ],
)
def test_an_unusual_month_is_a_warning_and_used_for_training(fault, rule):
    found = findings_with(fault)
    assert found[rule].verdict == Verdict.WARN
    assert Verdict.FAIL not in {finding.verdict for finding in found.values()}


def test_every_planted_fault_is_tested():
    tested = [
        mark.args[1]
        for test in (
            test_a_month_that_would_harm_training_fails,
            test_an_unusual_month_is_a_warning_and_used_for_training,
        )
        for mark in test.pytestmark
    ]
    assert {fault for cases in tested for fault, _ in cases} == set(FAULTS)


def real_profile(folder: Path, month: str, hours: int = 0) -> MonthProfile:
    """The profile of a real month whose times are shifted by some hours."""
    file = folder / f"green_tripdata_{month}.parquet"
    rows = read_published(file, "green", Month.parse(month), file.name)
    times = pl.col("pickup_datetime", "dropoff_datetime").dt.offset_by(f"{hours}h")
    return profile(rows.with_columns(times), month, {})


@pytest.mark.parametrize("hours", [-5, -1, 1, 2, 4, 12])
def test_a_real_month_shifted_by_hours_fails_only_that_rule(real_trips, hours):
    earlier = [real_profile(real_trips, month) for month in HISTORY]
    found = findings(real_profile(real_trips, TESTED, hours), earlier)
    assert found["no_time_shift"].value == hours
    assert [name for name, rule in found.items() if rule.verdict == Verdict.FAIL] == [
        "no_time_shift"
    ]
    where = f"moved {abs(hours)} hour{'s' * (abs(hours) > 1)} {'earlier' if hours > 0 else 'later'}"
    assert where in found["no_time_shift"].sentence


def test_without_earlier_months_a_shift_is_found_by_the_quietest_hours():
    first = findings(history()[0], [])["no_time_shift"]
    assert first.verdict == Verdict.SKIP
    as_utc = profile_of_file(FAULTS["times written as UTC"](sample_month(TESTED)), TESTED)
    found = findings(as_utc, [])["no_time_shift"]
    assert found.verdict == Verdict.WARN
    assert "begin at 7:00" in found.sentence


def test_a_truncated_month_is_not_reported_as_shifted():
    cut = profile_of_file(FAULTS["cut off after the 20th"](sample_month(TESTED)), TESTED)
    assert findings(cut, history())["no_time_shift"].verdict == Verdict.PASS


def test_a_copy_of_another_month_fails_as_a_copy():
    copied = profile_of_file(sample_month("2023-04"), TESTED)
    copied = copied.model_copy(update={"raw_sha256": history()[-1].raw_sha256})
    found = findings(copied, history())
    assert found["duplicate_rate"].verdict == Verdict.FAIL
    assert "2023-04" in found["duplicate_rate"].sentence
    assert found["pickups_within_month"].verdict == Verdict.FAIL
    assert found["row_count"].verdict == Verdict.FAIL


def test_real_months_pass(real_trips):
    profiles = []
    for file in sorted(real_trips.glob("green_tripdata_*.parquet")):
        month = file.stem.removeprefix("green_tripdata_")
        types = {field.name.lower(): str(field.type) for field in pq.read_schema(file)}
        rows = read_published(file, "green", Month.parse(month), file.name)
        profiles.append(profile(rows, month, types))
    assert profiles
    warnings = {
        (month.month, name): finding.sentence
        for month in profiles
        for name, finding in findings(month, history_before(profiles, month.month)).items()
        if finding.verdict >= Verdict.WARN
    }
    assert warnings == {}


@pytest.mark.parametrize("taxi", ["green", "yellow"])
def test_sample_months_pass(taxi):
    profiles = []
    for month in months_between(Month(2024, 1), Month(2025, 2)):
        table = generate_month(month, taxi)
        types = {field.name.lower(): str(field.type) for field in table.schema}
        rows = normalise(pl.DataFrame(table), taxi)
        profiles.append(profile(rows, str(month), types))
    warnings = [
        (month.month, name)
        for month in profiles
        for name, finding in findings(month, history_before(profiles, month.month)).items()
        if finding.verdict >= Verdict.WARN
    ]
    assert warnings == [
        ("2025-01", "published_schema")
    ]  # the month in which cbd_congestion_fee was added


def test_the_first_months_pass_without_earlier_months():
    for number, month in enumerate(history()[:3]):
        found = findings(month, history()[:number])
        assert found["row_count"].verdict == Verdict.SKIP
        assert "too few earlier months" in found["row_count"].sentence
        assert max(finding.verdict for finding in found.values()) <= Verdict.SKIP


def test_kept_and_rejected_trips_that_do_not_add_up_fail():
    month = history()[0]
    lost = month.model_copy(update={"published": month.published + 1})
    assert findings(lost, [])["row_counts_reconcile"].verdict == Verdict.FAIL
    assert findings(month, [])["row_counts_reconcile"].verdict == Verdict.PASS


def test_a_leaked_column_fails_by_its_name():
    month = history()[0]
    leaked = month.model_copy(update={"columns": [*month.columns, "dropoff_datetime"]})
    assert rejection_reasons(month, []) == []
    assert any("dropoff_datetime" in sentence for sentence in rejection_reasons(leaked, []))


def test_rules_that_are_not_blocking_never_reject():
    month = history()[0].model_copy(update={"published_columns": {"other": "int64"}})
    assert findings(month, history())["published_schema"].verdict == Verdict.WARN
    assert rejection_reasons(month, []) == []


def test_a_month_is_compared_only_with_the_year_before_it():
    every = [
        history()[0].model_copy(update={"month": str(month)})
        for month in months_between(Month(2022, 1), Month(2023, 12))
    ]
    compared = [month.month for month in history_before(every[::-1], "2023-06")]
    assert compared == [str(month) for month in months_between(Month(2022, 6), Month(2023, 5))]


def test_a_profile_survives_storage():
    for month in (*history(), profile_of_file(FAULTS["no rows"](sample_month(TESTED)), TESTED)):
        assert MonthProfile.model_validate_json(month.model_dump_json()) == month


@given(st.lists(st.floats(1e-3, 1e9), min_size=3, max_size=12))
def test_the_median_of_earlier_months_is_always_inside_the_band(values):
    band = ratio_band(values, 1.5, 2)
    assert band is not None
    assert band.center in band
    assert band.center / 2 <= band.lower * (1 + 1e-9)
    assert band.upper <= band.center * 2 * (1 + 1e-9)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=12), st.floats(0, 1))
def test_a_share_may_rise_by_the_slack_and_no_band_excludes_the_median(values, slack):
    band = share_band(values, 3, slack)
    assert band is not None
    assert band.center in band
    assert band.center + slack in band


@given(st.lists(st.floats(0, 1), max_size=2))
def test_two_months_make_no_band(values):
    assert share_band(values, 3, 0.01) is None
    assert ratio_band(values, 1.5, 2) is None
