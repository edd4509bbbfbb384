"""Parsing of pick-up times to New York wall time, for one value or a column."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from ml_assets.trips.month import NEW_YORK

_ISO_TIME: Final = (
    r"^(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<minute>(?:[01][0-9]|2[0-3]):[0-5][0-9])"
    r"(?:(?P<second>:[0-5][0-9])(?:[.,](?P<part>[0-9]{1,9}))?)?"
    r"(?P<offset> ?(?:[Zz]|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3])"
    r"(?::?(?P<minutes>[0-5][0-9]))?))?)?$"
)
"""Used by Python and by Polars (Rust), where ``\\d`` would match digits of any script."""
_PATTERN = re.compile(_ISO_TIME)

_FIRST_CONVERTED, _LAST_CONVERTED = datetime(2000, 1, 1), datetime(2200, 1, 1)
"""Times outside this range are invalid anyway and may overflow a conversion."""


def new_york_time(now: datetime | None = None) -> datetime:
    """Convert an instant (by default now) to naive New York wall time."""
    instant = now or datetime.now(NEW_YORK)
    return instant.astimezone(NEW_YORK).replace(tzinfo=None, fold=0)


def read_time(text: str) -> datetime | None:
    """Parse an ISO 8601 time to New York wall time; None if invalid.

    Args:
        text: The time, without surrounding white space. Without an offset it is New York time.

    Returns:
        Naive time in microseconds; further digits are dropped.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        return None
    day, minute, second, part, offset, sign, hours, minutes = found.groups()
    try:
        naive = datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ':00'}")
    except ValueError:  # no such day
        return None
    if part is not None:
        naive = naive.replace(microsecond=int(part[:6].ljust(6, "0")))
    if offset is None:
        return naive
    if not _FIRST_CONVERTED <= naive <= _LAST_CONVERTED:
        return None
    east = int(hours or 0) * 60 + int(minutes or 0)
    instant = naive - timedelta(minutes=-east if sign == "-" else east)
    return new_york_time(instant.replace(tzinfo=UTC))


def to_wall_time(column: pl.Series) -> pl.Series:
    """Parse a column like :func:`read_time`; null where invalid or far out of range.

    Args:
        column: Text, times or dates; times with a time zone are converted.
    """
    if column.dtype not in (pl.Datetime, pl.Date):
        return _parsed(column.cast(pl.String))
    kept = is_parseable(column)
    if getattr(column.dtype, "time_zone", None):
        kept = kept.dt.convert_time_zone(str(NEW_YORK)).dt.replace_time_zone(None)
    return kept.cast(pl.Datetime("us"))


def is_parseable(column: pl.Series) -> pl.Series:
    """Return the times that can be converted, null for others."""
    if column.dtype == pl.Date:
        a_day = 1.0
    else:
        unit = column.dtype.time_unit  # type: ignore[attr-defined]
        a_day = 86400.0 * {"ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
    first, last = (
        int((bound - datetime(1970, 1, 1)).days * a_day)
        for bound in (_FIRST_CONVERTED, _LAST_CONVERTED)
    )
    inside = column.to_physical().is_between(first, last)
    return pl.select(kept=pl.when(inside).then(column).otherwise(None))["kept"]


def _parsed(texts: pl.Series) -> pl.Series:
    """Parse ISO 8601 texts to New York wall time."""
    part = pl.col("text").str.extract_groups(_ISO_TIME).struct
    written = pl.concat_str(
        part["day"], pl.lit(" "), part["minute"].fill_null("00:00"),
        part["second"].fill_null(":00"), pl.lit("."), part["part"].fill_null("0"),
    )  # fmt: skip
    naive = written.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    hours, minutes = (
        part[name].cast(pl.Int64, strict=False).fill_null(0) for name in ("hours", "minutes")
    )
    east = pl.when(part["sign"] == "-").then(-1).otherwise(1) * (hours * 60 + minutes)
    inside = naive.is_between(_FIRST_CONVERTED, _LAST_CONVERTED)
    instant = pl.when(inside).then(naive).otherwise(None) - pl.duration(minutes=east)
    here = instant.dt.replace_time_zone("UTC").dt.convert_time_zone(str(NEW_YORK))
    offset = part["offset"].is_not_null()
    time = pl.when(offset).then(here.dt.replace_time_zone(None)).otherwise(naive)
    return texts.rename("text").to_frame().select(time=time)["time"]
