"""Settings of the project and of its prediction service."""

import contextlib
import hashlib
import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, SecretStr

from ml_assets.config.environment import (
    EnvironmentSettings,
    SettingsError,
    load_env_file,
    variable,
)
from ml_assets.config.http_origin import parse_host
from ml_assets.config.sqlite_url import resolve_url, sqlite_url
from ml_assets.secrets import without_credentials
from ml_assets.trips.month import Month, latest_published_month, new_york_date
from ml_assets.trips.target import TARGET

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
FIRST_PUBLISHED = Month(2009, 1)
EXPERIMENT = REGISTERED_MODEL = TARGET.model_name
ALLOWED_HOSTS_VARIABLE = "ML_ASSETS_ALLOWED_HOSTS"
FAMILIES_VARIABLE = "ML_ASSETS_EXTRA_FAMILIES"
TOKEN_VARIABLE = "ML_ASSETS_API_TOKEN"
PATH_VARIABLES = (
    "ML_ASSETS_TRIPS",
    "ML_ASSETS_HOME",
    "ML_ASSETS_SMTP_CA_FILE",
    "DAGSTER_HOME",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
)
"""Variables with paths, besides ``MLFLOW_TRACKING_URI``; the last three belong to libraries."""

CREATED_FOLDERS = ("ML_ASSETS_HOME", "DAGSTER_HOME")
TRIPS = ("sample", "tlc")
LOCAL = ("file://", "local://")
OFF = "off"
MAX_MAX_MONTH_ROWS = 2**31 - 1
INGEST_CRON = "0 6 5 * *"
MONITOR_CRON = "0 8 5 * *"
RETRAIN_CRON = "0 4 * * 0"
"""Default schedules, New York time: on the 5th at 6:00 and at 8:00, on Sundays at 4:00."""

CRONS = {
    "ML_ASSETS_INGEST_CRON": INGEST_CRON,
    "ML_ASSETS_MONITOR_CRON": MONITOR_CRON,
    "ML_ASSETS_RETRAIN_CRON": RETRAIN_CRON,
}


def make_paths_absolute(environment: MutableMapping[str, str]) -> None:
    """Make paths in environment variables absolute.

    ``ml-assets dev`` and its child processes have another working directory than the caller.

    Args:
        environment: ``os.environ``; changed in place. Paths that do not exist are kept as they
            were typed, and rejected when they are read.
    """
    for name in PATH_VARIABLES:
        value = environment.get(name, "").strip()
        path = Path(value.rpartition("::")[2].removeprefix("file://").removeprefix("local://"))
        if value and value not in TRIPS and (name in CREATED_FOLDERS or path.expanduser().exists()):
            environment[name] = _absolute(value)
    uri = environment.get("MLFLOW_TRACKING_URI", "").strip()
    with contextlib.suppress(ValueError):  # reading the settings reports it
        if uri:
            environment["MLFLOW_TRACKING_URI"] = resolve_url(uri)


def _absolute(url: str) -> str:
    """Make a path, or the path in a URL (``file://``, ``zip://*::``), absolute."""
    chain, mark, last = url.rpartition("::")
    if chain.count("[") > chain.count("]"):  # an IPv6 address
        return url
    prefix = next((prefix for prefix in LOCAL if last.startswith(prefix)), "")
    path = last.removeprefix(prefix)
    if not path or "://" in path:
        return url
    return f"{chain}{mark}{prefix}{Path(path).expanduser().resolve()}"


def _trips(value: str) -> str:
    allowed = "use sample, tlc, a folder that exists, or a URL (https://, s3://, memory://, …)"
    if value in TRIPS:
        return value
    if "://" in value:
        if not re.match(r"^[a-z][a-z0-9+.-]*(::[a-z0-9+.-]+)*://", value):
            raise ValueError(allowed)
        return _absolute(value)
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise ValueError(allowed)
    return str(folder.resolve())


def _home(value: str) -> str:
    for prefix in LOCAL:
        value = value.removeprefix(prefix)
    if "://" in value:
        _require_writable_protocol(value)
        return value.rstrip("/")
    folder = Path(value).expanduser().resolve()
    try:
        there = next(place for place in (folder, *folder.parents) if place.exists())
    except OSError as error:
        allowed = f"it cannot be reached ({os.strerror(error.errno or 0)}); use a folder that can"
        raise ValueError(allowed) from error
    if not there.is_dir():
        raise ValueError("use a folder, not a file, or an fsspec URL")
    return str(folder)


