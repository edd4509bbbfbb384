from datetime import date

import pytest

from ml_assets.sources import latest_published_month
from ml_assets.trips.month import Month


@pytest.mark.parametrize(
    ("today", "newest"),
    [
        (date(2026, 11, 23), Month(2026, 9)),
        (date(2026, 11, 1), Month(2026, 9)),
        (date(2026, 1, 31), Month(2025, 11)),
        (date(2024, 2, 29), Month(2023, 12)),
    ],
)
def test_a_month_comes_out_two_months_later(today: date, newest: Month) -> None:
    assert latest_published_month(today) == newest
