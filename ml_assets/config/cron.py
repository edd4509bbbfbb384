"""Cron expressions of five fields: whether one is written right, and whether it ever comes."""

import re

_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    (
        "month",
        1,
        12,
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    ),
    ("day of the week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_PART = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>[0-9]{1,2}))?")
_LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


class CronError(ValueError):
    """An expression that is no cron schedule; says which field is at fault."""


def check_cron(expression: str) -> None:
    """Accept ``minute hour day-of-month month day-of-week``: numbers, names, ``*``, ``-``, ``/``.

    Raises:
        CronError: when it has another form, a value is out of its range, or no year has such a
            day.
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise CronError(f"it has {len(fields)} field{'s' if len(fields) != 1 else ''}, not 5")
    _, _, days, months, _ = (
        _values(text, *field) for text, field in zip(fields, _FIELDS, strict=True)
    )
    if not any(min(days) <= _LONGEST.get(month, 31) for month in months):
        raise CronError("no year has such a day")


def _values(text: str, field: str, least: int, most: int, names: tuple[str, ...]) -> set[int]:
    values: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise CronError(f"{part!r} is no {field}")
        first = _value(match["first"], field, least, most, names)
        last = _value(match["last"], field, least, most, names) if match["last"] else first
        if match["first"] == "*":
            if match["last"]:
                raise CronError(f"{part!r} is no {field}")
            first, last = least, most
        elif match["last"] and first >= last:
            raise CronError(f"{part!r} is no range of a {field}")
        elif match["step"] and not match["last"]:
            raise CronError(f"{part!r}: a step goes with * or a range")
        step = int(match["step"] or 1)
        if not 1 <= step <= max(last - first, 1):
            raise CronError(f"{part!r} is no {field}")
        values.update(range(first, last + 1, step))
    return values


def _value(text: str, field: str, least: int, most: int, names: tuple[str, ...]) -> int:
    if text == "*":
        return least
    if text.lower() in names:
        return names.index(text.lower()) + least
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
        raise CronError(f"{text!r} is no {field} ({least} to {most})")
    return int(text)