def _local_home(home: str) -> Path:
    if "://" not in home:
        return Path(home)
    readable = re.sub(r"[^a-z0-9]+", "-", without_credentials(home).lower()).strip("-")[:60]
    # Users of one server have separate homes; a changed password does not change the home.
    place = re.sub(r"(://[^/@:]*):[^/]*@", r"\1@", home)
    digest = hashlib.sha256(place.encode()).hexdigest()[:8]
    return PROJECT_FOLDER / ".ml_assets" / f"{readable}-{digest}"


def _require_writable_protocol(url: str) -> None:
    from fsspec import available_protocols

    protocols = url.partition("://")[0].split("::")
    if {"http", "https"} & {*protocols} or not {*protocols} <= {*available_protocols()}:
        allowed = "use a folder, or an fsspec URL that can be written (s3://, gs://, memory://, …)"
        raise ValueError(allowed)


def _first_month(value: str) -> Month:
    newest = latest_published_month(new_york_date())
    allowed = (
        f"use a month from {FIRST_PUBLISHED} to {newest}, the newest that can be published, "
        "written YYYY-MM, for example 2023-01"
    )
    try:
        month = Month.parse(value)
    except ValueError as error:
        raise ValueError(allowed) from error
    if not FIRST_PUBLISHED <= month <= newest:
        raise ValueError(allowed)
    return month


def _tracking_uri(value: str) -> str:
    database = r"sqlite(\+pysqlite)?:///.+|(postgresql|mysql|mssql)(\+\w+)?://.+"
    if not re.fullmatch(rf"{database}|https?://.+|databricks(-uc)?(://.*)?", value):
        raise ValueError(
            "use sqlite:///…, postgresql://…, mysql://…, mssql://… or an http(s):// server"
        )
    return resolve_url(value)


def _rows(value: str | None) -> int | None:
    if value is None:
        return None
    digits = value.replace("_", "").replace(",", "")
    if not (digits.isdecimal() and digits.isascii() and 0 < int(digits) <= MAX_MAX_MONTH_ROWS):
        raise ValueError(f"use a whole number of rows from 1 to {MAX_MAX_MONTH_ROWS:,}")
    return int(digits)


def _cron(value: str) -> str | None:
    """Return the cron expression; None for "off". Dagster validates it in the schedules."""
    return None if value == OFF else " ".join(value.split())


def _hosts(value: str) -> tuple[str, ...]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        found = parse_host(name)
        if found is None or found.port is not None:
            raise ValueError(
                "use names of hosts separated by commas, without scheme and port, for example "
                "rides.example.com"
            )
    return tuple(names)


def _names(value: str) -> tuple[str, ...]:
    """Return the distinct names in a comma-separated list."""
    return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


def _token(value: str | None) -> str | None:
    if value is not None and (not value.isascii() or not value.isprintable() or " " in value):
        raise ValueError("use printable ASCII characters without spaces")
    return value


Cron = Annotated[str | None, BeforeValidator(_cron)]
"""Cron expression of a schedule; None if it is off."""


