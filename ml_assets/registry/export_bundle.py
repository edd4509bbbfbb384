"""A registered version as a bundle that the prediction service loads without MLflow."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import mlflow

from ml_assets.registry.artifacts import CHAMPION, require_trusted
from ml_assets.registry.loading import INTERVAL_TAGS, KNOWN_MINUTES
from ml_assets.serving.bundle import (
    PIPELINE_FILE,
    RECORD_FILE,
    BundleRecord,
    IntervalFigures,
    VersionFacts,
    digest,
    read_record,
)
from ml_assets.storage.atomic import storage_errors
from ml_assets.storage.leftovers import in_use, remove_leftovers

KEPT: Final = 2
"""So many bundles stay: the one that serves, and the one before, which may still be loading."""


def bundle_name(version: Any) -> str:
    """Name of a version's folder; versions of two registries differ in it.

    Args:
        version: MLflow's record of it.
    """
    source = hashlib.sha256(f"{version.source}\n{version.run_id}".encode()).hexdigest()
    return f"{version.version}-{source[:8]}"


def is_complete(folder: Path) -> bool:
    """Whether a bundle is there, as it was written."""
    try:
        return digest(folder / PIPELINE_FILE) == read_record(folder).sha256
    except (OSError, ValueError):
        return False


def export(version: Any, name: str, folder: Path) -> Path:
    """Bring a version from the registry, unless it is there already.

    Args:
        version: MLflow's record of it.
        name: Registered model.
        folder: Where bundles lie.

    Returns:
        The bundle, whole.

    Raises:
        UntrustedModel: when the version is of another format, or asks for types of other packages.
        StorageError: when there is no room, or no permission.
    """
    final = folder / bundle_name(version)
    if is_complete(final):
        return final
    uri = f"models:/{name}/{version.version}"
    with storage_errors(str(final)):
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder, ".*.tmp")
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp") as place,
            in_use(Path(place)),
        ):
            copy = mlflow.artifacts.download_artifacts(
                artifact_uri=uri, dst_path=f"{place}/download"
            )
            flavors = mlflow.models.Model.load(copy).flavors
            require_trusted(uri, flavors)
            made = Path(place) / "bundle"
            made.mkdir()
            stored = flavors["sklearn"]["pickled_model"]
            shutil.move(Path(copy) / stored, made / PIPELINE_FILE)
            record = _record(version, digest(made / PIPELINE_FILE))
            (made / RECORD_FILE).write_text(record.model_dump_json(indent=1), encoding="utf-8")
            for file in made.iterdir():
                _to_disk(file)
            _put(made, final)
    return final


def remove_others(folder: Path, serving: Path) -> None:
    """Remove all but the newest bundles; never the one that serves."""
    bundles = [path.parent for path in folder.glob(f"*/{RECORD_FILE}")]
    bundles.sort(key=lambda bundle: (bundle == serving, bundle.stat().st_mtime), reverse=True)
    for bundle in bundles[KEPT:]:
        shutil.rmtree(bundle, ignore_errors=True)


def _put(made: Path, final: Path) -> None:
    """Rename it into place, where a damaged one may lie."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(final)
    try:
        made.rename(final)
    except OSError:
        if not is_complete(final):  # else another process was quicker
            raise


def _to_disk(file: Path) -> None:
    with open(file, "rb+") as written:
        os.fsync(written.fileno())


def _record(version: Any, sha256: str) -> BundleRecord:
    tags: dict[str, str] = dict(version.tags)
    facts = VersionFacts(
        version=str(version.version),
        alias=CHAMPION,
        model=tags.get("model", "unknown"),
        dataset=tags.get("dataset", "unknown"),
        synthetic=tags.get("synthetic") == "true",
        fitted_on=_months(tags.get("fitted_on", "")),
        tuned_on=_months(tags.get("tuned_on", "")),
        judged_month=tags.get("judged_month", ""),
        test_rmse=_number(tags.get("test_rmse")),
        interval=_interval(tags),
        served=tags.get("served", ""),
        caveat=tags.get("caveat"),
    )
    known = json.loads(tags[KNOWN_MINUTES]) if KNOWN_MINUTES in tags else None
    return BundleRecord(facts=facts, source=str(version.source), sha256=sha256, known_minutes=known)


def _interval(tags: dict[str, str]) -> IntervalFigures | None:
    nominal, coverage, mean_width = (_number(tags.get(tag)) for tag in INTERVAL_TAGS)
    if nominal is None:
        return None
    return IntervalFigures(nominal=nominal, coverage=coverage, mean_width=mean_width)


def _months(text: str) -> list[str]:
    return [month for month in text.split(",") if month]


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
