"""Which code made an asset: digests of the source that decides what is in it.

``DATA`` decides what a stored month is: cleaning, schemas, rules, zones. ``MODEL`` decides what a
fitted model is: ``DATA``, ``pipeline/`` and ``training/``. A digest covers the parsed source of its
modules and of those that they import, without comments, docstrings and layout, so that only a
change of what the code does makes an asset outdated.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
DATA = ("trips/cleaning.py", "trips/schema.py", "trips/zones.py")
MODEL = (*DATA, "pipeline", "training")
_FOLLOWED = ("trips", "requests", "pipeline", "training")
_NOT_FOLLOWED = ("trips", "quality")
"""Imports from these folders are part of what imports them; others, such as storage, are not. Which
months the data-quality rules reject shows in the months of a training set."""

_DATA_FILES = ("trips/taxi_zones.csv",)


@functools.cache
def data_code_version() -> str:
    """8 hex digits that change when a month may be cleaned in another way."""
    return code_digest(*DATA)


@functools.cache
def model_code_version() -> str:
    """8 hex digits that change when a model may be fitted in another way."""
    return code_digest(*MODEL)


def package_version() -> str:
    """The version of the installed package; 0.0.0 in a checkout that is not installed."""
    try:
        return metadata.version("ml-assets")
    except metadata.PackageNotFoundError:
        return "0.0.0"


@functools.cache
def code_digest(*parts: str, package: Path = _PACKAGE) -> str:
    """8 hex digits over what the source of some modules does.

    Args:
        parts: Files or folders, relative to the package.
        package: The folder of ``ml_assets``.

    Raises:
        FileNotFoundError: when there is no such file or folder.
        SyntaxError: when a file is not Python.
    """
    digest = hashlib.sha256()
    trees = _with_imports(parts, package)
    for name in sorted(trees):
        digest.update(f"{name}\0{ast.unparse(trees[name])}\0".encode())
    for name in _DATA_FILES:
        digest.update((package / name).read_bytes())
    return digest.hexdigest()[:8]


def _with_imports(parts: Iterable[str], package: Path) -> dict[str, ast.Module]:
    """The parsed source by relative path, docstrings removed, of some parts and their imports."""
    waiting = [file for part in parts for file in _files(package / part)]
    found: dict[str, ast.Module] = {}
    while waiting:
        file = waiting.pop()
        name = file.relative_to(package).as_posix()
        if name not in found:
            tree = found[name] = ast.parse(file.read_bytes(), str(file))
            waiting += _imported(tree, package)
            _remove_docstrings(tree)
    return found


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return list(path.rglob("*.py"))
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}, which the code version covers")
    return [path]


def _imported(tree: ast.Module, package: Path) -> Iterator[Path]:
    """Files of the followed folders that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        root, *path = node.module.split(".")
        if root != package.name or not path or path[0] not in _FOLLOWED:
            continue
        if tuple(path[:2]) == _NOT_FOLLOWED:
            continue
        base = package.joinpath(*path)
        modules = [base.with_suffix(".py"), base / "__init__.py"]
        modules += [base / f"{alias.name}.py" for alias in node.names]
        yield from (module for module in modules if module.is_file())


def _remove_docstrings(tree: ast.Module) -> None:
    """Remove docstrings, and the strings below constants that document them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
