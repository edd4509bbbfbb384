"""Names of request fields: one rule for HTTP, files and the launchpad.

A field's own name and its names in published trip files mean the field, in any letter case, as in
ingestion. Every other name is unknown. An interface that accepts only known names (HTTP, the
launchpad) rejects it with :func:`unknown_field`; one that allows other columns (files) keeps it,
unless :func:`looks_like` finds that it means a field under another name.

Plain Python without a table library, since the prediction service parses every request with it.
"""

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from functools import lru_cache
from typing import Final, NamedTuple

from ml_assets.trips.request_columns import REQUEST_COLUMNS, TIME_PREFIXES

OWN_NAMES: Final = frozenset(REQUEST_COLUMNS)
"""The fields' own names, which need no matching."""

PUBLISHED_NAMES: Final = {
    f"{prefix}_pickup_datetime": "pickup_datetime" for prefix in TIME_PREFIXES.values()
}
"""Field by its name in published files, where that differs."""

MAX_QUOTED_NAME: Final = 60
"""Maximum characters of a name in a message."""

_FIELD_BY_LOWER_NAME: Final = {
    **{field.lower(): field for field in REQUEST_COLUMNS},
    **PUBLISHED_NAMES,
}
_MAX_NAME = max(map(len, _FIELD_BY_LOWER_NAME))
_MAX_COMPARED = 2 * _MAX_NAME
"""Longer names are not compared for similarity."""
_TYPO_SIMILARITY = 0.85  # passanger_count is 0.93, lpep_dropoff_datetime (another column) 0.75
_SUGGESTED_SIMILARITY = 0.7

_PUNCTUATION = re.compile(r"[\W_]+")
_SAME_LETTERS: Final = {
    _PUNCTUATION.sub("", name): field for name, field in _FIELD_BY_LOWER_NAME.items()
}
"""Field by its name without underscores."""

_ANOTHER_NAME: Final = (
    (re.compile(r"^pu(loc|zone)|pickup.*(loc|zone)"), "PULocationID"),
    (re.compile(r"^do(loc|zone)|dropoff.*(loc|zone)"), "DOLocationID"),
    (re.compile(r"pickup"), "pickup_datetime"),
    (
        re.compile(r"^(n|no|num|numberof|nr|total)?passengers?(cnt|count|no|nr|num|number)?$"),
        "passenger_count",
    ),
)
"""Names, in lower case without punctuation, that almost certainly mean a field."""

_POSSIBLE_NAME: Final = (
    (re.compile(r"^(pu|origin|from|start|source)(id|loc.*|zone.*)?$"), "PULocationID"),
    (re.compile(r"^(do|dropoff|dest|destination|to|end)(id|loc.*|zone.*)?$"), "DOLocationID"),
    (
        re.compile(
            r"^(trip|ride|travel|est|estimated)?(dist|distance|miles?|mileage|km|kilomet(er|re)s?)"
            r"(in)?(mi|miles?|km)?$"
        ),
        "trip_distance",
    ),
    (
        re.compile(
            r"^(pu|start|started|begin|departure|request|requested)?"
            r"(at|date|dates|datetime|hour|time|timestamp)$"
        ),
        "pickup_datetime",
    ),
    (
        re.compile(
            r"passenger|^(n|no|num|number|numberof)?(pax|people|persons?|psgrs?|riders?)"
            r"(cnt|count|no|num|number)?$"
        ),
        "passenger_count",
    ),
)
"""Names that may mean a field if no other name does."""


class MatchedNames(NamedTuple):
    """The matched names of a request's values or a file's columns.

    Attributes:
        name_of: The given name of each field that is present.
        repeated: Other names of a field that is already present: (name, first name, field).
        unknown: Names that are not fields.
    """

    name_of: dict[str, str]
    repeated: list[tuple[str, str, str]]
    unknown: list[str]


def field_of(name: object) -> str | None:
    """Return the field that a name means; None for an unknown name."""
    if not isinstance(name, str) or len(name) > _MAX_NAME:
        return None
    return _FIELD_BY_LOWER_NAME.get(name.lower())


def match_names(names: Iterable[str]) -> MatchedNames:
    """Match names to fields, repeated fields and unknown names."""
    matched = MatchedNames({}, [], [])
    for name in names:
        field = field_of(name)
        if field is None:
            matched.unknown.append(name)
        elif field in matched.name_of:
            matched.repeated.append((name, matched.name_of[field], field))
        else:
            matched.name_of[field] = name
    return matched


def looks_like(name: str, absent: Collection[str] = ()) -> str | None:
    """Return the field that an unknown name resembles; None for a name that means something else.

    Args:
        name: A name that :func:`match_names` does not know.
        absent: Fields without a name. For these a weaker resemblance counts as well (``time``,
            ``miles``, a misspelling), since a default would be used for the field.
    """
    letters = _letters(name)
    field = _SAME_LETTERS.get(letters) or _first_match(_ANOTHER_NAME, letters)
    if field is not None or not absent:
        return field
    found = _first_match(_POSSIBLE_NAME, letters) or _similar(letters, _TYPO_SIMILARITY)
    return found if found in absent else None


def unknown_field(name: object) -> str:
    """Return the message for an unknown name, with the most similar field."""
    text = str(name)
    field = looks_like(text, REQUEST_COLUMNS) or _similar(_letters(text), _SUGGESTED_SIMILARITY)
    known = f"did you mean {field}?" if field else f"the fields are {', '.join(REQUEST_COLUMNS)}"
    return f"{quoted_name(text)} is not a request field: {known}"


def repeated_field(name: str, first: str, field: str) -> str:
    """Return the message for a field with two names."""
    return f"{quoted_name(first)} and {quoted_name(name)} both mean {field}: remove one"


def wrapped_request(name: str) -> str:
    """Return the message for a request nested in a key, such as ``instances`` of other servers."""
    return (
        f"{quoted_name(name)} is not a request field: send the request itself, as "
        '{"PULocationID": 236, "DOLocationID": 239}, or a list of requests [{…}, {…}], without a '
        "wrapper"
    )


def quoted_name(name: str) -> str:
    """Return a name in quotes on one line, shortened for a message."""
    if len(name) <= MAX_QUOTED_NAME:
        return repr(name)
    return f"{name[:MAX_QUOTED_NAME]!r}… ({len(name):,} characters)"


def _letters(name: str) -> str:
    """Return a name in lower case without punctuation; empty if too long to compare."""
    return _PUNCTUATION.sub("", name.lower()) if len(name) <= _MAX_COMPARED else ""


def _first_match(table: tuple[tuple[re.Pattern[str], str], ...], letters: str) -> str | None:
    return next((field for pattern, field in table if pattern.search(letters)), None)


@lru_cache(maxsize=4096)
def _similar(letters: str, similarity: float) -> str | None:
    close = get_close_matches(letters, _SAME_LETTERS, 1, similarity)
    return _SAME_LETTERS[close[0]] if close else None
