"""Bundles: folders from which the service loads a model version without MLflow, and their handover.

A bundle holds the pipeline and its registry record. ``registry.export_bundle`` writes it, and the
registry watcher hands it over to the service: ``champion.json`` names the bundle to serve, changes
only with the champion and outlives both processes; ``registry.json`` has the state of the
registry and is written every second.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

from pydantic import BaseModel, Field

from ml_assets.pipeline.predict import Model
from ml_assets.secrets import ShownError, error_text
from ml_assets.serving.fast_predict import leave_a_core
from ml_assets.storage.former_names import StoredRecord
from ml_assets.storage.model_version import IntervalFigures, ModelVersion

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class IntervalCard(BaseModel):
    """Coverage of the prediction intervals in the test month."""

    target_coverage: float = Field(description="Share of trips that the intervals should cover")
    coverage: float | None = Field(description="Share of the test trips that they cover")
    mean_width: float | None = Field(description="Mean width on the test month, minutes")

    @classmethod
    def of(cls, figures: IntervalFigures | None) -> Self | None:
        """Build the card of a version's figures; None without intervals."""
        if figures is None:
            return None
        return cls(
            target_coverage=figures.nominal,
            coverage=figures.coverage,
            mean_width=figures.mean_width,
        )


class ModelCard(BaseModel):
    """The version in use, as ``GET /model`` describes it."""

    version: str = Field(description="Version in the registry")
    alias: str = Field(default="champion", description="Alias of the version")
    model: str = Field(description="Model family")
    dataset: str = Field(description="Dataset of the training trips")
    synthetic: bool = Field(description="Whether the training trips are the synthetic sample")
    training_months: list[str] = Field(description="Months that the model was fitted on")
    validation_months: list[str] = Field(description="Months on which its parameters were selected")
    test_month: str = Field(description="Month that it was tested on; not seen in training")
    test_rmse: float | None = Field(description="RMSE on the test month, minutes")
    interval: IntervalCard | None = Field(description="Null without prediction intervals")
    test_rmse_usual: float | None = Field(
        description="RMSE on the test month without distances, minutes; test_rmse is with the "
        "metered distance"
    )
    interval_usual: IntervalCard | None = Field(
        description="Coverage on the test month without distances"
    )
    refit: bool = Field(
        description="Whether the selected parameters were fitted again on all months; test_rmse "
        "and interval then describe the earlier fit"
    )
    caveat: str | None = Field(description="Limits of the figures' meaning")
    loaded_at: datetime = Field(description="Time since which this process serves it (UTC)")

    @classmethod
    def of(cls, version: ModelVersion, loaded_at: datetime) -> Self:
        """Build the card of a version that was loaded at this time (UTC)."""
        intervals = {"interval", "interval_usual"}
        facts = version.model_dump(include=cls.model_fields.keys() - {"alias", *intervals})
        return cls(
            **facts,
            interval=IntervalCard.of(version.interval),
            interval_usual=IntervalCard.of(version.interval_usual),
            loaded_at=loaded_at,
        )


PIPELINE_FILE: Final = "model.skops"
RECORD_FILE: Final = "card.json"


class BundleRecord(StoredRecord):
    """Content of ``card.json``.

    Attributes:
        source: Source of the version in the registry, which differs between registries.
        fingerprint: Predictions for the requests of ``probe_requests`` when the version was
            registered; None if there are none.
    """

    facts: ModelVersion
    source: str
    sha256: str
    fingerprint: tuple[float, ...] | None = None


class UnusableBundle(ShownError, RuntimeError):
    """A bundle is damaged, holds untrusted types, or its predictions have changed."""


@dataclass(frozen=True)
class ServedModel:
    """The version in use."""

    model: Model
    card: ModelCard


def load_bundle(folder: Path) -> ServedModel:
    """Load a version, and check that it predicts as it did when it was registered.

    Raises:
        UnusableBundle: when it is incomplete or damaged, holds untrusted types, or predicts
            differently with the current code.
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
    card = ModelCard.of(record.facts, datetime.now(UTC))
    return ServedModel(Model(pipeline, record.facts.version), card)


def read_record(folder: Path) -> BundleRecord:
    """Read the record of a bundle.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is damaged.
    """
    return BundleRecord.model_validate_json((folder / RECORD_FILE).read_bytes())


def digest(file: Path) -> str:
    """Return the SHA-256 digest of a file."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _load(folder: Path, record: BundleRecord) -> "Pipeline":
    from ml_assets.pipeline.serialization import load_stored, predictions_match, probe_predictions

    pipeline = load_stored(folder / PIPELINE_FILE)
    leave_a_core(pipeline)
    now = probe_predictions(pipeline)
    before = None if record.fingerprint is None else [*record.fingerprint]
    if before is not None and not predictions_match(before, now):
        raise UnusableBundle(
            f"version {record.facts.version} predicts differently with this code: for the same "
            f"requests it predicted {before} minutes when it was registered and {now} now. Train "
            "again with `ml-assets run`"
        )
    return pipeline


CHAMPION_FILE: Final = "champion.json"
REGISTRY_FILE: Final = "registry.json"
SERVING_FOLDER: Final = "serving"

Content = TypeVar("Content", bound=BaseModel)


class ChampionManifest(BaseModel):
    """The bundle to serve.

    Attributes:
        folder: Name of the bundle's folder, next to the manifest.
    """

    version: str
    folder: str


class RegistryStatus(BaseModel):
    """State of the registry, as its watcher sees it.

    Attributes:
        last_response_at: Time of its last response to this watcher (UTC); None before the first.
        champion_version: Version with the alias ``champion``; None without one, or when unknown.
        problem: Why the registry does not respond, or its champion cannot be exported.
    """

    last_response_at: datetime | None = None
    champion_version: str | None = None
    problem: str | None = None


class JsonFileWatcher(Generic[Content]):
    """Reads a JSON file again whenever another process has replaced it.

    Attributes:
        value: Content that was last read; None before the first time.
        damaged: Whether the file has become invalid since then.
    """

    def __init__(self, path: Path, kind: type[Content]) -> None:
        self._path, self._kind = path, kind
        self._identity: tuple[int, int] | None = None
        self.value: Content | None = None
        self.damaged = False

    def refresh(self) -> bool:
        """Read the file if it has changed; a missing file counts as unchanged.

        Returns:
            Whether it has changed.

        Raises:
            ValueError: when it is invalid; it is not read again until it changes.
            OSError: when it cannot be read.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return False
        identity = (stat.st_ino, stat.st_mtime_ns)
        if identity == self._identity:
            return False
        self._identity, self.damaged = identity, True
        self.value = self._kind.model_validate_json(self._path.read_bytes())
        self.damaged = False
        return True
