"""A version as the service loads it: one folder with the pipeline and what the registry knew of it.

Whoever has the registry writes it (``registry.export_bundle``); the service needs no MLflow.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, Field

from ml_assets.pipeline.predict import Model
from ml_assets.secrets import ShownError, error_text
from ml_assets.storage.model_version import ModelVersion

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class ModelCard(ModelVersion):
    """The version in use."""

    alias: str = Field(default="champion", description="By which it serves")
    loaded_at: datetime = Field(description="Since when this process answers with it (UTC)")


PIPELINE_FILE: Final = "model.skops"
RECORD_FILE: Final = "card.json"


class BundleRecord(BaseModel):
    """The content of ``card.json``.

    Attributes:
        facts: Of the version.
        source: Where the registry has the version from; tells two registries' versions apart.
        sha256: Of the pipeline's file.
        known_minutes: What the version answered to ``pipeline.fingerprint`` when it was
            registered; None when nobody asked it then.
    """

    facts: ModelVersion
    source: str
    sha256: str
    known_minutes: tuple[float, ...] | None = None


class UnusableBundle(ShownError, RuntimeError):
    """A bundle that is damaged, not to be trusted, or answers otherwise than it did."""


@dataclass(frozen=True)
class ServedModel:
    """A version in use.

    Attributes:
        model: Pipeline and version.
        card: What is told of it.
    """

    model: Model
    card: ModelCard


def load_bundle(folder: Path) -> ServedModel:
    """Load a version, and make sure that it is what was registered.

    Raises:
        UnusableBundle: when it is not whole, holds types that are not trusted, or when today's
            code makes another model of it.
    """
    try:
        record = read_record(folder)
        if digest(folder / PIPELINE_FILE) != record.sha256:
            raise UnusableBundle(f"{folder / PIPELINE_FILE} is damaged: its checksum differs")
        pipeline = _load(folder, record)
    except UnusableBundle:
        raise
    except Exception as error:
        raise UnusableBundle(f"{folder} cannot be loaded ({error_text(error)})") from error
    card = ModelCard(**record.facts.model_dump(), loaded_at=datetime.now(UTC))
    return ServedModel(Model(pipeline, record.facts.version), card)


def read_record(folder: Path) -> BundleRecord:
    """What a bundle says of itself.

    Raises:
        OSError: when it has no such file.
        ValueError: when the file is damaged.
    """
    return BundleRecord.model_validate_json((folder / RECORD_FILE).read_bytes())


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _load(folder: Path, record: BundleRecord) -> "Pipeline":
    from ml_assets.pipeline.fingerprint import known_minutes, predictions_match
    from ml_assets.pipeline.serialization import load_stored

    pipeline = load_stored(folder / PIPELINE_FILE)
    now = known_minutes(pipeline)
    before = None if record.known_minutes is None else [*record.known_minutes]
    if before is not None and not predictions_match(before, now):
        raise UnusableBundle(
            f"version {record.facts.version} is another model under this code: to the same "
            f"requests it answered {before} minutes when it was registered and "
            f"{now} now. Train again with `ml-assets run`"
        )
    return pipeline
