"""Cursors of sensors, and the event numbers that they are compared with."""

from typing import TypeVar

import dagster as dg
from pydantic import BaseModel, ValidationError

Cursor = TypeVar("Cursor", bound=BaseModel)


def load_cursor(kind: type[Cursor], text: str | None) -> Cursor:
    """Load a sensor's cursor.

    Args:
        kind: Its model, with a default for every field.
        text: The stored cursor.

    Returns:
        The cursor; an empty one if there is none, or it is damaged or of another version.
    """
    try:
        return kind.model_validate_json(text or "{}")
    except ValidationError:
        return kind()


def skip(reason: str, cursor: BaseModel | None = None) -> dg.SensorResult:
    """Return the result of a tick without run requests; without a cursor, the old one is kept."""
    text = None if cursor is None else cursor.model_dump_json()
    return dg.SensorResult(skip_reason=reason, cursor=text)


def latest_storage_id(instance: dg.DagsterInstance, asset: dg.AssetKey | str) -> int:
    """Return the storage id of an asset's newest materialization; 0 without one."""
    key = dg.AssetKey(asset) if isinstance(asset, str) else asset
    records = instance.fetch_materializations(key, limit=1).records
    return records[0].storage_id if records else 0
