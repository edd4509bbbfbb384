"""Days on which New York City's public schools are in session.

Streets are slower on them. The calendar is published more than a year ahead, so a request may use
it. School years that are listed are as published (schools.nyc.gov, "school year calendar", days on
which no student attends). Add a year to ``CALENDARS`` when it is published: models in service use
it at once. Other years follow the rules that all listed years share, which leave out the recess in
spring and the religious holidays.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Days = npt.NDArray[np.int64]
"""Days counted from 1970-01-01."""


class SchoolYear(NamedTuple):
    """A published school year.

    Attributes:
        first: First day of school.
        last: Last day of school.
        closed: Weekdays in between without school, or first and last day of a recess.
    """

    first: str
    last: str
    closed: tuple[str | tuple[str, str], ...]


CALENDARS: Mapping[str, SchoolYear] = {
    "2022-23": SchoolYear(
        "2022-09-08",
        "2023-06-27",
        (
            ("2022-09-26", "2022-09-27"), "2022-10-05", "2022-10-10", "2022-11-08", "2022-11-11",
            ("2022-11-24", "2022-11-25"), ("2022-12-26", "2023-01-02"), "2023-01-16",
            ("2023-02-20", "2023-02-24"), ("2023-04-06", "2023-04-14"), "2023-04-21", "2023-05-29",
            "2023-06-08", "2023-06-19",
        ),
    ),
    "2023-24": SchoolYear(
        "2023-09-07",
        "2024-06-26",
        (
            "2023-09-25", "2023-10-09", "2023-11-07", ("2023-11-23", "2023-11-24"),
            ("2023-12-25", "2024-01-01"), "2024-01-15", ("2024-02-19", "2024-02-23"),
            ("2024-03-29", "2024-04-01"), "2024-04-10", ("2024-04-22", "2024-04-26"), "2024-05-27",
            "2024-06-06", "2024-06-17", "2024-06-19",
        ),
    ),
    "2024-25": SchoolYear(
        "2024-09-05",
        "2025-06-26",
        (
            ("2024-10-03", "2024-10-04"), "2024-10-14", "2024-11-01", "2024-11-05", "2024-11-11",
            ("2024-11-28", "2024-11-29"), ("2024-12-24", "2025-01-01"), "2025-01-20", "2025-01-29",
            ("2025-02-17", "2025-02-21"), "2025-03-31", ("2025-04-14", "2025-04-18"), "2025-05-26",
            "2025-06-05", "2025-06-19",
        ),
    ),
    "2025-26": SchoolYear(
        "2025-09-04",
        "2026-06-26",
        (
            ("2025-09-23", "2025-09-24"), "2025-10-02", "2025-10-13", "2025-10-20", "2025-11-04",
            "2025-11-11", ("2025-11-27", "2025-11-28"), ("2025-12-24", "2026-01-02"), "2026-01-19",
            ("2026-02-16", "2026-02-20"), "2026-03-20", ("2026-04-02", "2026-04-10"), "2026-05-25",
            "2026-05-27", "2026-06-04", "2026-06-19",
        ),
    ),
}  # fmt: skip


def is_school_day(days: Days) -> npt.NDArray[np.bool_]:
    """Whether schools are in session on each day, counted from 1970-01-01."""
    position = days - _FIRST_DAY
    known = (position >= 0) & (position < len(_IN_SESSION))
    if known.all():
        return _IN_SESSION[position]
    result = _by_rule(days)
    result[known] = _IN_SESSION[position[known]]
    return result


def _by_rule(days: Days) -> npt.NDArray[np.bool_]:
    """Apply the rules of all years: from the Thursday after Labor Day to 26 June, but holidays."""
    date = days.astype("datetime64[D]")
    months = date.astype("datetime64[M]")
    month = months.astype(np.int64) % 12 + 1
    day = (date - months).astype(np.int64) + 1
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday; 0 is Monday
    monday = day - weekday  # day of the month of the week's Monday
    first_monday = (monday - 1) % 7 + 1
    in_year = (month > 9) | (month < 6) | ((month == 9) & (day >= first_monday + 3))
    in_year |= (month == 6) & (day <= 26)
    closed = (
        ((month == 10) & (weekday == 0) & (day >= 8) & (day <= 14))
        | ((month == 11) & (weekday == 1) & (day >= 2) & (day <= 8))
        | ((month == 11) & (day == 11))
        | ((month == 11) & (weekday == 3) & (day >= 22) & (day <= 28))
        | ((month == 11) & (weekday == 4) & (day >= 23) & (day <= 29))
        | ((month == 12) & (day >= 24))
        | ((month == 1) & (day == 1))
        | ((month == 1) & (weekday == 0) & (day >= 15) & (day <= 21))
        | ((month == 2) & (monday >= 15) & (monday <= 21))
        | ((month == 5) & (weekday == 0) & (day >= 25))
        | ((month == 6) & (day == 19))
    )
    result: npt.NDArray[np.bool_] = in_year & ~closed & (weekday < 5)
    return result


def _day(date: str) -> int:
    return int(np.datetime64(date, "D").astype(np.int64))


def _in_session() -> npt.NDArray[np.bool_]:
    """Return whether schools are in session on each day from the first to the last known one."""
    in_session = _by_rule(np.arange(_FIRST_DAY, _day("2050-01-01"), dtype=np.int64))
    for name, year in CALENDARS.items():
        summer = slice(_day(f"{name[:4]}-07-01") - _FIRST_DAY, _day(year.first) - _FIRST_DAY)
        term = slice(summer.stop, _day(year.last) - _FIRST_DAY + 1)
        in_session[summer] = False
        in_session[term] = np.arange(term.start, term.stop) % 7 < 5  # the first day is a Monday
        in_session[term.stop : _day(f"20{name[-2:]}-07-01") - _FIRST_DAY] = False
        for closed in year.closed:
            start, end = (closed, closed) if isinstance(closed, str) else closed
            in_session[_day(start) - _FIRST_DAY : _day(end) - _FIRST_DAY + 1] = False
    return in_session


_FIRST_DAY = _day("2009-01-05")
"""A Monday. The published trips begin in January 2009."""

_IN_SESSION = _in_session()
