"""What sensors of alerts remember from tick to tick."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

Cursor = TypeVar("Cursor", bound=BaseModel)


def parsed(kind: type[Cursor], text: str | None) -> Cursor | None:
    """A cursor as the last tick left it; None for another's, a damaged one, or none."""
    try:
        return kind.model_validate_json(text or "")
    except ValidationError:
        return None
