"""URLs of SQLite databases that mean the same file in every folder and library."""

import re
from pathlib import Path

_PREFIX = "sqlite:///"
_URL = re.compile(r"sqlite(\+pysqlite)?:///(?P<rest>.*)", re.DOTALL)
_UNRESERVED = re.compile(r"[\w/.+~ -]*")
"""Characters that have no special meaning in a URL for any library."""

MEMORY = ":memory:"


def sqlite_url(database: Path) -> str:
    """Return the SQLAlchemy URL of a database file.

    SQLAlchemy quotes a path with ``%41``, ``?`` or ``#``, which would name another file in a URL.
    Such a URL includes the driver: after a bare ``sqlite:///`` MLflow would create the folder
    without unquoting its name.
    """
    path = str(database)
    if _UNRESERVED.fullmatch(path):
        return f"{_PREFIX}{path}"
    from sqlalchemy.engine import URL, make_url

    plain = make_url(f"{_PREFIX}{path}")
    if plain.database == path and not plain.query:
        return f"{_PREFIX}{path}"
    return URL.create("sqlite+pysqlite", database=path).render_as_string(hide_password=False)


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite URL; None for other URLs and for in-memory databases."""
    found = _URL.fullmatch(url)
    if found is None:
        return None
    path = found["rest"]
    if not _UNRESERVED.fullmatch(path):
        from sqlalchemy.engine import make_url

        path = make_url(url).database or ""
    return None if path in ("", MEMORY) else Path(path)


def resolve_url(url: str) -> str:
    """Make the path of a SQLite URL absolute; other URLs are returned unchanged.

    A relative path is resolved against the working directory, and ``~`` is expanded.

    Args:
        url: URL of a database or server. Parameters after ``?`` are kept.

    Raises:
        ValueError: for ``file:…?uri=true``, SQLite's own URI syntax.
    """
    database = sqlite_path(url)
    if database is None:
        return url
    if str(database).startswith("file:"):
        raise ValueError("write the path itself, sqlite:///PATH, instead of sqlite:///file:PATH")
    _, mark, query = url.partition("?")
    return f"{sqlite_url(database.expanduser().resolve())}{mark}{query}"
