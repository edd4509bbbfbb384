"""The pages that people read, and the commands in them."""

import re
import shlex

from ml_assets_tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = {
    page.relative_to(REPOSITORY).as_posix(): page.read_text()
    for page in (REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *DOCS.rglob("*.md"))
}
"""By path. The changelog is not among them: it names what is gone."""

TEXT = "\n".join(PAGES.values())


def block_commands():
    """Every line of a shell block, in words."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", TEXT, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    split = [shlex.split(line, comments=True) for line in lines]
    return [words for words in split if words]


def inline_commands():
    """Every code within a sentence that has more than one word, in words."""
    text = re.sub(r"^ *```.*?^ *```", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    return [code.split() for code in re.findall(r"`([^`\n]+)`", text) if " " in code]


def curl_commands(path):
    """Each ``curl`` of the pages that calls a path, as one line for a shell."""
    commands = re.findall(rf"^curl .*{path} .*$", TEXT, re.MULTILINE)
    assert commands
    return commands
