"""Pick-up times as a request writes them, on the wall clock of New York: one, or a column.

Polars is imported when a column is read.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from ml_assets.trips.calendar import NEW_YORK

if TYPE_CHECKING:
    import polars as pl

_ISO_TIME: Final = (
    r"^(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<minute>(?:[01][0-9]|2[0-3]):[0-5][0-9])"
    r"(?:(?P<second>:[0-5][0-9])(?:[.,](?P<part>[0-9]{1,9}))?)?"
    r"(?P<offset> ?(?:[Zz]|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3])"
    r"(?::?(?P<minutes>[0-5][0-9]))?))?)?$"
)
"""Read by Python and by Polars (Rust), where ``\\d`` would be any script's digit."""
_PATTERN = re.compile(_ISO_TIME)

_FIRST_CONVERTED, _LAST_CONVERTED = datetime(2000, 1, 1), datetime(2200, 1, 1)
"""Times outside are refused anyway, and may be more than a calendar can convert."""


def new_york_time(now: datetime | None = None) -> datetime:
    """An instant (by default the present one) on the wall clock of New York, naive."""
    instant = now or datetime.now(NEW_YORK)
    return instant.astimezone(NEW_YORK).replace(tzinfo=None, fold=0)


def read_time(text: str) -> datetime | None:
    """A time written in ISO 8601, on the wall clock of New York; null where it is none.

    Args:
        text: Without an offset it is New York's already. White space around it is no time.

    Returns:
        Naive, in microseconds: further digits are dropped.
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


def to_wall_time(column: "pl.Series") -> "pl.Series":
    """A column as :func:`read_time` reads one; null where it is no time, or far out of range.

    Args:
        column: Text, times or dates; times that have a zone are converted.
    """
    import polars as pl

    if column.dtype not in (pl.Datetime, pl.Date):
        return _parsed(column.cast(pl.String))
    kept = is_parseable(column)
    if getattr(column.dtype, "time_zone", None):
        kept = kept.dt.convert_time_zone(str(NEW_YORK)).dt.replace_time_zone(None)
    return kept.cast(pl.Datetime("us"))


def is_parseable(column: "pl.Series") -> "pl.Series":
    """Times that a calendar can convert; null for others."""
    import polars as pl

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


def _parsed(texts: "pl.Series") -> "pl.Series":
    """Times written in ISO 8601, on the wall clock of New York."""
    import polars as pl

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
