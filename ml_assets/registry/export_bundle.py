"""Export a registered version as a bundle that the prediction service loads without MLflow."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import mlflow

from ml_assets.serving.bundle import PIPELINE_FILE, RECORD_FILE, BundleRecord, digest, read_record
from ml_assets.storage.atomic import storage_errors
from ml_assets.storage.leftovers import in_use, remove_leftovers
from ml_assets.storage.model_version import ModelVersion

KEPT: Final = 2
"""Number of bundles kept: the one being served, and its predecessor, which may still be loading."""


def bundle_name(version: ModelVersion) -> str:
    """Return the name of a version's folder; versions of two registries have different ones."""
    source = hashlib.sha256(f"{version.source}\n{version.run_id}".encode()).hexdigest()
    return f"{version.version}-{source[:8]}"


def is_complete(folder: Path) -> bool:
    """Whether a bundle exists and matches its recorded checksum."""
    try:
        return digest(folder / PIPELINE_FILE) == read_record(folder).sha256
    except (OSError, ValueError):
        return False


def export(version: ModelVersion, name: str, folder: Path) -> Path:
    """Export a version to the folder of bundles unless it is there; return the bundle's folder.

    Raises:
        UntrustedModel: The model has another format, or needs types of other packages.
        StorageError: The disk is full, or may not be written.
    """
    final = folder / bundle_name(version)
    if is_complete(final):
        return final
    # Only an export needs scikit-learn and skops: the watcher, which imports this, mostly polls.
    from ml_assets.registry.artifacts import require_trusted

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
            record = BundleRecord(
                facts=version,
                source=version.source,
                sha256=digest(made / PIPELINE_FILE),
                fingerprint=version.fingerprint,
            )
            (made / RECORD_FILE).write_text(record.model_dump_json(indent=1), encoding="utf-8")
            for file in made.iterdir():
                with open(file, "rb+") as written:
                    os.fsync(written.fileno())
            _put(made, final)
    return final


def prune(folder: Path, serving: Path) -> None:
    """Remove all but the newest bundles; never the one being served."""
    bundles = [path.parent for path in folder.glob(f"*/{RECORD_FILE}")]
    bundles.sort(key=lambda bundle: (bundle == serving, bundle.stat().st_mtime), reverse=True)
    for bundle in bundles[KEPT:]:
        shutil.rmtree(bundle, ignore_errors=True)


def _put(made: Path, final: Path) -> None:
    """Rename the bundle into place, where a damaged one may be."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(final)
    try:
        made.rename(final)
    except OSError:
        if not is_complete(final):  # else another process was faster
            raise
