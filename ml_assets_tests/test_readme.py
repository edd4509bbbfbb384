"""What the README tells to type can be typed: its commands, options, targets and variables."""

import re
import shlex
import subprocess

import click
import pytest

from ml_assets.cli.main import commands
from ml_assets.config import settings
from ml_assets.config.alert_settings import VARIABLES as ALERT_VARIABLES
from ml_assets.defs.common import UNFOLDED_LINEAGE
from ml_assets.serving.auth import TOKEN_VARIABLE
from ml_assets_tests.cli.calling import call
from ml_assets_tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
_ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")


def typed_commands():
    """Every command of the README, in words: shell blocks, and code within a sentence."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    text = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
    inline = [code for code in re.findall(r"`([^`\n]+)`", text) if " " in code]
    split = [shlex.split(line, comments=True) for line in lines]
    split += [code.split() for code in inline]
    return [words for words in split if any(word in ("make", *ML_ASSETS) for word in words)]


ML_ASSETS = ("ml-assets", ".venv/bin/ml-assets")
TARGETS = sorted({w for words in typed_commands() if "make" in words for w in words[1:]})


def ml_assets_commands():
    """Variables and arguments of every call of ``ml-assets``."""
    found = []
    for words in typed_commands():
        at = next((index for index, word in enumerate(words) if word in ML_ASSETS), None)
        if at is not None:
            variables = dict(_ASSIGNMENT.fullmatch(word).groups() for word in words[:at])
            found.append((variables, words[at + 1 :]))
    return found


CALLS = ml_assets_commands()
_GROUP = click.Context(commands)
SUBCOMMANDS = {name: commands.get_command(_GROUP, name) for name in commands.list_commands(_GROUP)}


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    def called(arguments, variables):
        # Nothing from the network: what can be published is the same for the sample.
        sample = {"ML_ASSETS_HOME": tmp_path / "home", "ML_ASSETS_TRIPS": "sample"}
        return call(monkeypatch, capsys, arguments, variables | sample)

    return called


def test_the_readme_names_commands():
    assert {"demo", "test", "dev", "serve"} <= set(TARGETS)
    assert {"run", "dev", "serve"} <= set(SUBCOMMANDS)
    assert any(arguments[0] == "run" for _, arguments in CALLS)


@pytest.mark.parametrize("target", TARGETS)
def test_a_make_target_has_a_recipe(target):
    done = subprocess.run(
        ["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    recipe = [line for line in done.stdout.splitlines() if not line.startswith("make: ")]
    assert recipe, done.stdout


def test_every_phony_target_of_the_makefile_has_a_recipe_and_every_help_line_a_target():
    makefile = (REPOSITORY / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(phony.split()) == set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize(
    ("variables", "arguments"), CALLS, ids=[" ".join(arguments) for _, arguments in CALLS]
)
def test_a_call_of_ml_assets_does_what_can_be_done_without_a_network(cli, variables, arguments):
    assert set(variables) <= set(settings.VARIABLES)
    name = arguments[0]
    if name == "run":
        answer = cli([*arguments, "--dry-run"], variables)
        assert (answer.status, answer.err) == (0, "")
        assert answer.out.startswith("from sample: ")
        assert ("judge" in answer.out) != ("--ingest-only" in arguments)
    elif name in SUBCOMMANDS and "--help" not in arguments:
        # Reads the options, and does nothing yet.
        group = click.Context(commands, **commands.context_settings)
        SUBCOMMANDS[name].make_context(name, arguments[1:], parent=group)
    else:
        assert cli(arguments, variables).status == 0


@pytest.mark.parametrize("name", sorted(SUBCOMMANDS))
def test_every_subcommand_is_in_the_readme_and_has_help(cli, name):
    assert f"`{name}`" in README or any(arguments[0] == name for _, arguments in CALLS)
    answer = cli([name, "--help"], {})
    assert (answer.status, answer.err) == (0, "")


def test_its_link_opens_the_graph_with_every_group_unfolded():
    links = re.findall(r"\]\((http://127\.0\.0\.1:3000[^)]*)\)", README)
    assert links == [f"http://127.0.0.1:3000{UNFOLDED_LINEAGE}"]


def test_months_of_the_sample_can_be_shown(cli):
    answer = cli(["months"], {})
    assert (answer.status, answer.err) == (0, "")
    assert "2023-01" in answer.out
    assert "synthetic sample" in answer.out


def test_every_option_that_a_sentence_names_is_one_of_a_subcommand():
    options = {
        spelling
        for command in SUBCOMMANDS.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for spelling in parameter.opts
    }
    named = {code.split()[0] for code in re.findall(r"`(--[a-z][^`\n]*)`", README)}
    assert named
    assert named - {"--help"} <= options


def test_the_table_of_variables_is_what_the_settings_read():
    documented = re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \|", README, re.MULTILINE)
    assert sorted(documented) == sorted((*settings.VARIABLES, *ALERT_VARIABLES, TOKEN_VARIABLE))


def test_the_table_tells_the_defaults():
    defaults = settings.read_settings({})
    for name, value in (
        ("ML_ASSETS_TRIPS", defaults.trips),
        ("ML_ASSETS_TAXI", defaults.taxi),
        ("ML_ASSETS_FIRST_MONTH", str(defaults.first_month)),
        ("ML_ASSETS_HOME", ".ml_assets"),
    ):
        (row,) = re.findall(rf"^\| `{name}` \|.*\| (.*) \|$", README, re.MULTILINE)
        assert row == f"`{value}`"
