"""The page of the model families: its table is made from the entries."""

import os
import re

from ml_assets.training.families import FAMILIES, OPTIONAL_FAMILIES
from ml_assets_tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "families.md"


def families_table() -> str:
    rows = ["| family | name | kind | trained | description |", "| --- | --- | --- | --- | --- |"]
    for family in {**FAMILIES, **OPTIONAL_FAMILIES}.values():
        trained = "always" if family.name in FAMILIES else "where it is enabled"
        rows.append(
            f"| {family.title} | `{family.name}` | {family.kinds[-1]} | {trained} "
            f"| {family.description} |"
        )
    return "\n".join(rows)


def test_the_table_of_families_is_that_of_the_entries():
    """``ML_ASSETS_WRITE_TABLES=1`` with this test writes it."""
    text = PAGE.read_text()
    marked = re.compile(r"(<!-- families -->\n).*?(<!-- end of families -->)", re.DOTALL)
    current = marked.sub(lambda found: f"{found[1]}{families_table()}\n{found[2]}", text)
    if os.environ.get("ML_ASSETS_WRITE_TABLES"):
        PAGE.write_text(current)
    assert families_table() in text
