"""A copy of the project with a change, to be run in processes of its own."""

import shutil
from pathlib import Path

from ml_assets_tests.conftest import REPOSITORY

FAMILIES = "training/families/__init__.py"


def copy_project(folder: Path, module: str, before: str, after: str) -> Path:
    """Copy the package and what ``dagster dev`` needs, and replace a text of a module.

    Args:
        folder: Receives the copy; a process imports it with this folder in ``PYTHONPATH``.
        module: File of the module in ``ml_assets``.
        before: Occurs once in it.
        after: Replaces it.

    Returns:
        The folder.
    """
    shutil.copytree(REPOSITORY / "ml_assets", folder / "ml_assets")
    for name in ("pyproject.toml", "workspace.yaml"):
        shutil.copy2(REPOSITORY / name, folder)
    changed = folder / "ml_assets" / module
    content = changed.read_text()
    assert content.count(before) == 1, module
    changed.write_text(content.replace(before, after))
    return folder


def copy_with_two_families(folder: Path) -> Path:
    """Copy the project so that a linear regression and XGBoost are all that is trained.

    A retraining takes a third of the time, and what starts it does not depend on the families.
    """
    content = (REPOSITORY / "ml_assets" / FAMILIES).read_text()
    all_families = content[content.index("DEFAULT_FAMILIES = (") :].partition(")\n")[0]
    two_families = "DEFAULT_FAMILIES = (LINEAR_REGRESSION, XGBOOST"
    return copy_project(folder, FAMILIES, all_families, two_families)
