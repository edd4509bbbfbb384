"""Option types; their errors name the allowed values."""

from typing import Any

import click

from ml_assets.training.families import FAMILIES
from ml_assets.training.row_sample import RowLimit, RowLimitError, parse_row_limit
from ml_assets.trips.month import Month


class MonthType(click.ParamType):
    """A month written YYYY-MM."""

    name = "YYYY-MM"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Month:
        """Parse the month, or fail with an example."""
        try:
            return value if isinstance(value, Month) else Month.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class MonthsType(click.ParamType):
    """Months, separated by commas."""

    name = "YYYY-MM[,YYYY-MM…]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Month, ...]:
        """Parse the months, or fail with an example."""
        if isinstance(value, tuple):
            return value
        return tuple(MonthType().convert(text, param, ctx) for text in _split(value))


class RowLimitType(click.ParamType):
    """A maximum number of rows, ``default`` or ``all``."""

    name = "N|default|all"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> RowLimit:
        """Parse the limit, or fail naming what is allowed."""
        try:
            return parse_row_limit(value)
        except RowLimitError as error:
            self.fail(str(error), param, ctx)


class ModelsType(click.ParamType):
    """Family names, separated by commas."""

    name = "NAME[,NAME…]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Parse distinct names, or fail naming the unknown ones and all families."""
        names = value if isinstance(value, tuple) else tuple(dict.fromkeys(_split(value)))
        unknown = [name for name in names if name not in FAMILIES]
        if unknown or not names:
            self.fail(
                f"no model family is called {', '.join(unknown) or 'nothing'}: choose from "
                f"{', '.join(FAMILIES)}",
                param,
                ctx,
            )
        return names


def _split(text: str) -> list[str]:
    return [piece.strip() for piece in text.split(",") if piece.strip()]