class Settings(EnvironmentSettings):
    """Settings of the project."""

    trips: Annotated[str, AfterValidator(_trips)] = variable(
        "ML_ASSETS_TRIPS",
        "sample",
        meaning="`sample`, `tlc` (the Taxi and Limousine Commission's site), or a folder or fsspec "
        "URL with `{taxi}_tripdata_YYYY-MM.parquet`",
        repr=False,
    )
    taxi: Literal["green", "yellow"] = variable(
        "ML_ASSETS_TAXI", "green", meaning="`green` or `yellow`"
    )
    home: Annotated[str, AfterValidator(_home)] = variable(
        "ML_ASSETS_HOME",
        str(PROJECT_FOLDER / ".ml_assets"),
        meaning="where assets, MLflow and Dagster store everything: a folder, or an fsspec URL for "
        "the assets (databases, and artifacts that MLflow cannot store there, are then in "
        "`.ml_assets/<name of the URL>`)",
        shown="`.ml_assets`",
        repr=False,
    )
    first_month: Annotated[Month, BeforeValidator(_first_month)] = variable(
        "ML_ASSETS_FIRST_MONTH", "2023-01", meaning="first monthly partition"
    )
    max_month_rows: Annotated[int | None, BeforeValidator(_rows)] = variable(
        "ML_ASSETS_MAX_MONTH_ROWS",
        meaning="rows that a published month may have; a larger file, or one whose columns decode "
        "to more than 16 bytes for each of that many rows, is refused before it is decoded",
        shown="3,000,000 green, 24,000,000 yellow: 1.5 times the largest months",
    )
    tracking_uri: Annotated[str, AfterValidator(_tracking_uri)] = variable(
        "MLFLOW_TRACKING_URI",
        meaning="MLflow tracking server, or a database",
        shown="SQLite in `ML_ASSETS_HOME`",
        default_factory=lambda given: sqlite_url(_local_home(given["home"]) / "mlflow.db"),
        repr=False,
    )
    extra_families: Annotated[tuple[str, ...], BeforeValidator(_names)] = variable(
        FAMILIES_VARIABLE,
        "",
        meaning="optional model families to train as well, separated by commas: see "
        "[Model families](families.md)",
        shown="none",
    )
    side_by_side: Literal["on", "off"] = variable(
        "ML_ASSETS_SIDE_BY_SIDE",
        "on",
        meaning="whether a run executes a step that uses one core, such as the fit of a linear "
        "model, beside one that uses all; `off`, and a machine with one core, execute one after "
        "the other, which needs less memory",
    )
    ingest_cron: Cron = variable(
        "ML_ASSETS_INGEST_CRON",
        INGEST_CRON,
        meaning="when `ingest_monthly` runs: a cron expression that Dagster accepts, in New York "
        "time, or `off`",
    )
    monitor_cron: Cron = variable(
        "ML_ASSETS_MONITOR_CRON",
        MONITOR_CRON,
        meaning="when `monitor_monthly` runs, or `off`",
        former="ML_ASSETS_SCORE_CRON",
    )
    retrain_cron: Cron = variable(
        "ML_ASSETS_RETRAIN_CRON", RETRAIN_CRON, meaning="when `retrain_weekly` runs, or `off`"
    )
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(_hosts)] = variable(
        ALLOWED_HOSTS_VARIABLE,
        "",
        meaning="further names of this machine, or of a proxy on it, by which the service (without "
        "a token) and Dagster's UI may be addressed; separated by commas",
        shown="unset",
    )

    @property
    def shown_tracking_uri(self) -> str:
        """The tracking URI without user and password."""
        return without_credentials(self.tracking_uri)

    @property
    def home_is_local(self) -> bool:
        """Whether ``home`` is a local folder, not a URL."""
        return "://" not in self.home

    @property
    def local_home(self) -> Path:
        """Local folder for databases and temporary files, also if ``home`` is a URL.

        Each URL has a separate folder below ``.ml_assets``: homes must not share a registry.
        """
        return _local_home(self.home)

    @property
    def crons(self) -> Mapping[str, str | None]:
        """Cron expression of each schedule by its variable; None if it is off."""
        expressions = (self.ingest_cron, self.monitor_cron, self.retrain_cron)
        return dict(zip(CRONS, expressions, strict=True))

    @property
    def synthetic(self) -> bool:
        """Whether trips come from the embedded sample."""
        return self.trips == "sample"


class ServiceSettings(EnvironmentSettings):
    """Settings of the prediction service."""

    api_token: Annotated[SecretStr | None, BeforeValidator(_token)] = variable(
        TOKEN_VARIABLE,
        meaning="bearer token of the prediction service; unset: it answers this machine only",
        shown="unset",
    )


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from environment variables (by default this process's and ``.env``).

    Raises:
        SettingsError: for the first variable with an invalid value.
    """
    return Settings.read(environment)


def read_extra_families() -> tuple[str, ...]:
    """Return the unvalidated names in ``ML_ASSETS_EXTRA_FAMILIES`` (this process or ``.env``)."""
    load_env_file()
    return _names(os.environ.get(FAMILIES_VARIABLE, ""))


def read_allowed_hosts(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Read further names of this machine, or of a proxy on it.

    Raises:
        SettingsError: when one is not a host name.
    """
    value = environment.get(ALLOWED_HOSTS_VARIABLE, "")
    try:
        return _hosts(value)
    except ValueError as error:
        raise SettingsError(ALLOWED_HOSTS_VARIABLE, value, str(error)) from error
