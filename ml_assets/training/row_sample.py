"""Bounded training rows: a sample of months, stratified by month and pick-up zone.

Most families gain nothing measurable from millions of rows (see ``docs/scale.md``). Beyond the
number in ``ModelFamily.max_rows`` they are fitted on a sample, drawn while months are read.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ml_assets.secrets import ShownError
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import ZONE_CODES

DEFAULT_ROWS: Final = "default"
ALL_ROWS: Final = "all"
MIN_MAX_ROWS: Final = 1_000
"""Smallest bound: with fewer rows most zones have no trip, and no model is worth a comparison."""

_MAX_LENGTH: Final = 30
"""Characters of a stated number."""

RowLimit: TypeAlias = int | Literal["default", "all"]
"""What a user may state: a number of rows, the family's own bound, or no bound."""


class RowLimitError(ShownError, ValueError):
    """A stated number of rows is none of those that are allowed."""


def parse_row_limit(text: str | int) -> RowLimit:
    """Return the stated limit.

    Args:
        text: ``default``, ``all``, or a number of at least ``MIN_MAX_ROWS``, which may have ``_``
            or ``,`` between its digits.

    Raises:
        RowLimitError: It is none of these.
    """
    stated = str(text).strip().lower()
    if stated == "default":
        return "default"
    if stated == "all":
        return "all"
    if re.fullmatch(r"[0-9]+([_,][0-9]+)*", stated) and len(stated) <= _MAX_LENGTH:
        rows = int(stated.replace("_", "").replace(",", ""))
        if rows >= MIN_MAX_ROWS:
            return rows
    raise RowLimitError(
        f"max_rows is {str(text)[:_MAX_LENGTH]!r}: use {DEFAULT_ROWS} (the family's own number), "
        f"a number of at least {MIN_MAX_ROWS}, or {ALL_ROWS}"
    )


def row_quotas(rows: Sequence[int], max_rows: int | None) -> list[int]:
    """Divide a bound among months in proportion to their rows.

    Args:
        rows: Rows of each month.
        max_rows: Maximum of all together; None without one.

    Returns:
        Rows to draw from each month, with a sum of ``max_rows``, or all rows if that is enough.
    """
    total = sum(rows)
    if max_rows is None or total <= max_rows:
        return list(rows)
    quotas = [count * max_rows // total for count in rows]
    # Largest remainders, so that the sum is exact.
    remainders = [count * max_rows % total for count in rows]
    by_remainder = sorted(range(len(rows)), key=lambda at: (-remainders[at], at))
    for at in by_remainder[: max_rows - sum(quotas)]:
        quotas[at] += 1
    return quotas


def draw_rows(
    pickup_zones: npt.NDArray[np.integer], quota: int, seed: int, month: Month
) -> npt.NDArray[np.int64]:
    """Draw rows of a month so that each pick-up zone has its share, but for one row.

    Each zone's rows get a random order and with it equally spaced positions between 0 and 1, from a
    random start; the rows with the lowest positions are drawn. So a smaller sample of the same seed
    is part of a larger one.

    Args:
        pickup_zones: Pick-up zone of each row, 0 to 265, shape (n,).
        quota: Number of rows to draw.

    Returns:
        Numbers of the drawn rows, ascending, shape (min(n, quota),).
    """
    rows = len(pickup_zones)
    if quota >= rows:
        return np.arange(rows)
    random = np.random.default_rng([seed, month.year, month.number])
    order = random.permutation(rows)
    order = order[np.argsort(pickup_zones[order], kind="stable")]
    zones = pickup_zones[order].astype(np.int64)
    counts = np.bincount(zones, minlength=ZONE_CODES)
    first = np.cumsum(counts) - counts
    start = random.random(len(counts))
    position = (np.arange(rows) - first[zones] + start[zones]) / counts[zones]
    return np.sort(order[np.argpartition(position, quota)[:quota]])
