import ast
from datetime import UTC, date, datetime

import dagster as dg
import pytest

from ml_assets.config.settings import PROJECT_FOLDER, read_settings
from ml_assets.defs.common import published_months
from ml_assets.trips.month import Month, latest_published_month, new_york_date


@pytest.mark.parametrize(
    ("today", "newest"),
    [
        (date(2026, 11, 23), Month(2026, 9)),
        (date(2026, 11, 1), Month(2026, 9)),
        (date(2026, 1, 31), Month(2025, 11)),
        (date(2024, 2, 29), Month(2023, 12)),
    ],
)
def test_a_month_is_published_two_months_later(today: date, newest: Month) -> None:
    assert latest_published_month(today) == newest


@pytest.mark.parametrize(
    ("now", "day"),
    [
        (
            datetime(2026, 11, 1, 3, 59, tzinfo=UTC),
            date(2026, 10, 31),
        ),  # the last hours of daylight saving time
        (datetime(2026, 11, 1, 4, 0, tzinfo=UTC), date(2026, 11, 1)),
        (datetime(2026, 12, 1, 4, 59, tzinfo=UTC), date(2026, 11, 30)),
        (datetime(2026, 12, 1, 5, 0, tzinfo=UTC), date(2026, 12, 1)),
    ],
)
def test_the_date_is_new_yorks_for_any_offset(now: datetime, day: date) -> None:
    assert new_york_date(now) == day


@pytest.mark.parametrize(
    "now", [datetime(2026, 11, 1, 3, 59, tzinfo=UTC), datetime(2026, 11, 1, 4, 0, tzinfo=UTC)]
)
def test_the_newest_partition_is_the_newest_month_that_can_be_published(now: datetime) -> None:
    months = published_months(read_settings({}))
    with dg.partition_loading_context(effective_dt=now):
        last = months.get_last_partition_key()
    assert last == str(latest_published_month(new_york_date(now)))


@pytest.mark.parametrize("room", ["", "cli", "sources", "assets", "automation"])
def test_no_code_uses_the_local_date(room: str) -> None:
    for source in sorted((PROJECT_FOLDER / "ml_assets" / room).glob("*.py")):
        called = {
            f"{ast.unparse(node.func)}"
            for node in ast.walk(ast.parse(source.read_text()))
            if isinstance(node, ast.Call)
        }
        assert not called & {"date.today", "datetime.today"}, source
