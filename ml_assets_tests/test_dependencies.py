"""What the package imports is what it declares, so that an upgrade elsewhere takes nothing away."""

import ast
import re
import sys
import tomllib
from importlib import metadata

from ml_assets.config.settings import PROJECT_FOLDER


def normal(distribution):
    """A distribution's name in the one spelling by which names compare."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imported_packages():
    """Each third-party top-level package that ml_assets imports, with one file that does."""
    found = {}
    for source in sorted((PROJECT_FOLDER / "ml_assets").rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = [node.module]
            for name in names:
                found.setdefault(name.partition(".")[0], source.relative_to(PROJECT_FOLDER))
    return {
        name: source
        for name, source in found.items()
        if name not in sys.stdlib_module_names and name != "ml_assets"
    }


def test_every_package_that_is_imported_is_declared():
    project = tomllib.loads((PROJECT_FOLDER / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["lightgbm"], *extras["catboost"]]
    declared = {normal(re.split(r"[\[<>=!~; ]", text)[0]) for text in texts}
    providers = metadata.packages_distributions()
    undeclared = {
        name: str(source)
        for name, source in imported_packages().items()
        if not declared & {normal(distribution) for distribution in providers.get(name, [])}
    }
    assert undeclared == {}


def test_every_declared_version_holds_the_constrained_one():
    """What is tried together (constraints.txt) is what pyproject.toml allows."""
    from packaging.requirements import Requirement

    project = tomllib.loads((PROJECT_FOLDER / "pyproject.toml").read_text())["project"]
    lines = (PROJECT_FOLDER / "constraints.txt").read_text().split()
    tried = {normal(name): version for name, _, version in (x.partition("==") for x in lines)}
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *extras["lightgbm"], *extras["catboost"]]:
        requirement = Requirement(text)
        assert normal(requirement.name) in tried, text
        assert tried[normal(requirement.name)] in requirement.specifier, text
