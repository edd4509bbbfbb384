"""What sensors remember from tick to tick, and what they compare it with."""

from typing import TypeVar

import dagster as dg
from pydantic import BaseModel, ValidationError

Cursor = TypeVar("Cursor", bound=BaseModel)


def load_cursor(kind: type[Cursor], text: str | None) -> Cursor:
    """Load a sensor's cursor.

    Args:
        kind: Its model; every field has a default.
        text: As the last tick left it.

    Returns:
        An empty cursor when there is none, or it is damaged or of another version.
    """
    try:
        return kind.model_validate_json(text or "{}")
    except ValidationError:
        return kind()


def skip(reason: str, cursor: BaseModel | None = None) -> dg.SensorResult:
    """The result of a tick that starts nothing; the cursor stays when none is given."""
    text = None if cursor is None else cursor.model_dump_json()
    return dg.SensorResult(skip_reason=reason, cursor=text)


def latest_storage_id(instance: dg.DagsterInstance, asset: dg.AssetKey | str) -> int:
    """The event log's number of an asset's newest materialization; 0 when there is none."""
    key = dg.AssetKey(asset) if isinstance(asset, str) else asset
    records = instance.fetch_materializations(key, limit=1).records
    return records[0].storage_id if records else 0
