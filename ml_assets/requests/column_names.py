"""Which columns of a file, or keys of its JSON lines, are the fields of a request.

The rule of names is that of ``requests.fields``. Further columns are the file's own and are
kept, except those that look like a field under another name: a default would silently take the
place of that field.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from ml_assets.requests.fields import (
    OWN_NAMES,
    field_of,
    looks_like,
    match_names,
    quoted_name,
    repeated_field,
)
from ml_assets.requests.validate import REQUIRED_FIELDS
from ml_assets.secrets import ShownError
from ml_assets.trips.rules import REQUEST_COLUMNS

IGNORE_OPTION: Final = "--ignore-column"
"""The command's option for columns that are no field, whatever they are called."""

_MAX_NAMED = 5
"""Columns that one message names."""
_MAX_TEXT = 400
"""Characters of a reason or of another library's message."""
_MAX_REMEMBERED = 10_000
"""Sets of keys whose meaning is remembered while JSON lines are read."""
_MAX_REMEMBERED_CHARACTERS = 2000
"""Of the keys of a line; longer ones are looked up again, so that memory is bounded."""
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"


class RequestFileError(ShownError, ValueError):
    """A file that cannot be read as requests, or answered to; names it, the fault, the way out."""


def column_of(
    where: str, names: Sequence[str], ignored: Collection[str] = (), *, required: bool = True
) -> dict[str, str]:
    """The column of each field that a file has.

    Args:
        where: What has the names, for messages: a file, or a line of it.
        names: Its columns, in their order.
        ignored: Names of columns that are no field, whatever they are called.
        required: Whether the required fields must be there.

    Raises:
        RequestFileError: when a required field is not there, when a field is there twice, or when
            another name looks like a field.
    """
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise RequestFileError(f"{where} has more than one column {named(twice)}: rename them")
    names = [name for name in names if name not in ignored]
    matched = match_names(names)
    if matched.repeated:
        name, first, field = matched.repeated[0]
        both = repeated_field(name, first, field)
        raise RequestFileError(f"{where}: {both} (or {IGNORE_OPTION} {quoted_name(name)})")
    absent = [field for field in REQUEST_COLUMNS if field not in matched.name_of]
    found = {name: looks_like(name, absent) for name in matched.unknown}
    doubtful = {name: field for name, field in found.items() if field is not None}
    lacking = [field for field in REQUIRED_FIELDS if field in absent]
    misnamed = {name: field for name, field in doubtful.items() if field in lacking}
    fault = _misspelled(doubtful)
    if fault is None and lacking and (required or misnamed):
        fault = _lacking(lacking, misnamed, names)
    if fault is None and doubtful:
        fault = _doubtful(doubtful)
    if fault is not None:
        raise RequestFileError(f"{where} {fault}")
    return matched.name_of


def require_columns(where: str, names: Sequence[str], ignored: Collection[str]) -> None:
    """Refuse names to ignore that a table does not have: they are misspelled.

    Raises:
        RequestFileError: naming them, and the columns that there are.
    """
    absent = [name for name in ignored if name not in names]
    if absent:
        close = get_close_matches(absent[0], names, 3) or names
        raise RequestFileError(
            f"{where} has no column {named(absent)}, as {IGNORE_OPTION} says; it has {named(close)}"
        )


class JsonFields:
    """The fields of JSON lines, whose keys may differ from line to line.

    Args:
        where: The file, for messages.
        ignored: Keys that are no field.
    """

    def __init__(self, where: str, ignored: Collection[str]) -> None:
        self._where = where
        self._ignored = frozenset(ignored)
        self._key_of: dict[tuple[str, ...], dict[str, str]] = {}
        self._unseen = set(ignored)

    def read(self, number: int, row: dict[str, Any]) -> Mapping[str, Any]:
        """The values of a line by field.

        Args:
            number: The line's, from 1.
            row: What it holds.

        Raises:
            RequestFileError: as :func:`column_of`.
        """
        if row.keys() <= OWN_NAMES and not self._ignored:
            return row
        keys = tuple(row)
        key_of = self._key_of.get(keys)
        if key_of is None:
            key_of = column_of(
                f"line {number:,} of {self._where}", keys, self._ignored, required=False
            )
            self._unseen.difference_update(keys)
            if sum(map(len, keys)) <= _MAX_REMEMBERED_CHARACTERS:
                if len(self._key_of) >= _MAX_REMEMBERED:
                    self._key_of.clear()
                self._key_of[keys] = key_of
        return {field: row[key] for field, key in key_of.items()}

    def require_ignored(self) -> None:
        """Refuse, at the end of the file, keys to ignore that no line has.

        Raises:
            RequestFileError: naming them, and the keys of some line.
        """
        keys = [key for known in self._key_of for key in known]
        require_columns(self._where, list(dict.fromkeys(keys)), self._unseen)


def named(names: Iterable[str]) -> str:
    """Names in quotes, the first few."""
    shown = list(names)
    more = f" and {len(shown) - _MAX_NAMED:,} more" if len(shown) > _MAX_NAMED else ""
    return ", ".join(map(quoted_name, shown[:_MAX_NAMED])) + more


def printable(text: str) -> str:
    """A text that quotes what a file holds, on one line and without control characters."""
    return "".join(
        letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[:_MAX_TEXT]
    )


def stripped(name: str) -> str:
    """A name without what surrounds it by mistake: white space, quotes, invisible characters."""
    visible = "".join(letter for letter in name if letter.isprintable() or letter.isspace())
    return visible.strip().strip(_QUOTES).strip()


def _misspelled(doubtful: Iterable[str]) -> str | None:
    """What is wrong about the first name that is a field's but for what surrounds it."""
    for name in doubtful:
        if field_of(stripped(name)) is None:
            continue
        fault = (
            "with white space around it"
            if name != name.strip()
            else "with quotes in it"
            if any(quote in name for quote in _QUOTES)
            else "with an invisible character in it"
        )
        return f"has the column name {quoted_name(name)}, {fault}: write {stripped(name)}"
    return None


def _lacking(lacking: Sequence[str], misnamed: Mapping[str, str], names: Sequence[str]) -> str:
    fault = f"lacks the column {', '.join(lacking)}"
    if misnamed:
        return f"{fault}: rename {_looking(misnamed)}"
    there = f"; it has {named(names)}" if names else ""
    return (
        f"{fault}{there}. Requests have {', '.join(REQUIRED_FIELDS)} and, if known, "
        "pickup_datetime and passenger_count"
    )


def _doubtful(doubtful: Mapping[str, str]) -> str:
    options = " ".join(
        f"{IGNORE_OPTION} {quoted_name(name)}" for name in list(doubtful)[:_MAX_NAMED]
    )
    if len(doubtful) == 1:
        return (
            f"has a column that is no request field but looks like one: {_looking(doubtful)}. "
            f"Rename it to the field, or keep it as a column of your own with {options}"
        )
    return (
        f"has columns that are no request fields but look like some: {_looking(doubtful)}. Rename "
        f"them to the fields, or keep them as columns of your own with {options}"
    )


def _looking(doubtful: Mapping[str, str]) -> str:
    first = list(doubtful.items())[:_MAX_NAMED]
    return ", ".join(f"{quoted_name(name)} (looks like {field})" for name, field in first)
