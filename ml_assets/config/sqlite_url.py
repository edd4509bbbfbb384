"""URLs of SQLite databases, which mean the same file in every folder and in every library."""

import re
from pathlib import Path

_PREFIX = "sqlite:///"
_URL = re.compile(r"sqlite(\+pysqlite)?:///(?P<rest>.*)", re.DOTALL)
_UNRESERVED = re.compile(r"[\w/.+~ -]*")
"""Characters that no URL library reads as anything but themselves."""

MEMORY = ":memory:"


def sqlite_url(database: Path) -> str:
    """The SQLAlchemy URL of a database file.

    A path with ``%41``, ``?`` or ``#`` in it names another file when it is pasted into a URL. It is
    quoted by SQLAlchemy, with the driver named: after a bare ``sqlite:///`` MLflow makes the
    folder that it reads there, without undoing the quotes.

    Args:
        database: The file; it need not exist.
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
    """The file behind a URL; None when it is not one of SQLite, or one in memory."""
    found = _URL.fullmatch(url)
    if found is None:
        return None
    path = found["rest"]
    if not _UNRESERVED.fullmatch(path):
        from sqlalchemy.engine import make_url

        path = make_url(url).database or ""
    return None if path in ("", MEMORY) else Path(path)


def resolved(url: str) -> str:
    """The same database by its absolute path; other URLs as they are.

    A relative path is taken from the working directory of now, ``~`` as the home directory.

    Args:
        url: Of any database or server. Parameters after ``?`` are kept.

    Raises:
        ValueError: for ``file:…?uri=true``, SQLite's other way to write a path.
    """
    database = sqlite_path(url)
    if database is None:
        return url
    if str(database).startswith("file:"):
        raise ValueError("write the path itself, sqlite:///PATH, instead of sqlite:///file:PATH")
    _, mark, query = url.partition("?")
    return f"{sqlite_url(database.expanduser().resolve())}{mark}{query}"
