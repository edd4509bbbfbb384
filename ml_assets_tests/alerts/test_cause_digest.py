"""Failures with the same cause have the same fingerprint, despite numbers, dates, ids and paths."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.alerts.alert import cause_digest

HTML = "2023-01: /data/green_tripdata_2023-01.parquet: a web page (HTML or XML) came instead"
DAMAGED = "2023-02: /data/green_tripdata_2023-02.parquet: damaged Parquet, it ends too early"


@given(
    number=st.integers(),
    size=st.floats(allow_nan=False, allow_infinity=False),
    day=st.dates(),
    at=st.datetimes(),
    identity=st.uuids(),
    digest=st.binary(min_size=8, max_size=32),
    path=st.lists(st.from_regex(r"[a-z0-9._-]+", fullmatch=True), min_size=1, max_size=4),
)
def test_numbers_dates_ids_and_paths_do_not_count(number, size, day, at, identity, digest, path):
    def message(number, size, day, at, identity, digest, path):
        return (
            f"{number} of 12 months, {size} GB since {day} ({at.isoformat()}), run {identity}, "
            f"sha {digest.hex()}, in '/{'/'.join(path)}': no space left"
        )

    found = cause_digest(message(number, size, day, at, identity, digest, path))
    fixed = (1, 0.5, "2023-01-01", at, uuid.UUID(int=7), b"12345678", ["home", "data"])
    assert found == cause_digest(message(*fixed))


def test_another_cause_has_another_fingerprint():
    assert cause_digest(HTML) != cause_digest(DAMAGED)
    assert cause_digest("no space left") != cause_digest("permission denied")


@pytest.mark.parametrize(
    "reasons",
    [
        [f"{HTML} | {HTML.replace('01', '03')}"],
        [HTML, HTML],
        [HTML.replace("2023-01", "2024-12")],
    ],
)
def test_repetition_of_an_error_does_not_count(reasons):
    assert cause_digest(*reasons) == cause_digest(HTML)


def test_the_order_of_errors_does_not_count():
    assert cause_digest(f"{HTML} | {DAMAGED}") == cause_digest(f"{DAMAGED} | {HTML}")
    assert cause_digest(HTML, DAMAGED) == cause_digest(DAMAGED, HTML)


@given(st.text())
def test_any_text_has_a_digest(text):
    assert len(cause_digest(text)) == 8
