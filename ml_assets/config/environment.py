"""Settings classes that are read from environment variables and ``.env``.

A wrong value is one line that names the variable, the value and what is allowed. Each variable has
its meaning and default beside its type, from which the tables of the documentation are made.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from dotenv import load_dotenv
from pydantic import AliasChoices, Field, JsonValue, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ml_assets.secrets import ShownError, shown_value

ENV_FILE = ".env"
_READ_ALREADY = "PYTHON_DOTENV_DISABLED"
"""python-dotenv's own switch, inherited by every process that is started from here."""

_CHOICES = re.compile(r"'([^']*)'")
_HIDDEN = "…"

_MARKED = re.compile(r"(<!-- variables: (\w+) -->\n)(.*?)(\n<!-- end of variables -->)", re.DOTALL)


class SettingsError(ShownError, ValueError):
    """An environment variable has a value that is not allowed."""

    def __init__(self, variable: str, value: str, allowed: str) -> None:
        super().__init__(f"{variable}={shown_value(str(value))} is not allowed: {allowed}")


class EnvironmentSettings(BaseSettings):
    """Base of settings whose fields are made by :func:`variable`; blank values count as unset."""

    model_config = SettingsConfigDict(
        frozen=True,
        case_sensitive=True,
        extra="ignore",
        validate_default=True,
        enable_decoding=False,  # no value is JSON
        hide_input_in_errors=True,  # it may be a secret
    )

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read environment variables.

        Args:
            environment: Instead of this process's variables and ``.env``.

        Raises:
            SettingsError: for the first variable whose value is not allowed.
        """
        if environment is None:
            load_env_file()
        given = os.environ if environment is None else environment
        names = (name for field in _fields(cls) for name in _names(field))
        values = {name: given.get(name, "").strip() for name in names}
        try:
            return cls(**{name: value for name, value in values.items() if value})
        except ValidationError as error:
            raise cls._first_error(error) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the variables that :meth:`read` passes."""
        return (init_settings,)

    @classmethod
    def _first_error(cls, error: ValidationError) -> SettingsError:
        found = error.errors()[0]
        name = str(found["loc"][0])
        field = next(field for field in _fields(cls) if name in _names(field))
        extra = field.json_schema_extra
        allowed = extra.get("allowed") if isinstance(extra, dict) else None
        if allowed is None:
            choices = _CHOICES.findall(str(found.get("ctx", {}).get("expected", "")))
            allowed = f"use {_in_words(choices)}" if choices else found["msg"]
        if found["type"] == "value_error":  # said by a validator of this project's
            allowed = str(found["ctx"]["error"])
        hidden = SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))
        return SettingsError(name, _HIDDEN if hidden else str(found["input"]), str(allowed))


def variable(
    name: str,
    default: Any = None,
    *,
    meaning: str,
    shown: str | None = None,
    allowed: str | None = None,
    former: str | None = None,
    **options: Any,
) -> Any:
    """A field of settings.

    Args:
        name: Of the environment variable.
        default: Its value when the variable is unset; checked like a given one.
        meaning: For the documentation, in Markdown.
        shown: The default in words; by default the value itself.
        allowed: What to use instead of a wrong value; by default what the validator says.
        former: The variable's name in earlier versions, read when ``name`` is unset or blank.
        options: Of ``pydantic.Field``.
    """
    extra: dict[str, JsonValue] = {"shown": shown or f"`{default}`"}
    if allowed is not None:
        extra["allowed"] = allowed
    if "default_factory" not in options:
        options["default"] = default
    alias = AliasChoices(*filter(None, (name, former)))
    return Field(validation_alias=alias, description=meaning, json_schema_extra=extra, **options)


def load_env_file() -> None:
    """Set the variables of ``.env`` in the working directory that are not set; once.

    Processes that are started from here work elsewhere, and get them from this one.

    Raises:
        SettingsError: when the file cannot be read.
    """
    if os.environ.get(_READ_ALREADY):
        return
    file = Path.cwd() / ENV_FILE
    try:
        load_dotenv(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        allowed = f"the file cannot be read ({reason}): correct, move or remove it"
        raise SettingsError(ENV_FILE, str(file), allowed) from error
    os.environ[_READ_ALREADY] = "1"


def variables_of(*settings: type[EnvironmentSettings]) -> tuple[str, ...]:
    """Names of the variables of some settings, in the order of the documentation."""
    return tuple(_names(field)[0] for each in settings for field in _fields(each))


def renamed_variables(*settings: type[EnvironmentSettings]) -> dict[str, str]:
    """Former names of variables, each with the variable's name today."""
    names = [_names(field) for each in settings for field in _fields(each)]
    return {former: name for name, *formers in names for former in formers}


def table(*settings: type[EnvironmentSettings]) -> str:
    """The variables of some settings as a Markdown table."""
    rows = ["| variable | meaning | default |", "| --- | --- | --- |"]
    for field in (field for each in settings for field in _fields(each)):
        extra = field.json_schema_extra
        shown = extra["shown"] if isinstance(extra, dict) else ""
        rows.append(f"| `{_names(field)[0]}` | {field.description} | {shown} |")
    return "\n".join(rows)


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """A document with the tables between its markers ``<!-- variables: NAME -->`` replaced."""
    return _MARKED.sub(lambda match: f"{match[1]}{tables[match[2]]}{match[4]}", text)


def _fields(settings: type[EnvironmentSettings]) -> Iterable[FieldInfo]:
    return settings.model_fields.values()


def _names(field: FieldInfo) -> list[str]:
    """A variable's name, and its former one if it has one."""
    assert isinstance(field.validation_alias, AliasChoices)
    return [str(name) for name in field.validation_alias.choices]


def _in_words(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
