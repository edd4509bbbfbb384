"""Matching of a file's columns, or the keys of its JSON lines, to request fields.

Names are matched by the rule of ``requests.fields``. Other columns are kept, except those that look
like a field under another name: a default would silently replace that field.
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
from ml_assets.requests.validate import PREDICTION_COLUMNS, REQUIRED_FIELDS
from ml_assets.secrets import ShownError
from ml_assets.trips.request_columns import REQUEST_COLUMNS

IGNORE_OPTION: Final = "--ignore-column"
"""The command's option for columns that are not fields, whatever their name."""

_MAX_NAMED = 5
"""Maximum columns that a message names."""
_MAX_TEXT = 400
"""Maximum characters of a reason or of another library's message."""
_MAX_CACHED = 10_000
"""Maximum sets of keys whose matches are cached while JSON lines are read."""
_MAX_CACHED_CHARACTERS = 2000
"""Maximum characters of the keys of a cached line, which bounds the memory."""
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"


class RequestFileError(ShownError, ValueError):
    """A file of requests or predictions that cannot be read or written, with the remedy."""


def column_of(
    where: str, names: Sequence[str], ignored: Collection[str] = (), *, required: bool = True
) -> dict[str, str]:
    """Return the column of each field in a file.

    Args:
        where: The file, or a line of it, for error messages.
        names: Its columns, in order.
        ignored: Columns that are not fields, whatever their name.

    Raises:
        RequestFileError: A required field is missing, a field is present twice, or another name
            looks like a field.
    """
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise RequestFileError(
            f"{where} has more than one column {quoted_names(twice)}: rename them"
        )
    names = [name for name in names if name not in ignored]
    matched = match_names(names)
    if matched.repeated:
        name, first, field = matched.repeated[0]
        both = repeated_field(name, first, field)
        raise RequestFileError(f"{where}: {both} (or {IGNORE_OPTION} {quoted_name(name)})")
    absent = [field for field in REQUEST_COLUMNS if field not in matched.name_of]
    found = {name: looks_like(name, absent) for name in matched.unknown}
    doubtful = {name: field for name, field in found.items() if field is not None}
    absent_required = [field for field in REQUIRED_FIELDS if field in absent]
    misnamed = doubtful if {*absent_required} & {*doubtful.values()} else {}
    fault = _misspelled(doubtful)
    if fault is None and absent_required and (required or misnamed):
        fault = _missing_columns(absent_required, misnamed, names)
    if fault is None and doubtful:
        fault = _doubtful(doubtful)
    if fault is not None:
        raise RequestFileError(f"{where} {fault}")
    return matched.name_of


def require_columns(where: str, names: Sequence[str], ignored: Collection[str]) -> None:
    """Raise RequestFileError unless a table has the ignored columns: one may be misspelled."""
    absent = [name for name in ignored if name not in names]
    if absent:
        close = get_close_matches(absent[0], names, 3) or names
        raise RequestFileError(
            f"{where} has no column {quoted_names(absent)} for {IGNORE_OPTION}; it has "
            f"{quoted_names(close)}"
        )


class JsonFields:
    """Reads the fields of JSON lines, whose keys may differ from line to line."""

    def __init__(self, where: str, ignored: Collection[str]) -> None:
        self._where = where
        self._ignored = frozenset(ignored)
        self._key_of: dict[tuple[str, ...], dict[str, str]] = {}
        self._unseen = set(ignored)

    def read(self, number: int, row: dict[str, Any]) -> Mapping[str, Any]:
        """Return the values of a line by field; raises as :func:`column_of`."""
        if row.keys() <= OWN_NAMES and not self._ignored:
            return row
        keys = tuple(row)
        key_of = self._key_of.get(keys)
        if key_of is None:
            key_of = column_of(
                f"line {number:,} of {self._where}", keys, self._ignored, required=False
            )
            self._unseen.difference_update(keys)
            if sum(map(len, keys)) <= _MAX_CACHED_CHARACTERS:
                if len(self._key_of) >= _MAX_CACHED:
                    self._key_of.clear()
                self._key_of[keys] = key_of
        return {field: row[key] for field, key in key_of.items()}

    def require_ignored(self) -> None:
        """Raise RequestFileError at the end of the file unless the ignored keys occurred."""
        keys = [key for known in self._key_of for key in known]
        require_columns(self._where, list(dict.fromkeys(keys)), self._unseen)


def quoted_names(names: Iterable[str]) -> str:
    """Return the first names in quotes, and the number of the others."""
    listed = list(names)
    more = f" and {len(listed) - _MAX_NAMED:,} more" if len(listed) > _MAX_NAMED else ""
    return ", ".join(map(quoted_name, listed[:_MAX_NAMED])) + more


def printable(text: str) -> str:
    """Return a text from a file on one line, shortened and without control characters."""
    return "".join(
        letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[:_MAX_TEXT]
    )


def strip_name(name: str) -> str:
    """Return a name without surrounding white space, quotes and invisible characters."""
    visible = "".join(letter for letter in name if letter.isprintable() or letter.isspace())
    return visible.strip().strip(_QUOTES).strip()


def _misspelled(doubtful: Iterable[str]) -> str | None:
    """Describe the first name that is a field except for surrounding characters."""
    for name in doubtful:
        if field_of(strip_name(name)) is None:
            continue
        fault = (
            "with white space around it"
            if name != name.strip()
            else "with quotes in it"
            if any(quote in name for quote in _QUOTES)
            else "with an invisible character in it"
        )
        return f"has the column name {quoted_name(name)}, {fault}: write {strip_name(name)}"
    return None


def _missing_columns(
    absent: Sequence[str], misnamed: Mapping[str, str], names: Sequence[str]
) -> str:
    fault = f"lacks the column {', '.join(absent)}"
    if misnamed:
        return f"{fault}: rename {_looking(misnamed)}"
    present = f"; it has {quoted_names(names)}" if names else ""
    return (
        f"{fault}{present}. Requests have {' and '.join(REQUIRED_FIELDS)} and, if known, "
        "trip_distance, pickup_datetime and passenger_count"
    )


def _doubtful(doubtful: Mapping[str, str]) -> str:
    taken = [name for name in doubtful if name in PREDICTION_COLUMNS]
    if taken:
        return (
            f"has a column that is not a request field but looks like one: {_looking(doubtful)}. "
            f"Rename it to the field, or remove {quoted_names(taken)}, which predictions are "
            "written to"
        )
    options = " ".join(
        f"{IGNORE_OPTION} {quoted_name(name)}" for name in list(doubtful)[:_MAX_NAMED]
    )
    if len(doubtful) == 1:
        return (
            f"has a column that is not a request field but looks like one: {_looking(doubtful)}. "
            f"Rename it to the field, or keep it as a column of your own with {options}"
        )
    return (
        f"has columns that are not request fields but look like some: {_looking(doubtful)}. Rename "
        f"them to the fields, or keep them as columns of your own with {options}"
    )


def _looking(doubtful: Mapping[str, str]) -> str:
    first = list(doubtful.items())[:_MAX_NAMED]
    return ", ".join(f"{quoted_name(name)} (looks like {field})" for name, field in first)
