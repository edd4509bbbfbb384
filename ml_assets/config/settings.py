"""Typed settings from the environment: read once, checked at once.

A wrong value stops with one line that names the variable, the value and what is allowed.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from ml_assets.config.http_origin import parse_host
from ml_assets.config.sqlite_url import resolved, sqlite_url
from ml_assets.secrets import ShownError, shown_value, without_credentials
from ml_assets.trips.calendar import latest_published_month, new_york_date
from ml_assets.trips.month import Month

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
FIRST_PUBLISHED = Month(2009, 1)
EXPERIMENT = "taxi-trip-duration"
REGISTERED_MODEL = "taxi-trip-duration"
ALLOWED_HOSTS_VARIABLE = "ML_ASSETS_ALLOWED_HOSTS"
VARIABLES = (
    "ML_ASSETS_TRIPS",
    "ML_ASSETS_TAXI",
    "ML_ASSETS_HOME",
    "ML_ASSETS_FIRST_MONTH",
    "MLFLOW_TRACKING_URI",
    "ML_ASSETS_INGEST_CRON",
    "ML_ASSETS_SCORE_CRON",
    "ML_ASSETS_RETRAIN_CRON",
    "ML_ASSETS_MAX_MONTH_ROWS",
    ALLOWED_HOSTS_VARIABLE,
)
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
SCORE_CRON = "0 8 5 * *"
RETRAIN_CRON = "0 4 * * 0"
"""When schedules look, New York time: on the 5th at 6:00 and at 8:00, on Sundays at 4:00."""

CRONS = {
    "ML_ASSETS_INGEST_CRON": INGEST_CRON,
    "ML_ASSETS_SCORE_CRON": SCORE_CRON,
    "ML_ASSETS_RETRAIN_CRON": RETRAIN_CRON,
}


class SettingsError(ShownError, ValueError):
    """An environment variable has a value that is not allowed."""

    def __init__(self, variable: str, value: str, allowed: str) -> None:
        super().__init__(f"{variable}={shown_value(str(value))} is not allowed: {allowed}")


@dataclass(frozen=True)
class Settings:
    """What the environment decides.

    Attributes:
        trips: Source of published months: ``sample``, ``tlc``, or a folder or URL.
        taxi: ``green`` or ``yellow``.
        home: Where assets live: a local folder (absolute) or an fsspec URL.
        first_month: First monthly partition.
        tracking_uri: MLflow tracking server.
        ingest_cron: When new months are looked for, however the sensor did; None for never.
        score_cron: When drift and the champion's error are measured; None for never.
        retrain_cron: When models are trained again if anything changed; None for never.
        max_month_rows: How many rows a published month may have; None for the taxi's default.
        allowed_hosts: Names besides this machine's own by which clients may address the prediction
            service and Dagster's UI, also through a proxy on this machine.
    """

    trips: str = field(repr=False)
    taxi: str
    home: str = field(repr=False)
    first_month: Month
    tracking_uri: str = field(repr=False)
    ingest_cron: str | None = INGEST_CRON
    score_cron: str | None = SCORE_CRON
    retrain_cron: str | None = RETRAIN_CRON
    max_month_rows: int | None = None
    allowed_hosts: tuple[str, ...] = ()

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
        return dict(zip(CRONS, (self.ingest_cron, self.score_cron, self.retrain_cron), strict=True))

    @property
    def synthetic(self) -> bool:
        """Whether trips are the embedded sample's rather than published ones."""
        return self.trips == "sample"


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from environment variables (``os.environ`` unless given).

    Raises:
        SettingsError: for the first variable whose value is not allowed.
    """
    given = os.environ if environment is None else environment
    variables = {name: value.strip() for name, value in given.items() if name in VARIABLES}
    home = _home(variables.get("ML_ASSETS_HOME") or str(PROJECT_FOLDER / ".ml_assets"))
    return Settings(
        trips=_trips(variables.get("ML_ASSETS_TRIPS") or "sample"),
        taxi=_taxi(variables.get("ML_ASSETS_TAXI") or "green"),
        home=home,
        first_month=_first_month(variables.get("ML_ASSETS_FIRST_MONTH") or "2023-01"),
        tracking_uri=_tracking_uri(
            variables.get("MLFLOW_TRACKING_URI") or sqlite_url(_local_home(home) / "mlflow.db")
        ),
        ingest_cron=_cron(variables, "ML_ASSETS_INGEST_CRON", INGEST_CRON),
        score_cron=_cron(variables, "ML_ASSETS_SCORE_CRON", SCORE_CRON),
        retrain_cron=_cron(variables, "ML_ASSETS_RETRAIN_CRON", RETRAIN_CRON),
        max_month_rows=_max_month_rows(variables.get("ML_ASSETS_MAX_MONTH_ROWS")),
        allowed_hosts=read_allowed_hosts(variables),
    )


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
    with contextlib.suppress(ValueError):  # read_settings says what is wrong
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
            raise SettingsError("ML_ASSETS_TRIPS", value, allowed)
        return _absolute(value)
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise SettingsError("ML_ASSETS_TRIPS", value, allowed)
    return str(folder.resolve())


def _taxi(value: str) -> str:
    if value not in ("green", "yellow"):
        raise SettingsError("ML_ASSETS_TAXI", value, "use green or yellow")
    return value


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
        raise SettingsError("ML_ASSETS_HOME", value, allowed) from error
    if not there.is_dir():
        raise SettingsError("ML_ASSETS_HOME", value, "use a folder, not a file, or an fsspec URL")
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
        raise SettingsError("ML_ASSETS_HOME", url, allowed)


def _first_month(value: str) -> Month:
    newest = latest_published_month(new_york_date())
    allowed = (
        f"use a month from {FIRST_PUBLISHED} to {newest}, the newest that can be out, written "
        "YYYY-MM, for example 2023-01"
    )
    try:
        month = Month.parse(value)
    except ValueError as error:
        raise SettingsError("ML_ASSETS_FIRST_MONTH", value, allowed) from error
    if not FIRST_PUBLISHED <= month <= newest:
        raise SettingsError("ML_ASSETS_FIRST_MONTH", value, allowed)
    return month


def _tracking_uri(value: str) -> str:
    allowed = "use sqlite:///…, postgresql://…, mysql://…, mssql://… or an http(s):// server"
    database = r"sqlite(\+pysqlite)?:///.+|(postgresql|mysql|mssql)(\+\w+)?://.+"
    if not re.fullmatch(rf"{database}|https?://.+|databricks(-uc)?(://.*)?", value):
        raise SettingsError("MLFLOW_TRACKING_URI", value, allowed)
    try:
        return resolved(value)
    except ValueError as error:
        raise SettingsError("MLFLOW_TRACKING_URI", value, str(error)) from error


def _max_month_rows(value: str | None) -> int | None:
    """A number of rows; None when the taxi's default counts."""
    if not value:
        return None
    digits = value.replace("_", "").replace(",", "")
    if not (digits.isdecimal() and digits.isascii() and 0 < int(digits) <= MAX_MAX_MONTH_ROWS):
        allowed = f"use a whole number of rows from 1 to {MAX_MAX_MONTH_ROWS:,}"
        raise SettingsError("ML_ASSETS_MAX_MONTH_ROWS", value, allowed)
    return int(digits)


def read_allowed_hosts(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Further names of this machine, or of a proxy on it.

    Raises:
        SettingsError: when one is no name of a host.
    """
    value = environment.get(ALLOWED_HOSTS_VARIABLE, "")
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        found = parse_host(name)
        if found is None or found.port is not None:
            raise SettingsError(
                ALLOWED_HOSTS_VARIABLE,
                value,
                "use names of hosts separated by commas, without scheme and port, for example "
                "rides.example.com",
            )
    return tuple(names)


def _cron(variables: Mapping[str, str], variable: str, default: str) -> str | None:
    """A schedule; None when it is switched off. Dagster checks it where schedules are made."""
    value = variables.get(variable) or default
    return None if value == OFF else " ".join(value.split())
