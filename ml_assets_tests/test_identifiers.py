"""Identifiers use the field's words: predict, log, test, ingest, promote."""

import ast
import re
from collections.abc import Iterator

import pytest

from ml_assets_tests.conftest import REPOSITORY

INSTEAD = {
    "alike": "equal, match or parity",
    "anew": "again",
    "asked": "requested or predicted",
    "bring": "ingest or export",
    "brought": "ingested or exported",
    "crown": "promote",
    "crowned": "promoted",
    "crowning": "promoting",
    "fewest": "min",
    "heart": "memorization",
    "judge": "test or evaluate",
    "judged": "tested or evaluated",
    "least": "min",
    "most": "max",
    "nobody": "none",
    "patience": "retry policy, timeout or early stopping rounds",
    "reinstate": "promote or roll back",
    "tell": "log, report or notify",
    "told": "logged, reported or an error",
    "whoever": "the caller",
}
ONLY_FIRST = ("fewest", "least", "most")
"""Allowed inside a name, where they are English: ``beats_baselines_in_most_months``."""

EXCEPTIONS = {
    "least_rows": "a parameter of the stored encoders (ml_assets/pipeline/encoders.py)",
}
FOLDERS = ("ml_assets", "ml_assets_tests", "benchmarks")
SOURCES = {path: path.read_text() for folder in FOLDERS
           for path in sorted((REPOSITORY / folder).rglob("*.py"))}  # fmt: skip


def identifiers(source: str) -> Iterator[tuple[int, str]]:
    """The names that a module defines, with their lines."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(name)):
                yield 0, name
            case ast.ExceptHandler(name=str(name)):
                yield node.lineno, name


def dialect(name: str) -> set[str]:
    """The words of a name that have a plain one in ``INSTEAD``."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    found = {word for word in words if word in INSTEAD and word not in ONLY_FIRST}
    return found | {word for word in words[:1] if word in ONLY_FIRST}


@pytest.mark.parametrize("folder", FOLDERS)
def test_identifiers_are_in_plain_words(folder):
    found = []
    for path, source in SOURCES.items():
        place = path.relative_to(REPOSITORY)
        if place.parts[0] != folder:
            continue
        for line, name in [(0, path.stem), *identifiers(source)]:
            if name not in EXCEPTIONS:
                found += [f"{place}:{line} {name}: {INSTEAD[word]}" for word in dialect(name)]
    assert found == []


def test_every_exception_is_still_needed():
    defined = {name for source in SOURCES.values() for _, name in identifiers(source)}
    assert {*EXCEPTIONS} <= defined


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("_crown_winner", {"crown"}),
        ("JudgedModel", {"judged"}),
        ("MOST_ROWS", {"most"}),
        ("beats_baselines_in_most_months", set()),
        ("at_least_one", set()),
        ("test_it_is_told", {"told"}),
        ("max_rows", set()),
    ],
)
def test_words_of_a_name(name, words):
    assert dialect(name) == words
