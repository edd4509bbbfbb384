"""Base of settings that are read from environment variables and ``.env``.

The error for an invalid value is one line with the variable, the value and the allowed values. Each
field has a description and a default, from which the documentation's tables are generated.
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
_ENV_FILE_LOADED = "PYTHON_DOTENV_DISABLED"
"""Variable that disables python-dotenv, inherited by child processes."""

_CHOICES = re.compile(r"'([^']*)'")
_HIDDEN = "…"


class SettingsError(ShownError, ValueError):
    """An environment variable has an invalid value."""

    wrong_use = True

    def __init__(self, variable: str, value: str, allowed: str) -> None:
        super().__init__(f"{variable}={shown_value(str(value))} is not allowed: {allowed}")


class EnvironmentSettings(BaseSettings):
    """Base of settings with fields made by :func:`variable`; blank values count as unset."""

    model_config = SettingsConfigDict(
        frozen=True,
        case_sensitive=True,
        extra="ignore",
        validate_default=True,
        enable_decoding=False,  # values are not JSON
        hide_input_in_errors=True,  # values may be secrets
    )

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read environment variables.

        Raises:
            SettingsError: for the first variable with an invalid value.
        """
        if environment is None:
            load_env_file()
        variables = os.environ if environment is None else environment
        names = (name for field in _fields(cls) for name in _names(field))
        values = {name: variables.get(name, "").strip() for name in names}
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
        """Use only the variables that :meth:`read` passes."""
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
            allowed = f"use {_join_or(choices)}" if choices else found["msg"]
        if found["type"] == "value_error":  # raised by a validator of this project
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
    """Declare a field of settings.

    Args:
        default: Value when the variable is unset; it is validated too.
        meaning: Description for the documentation, in Markdown.
        shown: Description of the default; by default the value itself.
        allowed: Allowed values for error messages; by default the validator's message.
        former: Name of the variable in earlier versions, read when ``name`` is unset or blank.
    """
    extra: dict[str, JsonValue] = {"shown": shown or f"`{default}`"}
    if allowed is not None:
        extra["allowed"] = allowed
    if "default_factory" not in options:
        options["default"] = default
    alias = AliasChoices(*filter(None, (name, former)))
    return Field(validation_alias=alias, description=meaning, json_schema_extra=extra, **options)


def load_env_file() -> None:
    """Set unset variables from ``.env`` in the working directory, once.

    Child processes have other working directories, and inherit the variables.

    Raises:
        SettingsError: when the file cannot be read.
    """
    if os.environ.get(_ENV_FILE_LOADED):
        return
    file = Path.cwd() / ENV_FILE
    try:
        load_dotenv(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        allowed = f"the file cannot be read ({reason}): correct, move or remove it"
        raise SettingsError(ENV_FILE, str(file), allowed) from error
    os.environ[_ENV_FILE_LOADED] = "1"


def variable_names(*settings: type[EnvironmentSettings]) -> tuple[str, ...]:
    """Return the names of the settings' variables, in the order of the documentation."""
    return tuple(_names(field)[0] for each in settings for field in _fields(each))


def renamed_variables(*settings: type[EnvironmentSettings]) -> dict[str, str]:
    """Return the current name of each variable by its former names."""
    names = [_names(field) for each in settings for field in _fields(each)]
    return {former: name for name, *formers in names for former in formers}


def _fields(settings: type[EnvironmentSettings]) -> Iterable[FieldInfo]:
    return settings.model_fields.values()


def _names(field: FieldInfo) -> list[str]:
    """Return a variable's name, and its former one if there is one."""
    assert isinstance(field.validation_alias, AliasChoices)
    return [str(name) for name in field.validation_alias.choices]


def _join_or(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
