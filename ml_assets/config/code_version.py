"""Code versions of assets: digests of the source code that determines their content.

``DATA`` determines stored months: cleaning, schemas, rules, zones. ``MODEL`` determines fitted
models: ``DATA``, ``pipeline/`` and ``training/``. A digest covers the parsed source of its modules
and of their imports, without comments, docstrings and formatting, so that only a change of
behaviour makes an asset outdated.
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
"""A digest includes imports from ``_FOLLOWED`` without ``_NOT_FOLLOWED``. Months that the
data-quality rules reject are visible in the months of a training set."""

_DATA_FILES = ("trips/taxi_zones.csv",)


@functools.cache
def data_code_version() -> str:
    """Return 8 hex digits that change when the cleaning of months may change."""
    return code_digest(*DATA)


@functools.cache
def model_code_version() -> str:
    """Return 8 hex digits that change when the fit of models may change."""
    return code_digest(*MODEL)


def package_version() -> str:
    """Return the version of the installed package; 0.0.0 in a checkout that is not installed."""
    try:
        return metadata.version("ml-assets")
    except metadata.PackageNotFoundError:
        return "0.0.0"


@functools.cache
def code_digest(*parts: str, package: Path = _PACKAGE) -> str:
    """Return 8 hex digits of the digest of modules and their imports.

    Args:
        parts: Files or folders, relative to the package.

    Raises:
        FileNotFoundError: when a file or folder does not exist.
        SyntaxError: when a file is not valid Python.
    """
    digest = hashlib.sha256()
    trees = _with_imports(parts, package)
    for name in sorted(trees):
        digest.update(f"{name}\0{ast.unparse(trees[name])}\0".encode())
    for name in _DATA_FILES:
        digest.update((package / name).read_bytes())
    return digest.hexdigest()[:8]


def _with_imports(parts: Iterable[str], package: Path) -> dict[str, ast.Module]:
    """Return the parsed source of parts and their imports, without docstrings, by relative path."""
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
        raise FileNotFoundError(f"{path}, a part of the code version, does not exist")
    return [path]


def _imported(tree: ast.Module, package: Path) -> Iterator[Path]:
    """Yield the files of the followed folders that a module imports anywhere."""
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
    """Remove the docstrings of modules, classes, functions and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
