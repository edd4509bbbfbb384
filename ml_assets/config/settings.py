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
from ml_assets.config.sqlite_url import resolved, sqlite_url
from ml_assets.secrets import without_credentials
from ml_assets.trips.calendar import latest_published_month, new_york_date
from ml_assets.trips.month import Month
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
"""What may hold a path, besides ``MLFLOW_TRACKING_URI``; the last three belong to libraries."""

FOLDERS_TO_MAKE = ("ML_ASSETS_HOME", "DAGSTER_HOME")
TRIPS = ("sample", "tlc")
LOCAL = ("file://", "local://")
OFF = "off"
MAX_MAX_MONTH_ROWS = 2**31 - 1
INGEST_CRON = "0 6 5 * *"
MONITOR_CRON = "0 8 5 * *"
RETRAIN_CRON = "0 4 * * 0"
"""When schedules look, New York time: on the 5th at 6:00 and at 8:00, on Sundays at 4:00."""

CRONS = {
    "ML_ASSETS_INGEST_CRON": INGEST_CRON,
    "ML_ASSETS_MONITOR_CRON": MONITOR_CRON,
    "ML_ASSETS_RETRAIN_CRON": RETRAIN_CRON,
}


def make_paths_absolute(environment: MutableMapping[str, str]) -> None:
    """Have every variable with a path in it mean the same in other working directories.

    ``ml-assets dev`` works in another one than it was called in, and so do the processes that it
    starts.

    Args:
        environment: ``os.environ``; changed in place. A value that leads nowhere, and is refused
            where it is read, stays as it was typed.
    """
    for name in PATH_VARIABLES:
        value = environment.get(name, "").strip()
        path = Path(value.rpartition("::")[2].removeprefix("file://").removeprefix("local://"))
        if value and value not in TRIPS and (name in FOLDERS_TO_MAKE or path.expanduser().exists()):
            environment[name] = _absolute(value)
    uri = environment.get("MLFLOW_TRACKING_URI", "").strip()
    with contextlib.suppress(ValueError):  # reading the settings reports it
        if uri:
            environment["MLFLOW_TRACKING_URI"] = resolved(uri)


def _absolute(place: str) -> str:
    """A path, or a URL that leads to one (``file://``, ``zip://*::``), by the absolute path."""
    chain, mark, last = place.rpartition("::")
    if chain.count("[") > chain.count("]"):  # the address of an IPv6 server
        return place
    prefix = next((prefix for prefix in LOCAL if last.startswith(prefix)), "")
    path = last.removeprefix(prefix)
    if not path or "://" in path:
        return place
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
    # The user tells two homes of one server apart; a new password does not make another home.
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
        f"use a month from {FIRST_PUBLISHED} to {newest}, the newest that can be out, written "
        "YYYY-MM, for example 2023-01"
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
    return resolved(value)


def _rows(value: str | None) -> int | None:
    if value is None:
        return None
    digits = value.replace("_", "").replace(",", "")
    if not (digits.isdecimal() and digits.isascii() and 0 < int(digits) <= MAX_MAX_MONTH_ROWS):
        raise ValueError(f"use a whole number of rows from 1 to {MAX_MAX_MONTH_ROWS:,}")
    return int(digits)


def _cron(value: str) -> str | None:
    """A schedule; None when it is switched off. Dagster checks it where schedules are made."""
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
    """Distinct names separated by commas."""
    return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


def _token(value: str | None) -> str | None:
    if value is not None and (not value.isascii() or not value.isprintable() or " " in value):
        raise ValueError("use letters, digits and signs of ASCII, without spaces")
    return value


Cron = Annotated[str | None, BeforeValidator(_cron)]
"""When a schedule runs; None for never."""


class Settings(EnvironmentSettings):
    """What the environment decides for the project."""

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
        """The tracking server without user and password, fit to be shown."""
        return without_credentials(self.tracking_uri)

    @property
    def home_is_local(self) -> bool:
        """Whether ``home`` is a folder of this machine rather than a URL."""
        return "://" not in self.home

    @property
    def local_home(self) -> Path:
        """A local folder for databases and scratch files, also when assets live at a URL.

        Each URL has one of its own below ``.ml_assets``: homes must not share a registry.
        """
        return _local_home(self.home)

    @property
    def crons(self) -> Mapping[str, str | None]:
        """Each schedule's expression by its variable; None when it is switched off."""
        expressions = (self.ingest_cron, self.monitor_cron, self.retrain_cron)
        return dict(zip(CRONS, expressions, strict=True))

    @property
    def synthetic(self) -> bool:
        """Whether trips are the embedded sample's rather than published ones."""
        return self.trips == "sample"


class ServiceSettings(EnvironmentSettings):
    """What the environment decides for the prediction service alone."""

    api_token: Annotated[SecretStr | None, BeforeValidator(_token)] = variable(
        TOKEN_VARIABLE,
        meaning="bearer token of the prediction service; unset: it answers this machine only",
        shown="unset",
    )


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from environment variables (this process's and ``.env`` unless given).

    Raises:
        SettingsError: for the first variable whose value is not allowed.
    """
    return Settings.read(environment)


def read_extra_families() -> tuple[str, ...]:
    """Names in ``ML_ASSETS_EXTRA_FAMILIES`` (of this process or ``.env``), not yet checked."""
    load_env_file()
    return _names(os.environ.get(FAMILIES_VARIABLE, ""))


def read_allowed_hosts(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Further names of this machine, or of a proxy on it.

    Raises:
        SettingsError: when one is no name of a host.
    """
    value = environment.get(ALLOWED_HOSTS_VARIABLE, "")
    try:
        return _hosts(value)
    except ValueError as error:
        raise SettingsError(ALLOWED_HOSTS_VARIABLE, value, str(error)) from error
