"""What the pages tell people to type works: commands, options, targets and variables."""

import os
import re
import subprocess

import click
import pytest
from dotenv import dotenv_values

from ml_assets.cli.main import commands
from ml_assets.config.alert_settings import AlertVariables
from ml_assets.config.environment import EnvironmentSettings, variable_names
from ml_assets.config.settings import INGEST_CRON, ServiceSettings, Settings, read_settings
from ml_assets.defs.common import UNFOLDED_LINEAGE
from ml_assets_tests.cli.calling import call
from ml_assets_tests.conftest import REPOSITORY
from ml_assets_tests.docs.pages import PAGES, TEXT, block_commands, curl_commands, inline_commands

README = PAGES["README.md"]
CONFIGURATION = PAGES["docs/configuration.md"]
ALL_VARIABLES = variable_names(Settings, ServiceSettings, AlertVariables)
_MARKED = re.compile(r"(<!-- variables: (\w+) -->\n)(.*?)(\n<!-- end of variables -->)", re.DOTALL)


def markdown_table(*settings: type[EnvironmentSettings]) -> str:
    rows = ["| variable | meaning | default |", "| --- | --- | --- |"]
    for each in settings:
        for name, field in zip(variable_names(each), each.model_fields.values(), strict=True):
            extra = field.json_schema_extra
            assert isinstance(extra, dict)
            rows.append(f"| `{name}` | {field.description} | {extra['shown']} |")
    return "\n".join(rows)


TABLES = {
    "project": markdown_table(Settings, ServiceSettings),
    "alerts": markdown_table(AlertVariables),
}
_ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")
ML_ASSETS = ("ml-assets", ".venv/bin/ml-assets")
TARGETS = sorted(
    {
        word
        for words in (*block_commands(), *inline_commands())
        if words[0] == "make"
        for word in words[1:2]
    }
)


def ml_assets_commands(lines):
    """Variables and arguments of every call of ``ml-assets``."""
    found = []
    for words in lines:
        at = next((index for index, word in enumerate(words) if word in ML_ASSETS), None)
        if at is not None:
            assignments = [_ASSIGNMENT.fullmatch(word) for word in words[:at]]
            assert all(assignments), words
            variables = {match[1]: match[2] for match in assignments if match}
            found.append((variables, words[at + 1 :]))
    return found


def unique(calls):
    return list({(*variables.items(), *arguments): (variables, arguments)
                 for variables, arguments in calls}.values())  # fmt: skip


MENTIONED = ml_assets_commands(inline_commands())
CALLS = unique(
    [
        *ml_assets_commands(block_commands()),
        *((variables, arguments) for variables, arguments in MENTIONED if len(arguments) > 1),
    ]
)
_GROUP = click.Context(commands)
SUBCOMMANDS = {name: commands.get_command(_GROUP, name) for name in commands.list_commands(_GROUP)}


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    def called(arguments, variables):
        # Nothing from the network: what can be published is the same for the sample.
        sample = {"ML_ASSETS_HOME": tmp_path / "home", "ML_ASSETS_TRIPS": "sample"}
        return call(monkeypatch, capsys, arguments, variables | sample)

    return called


def test_the_pages_name_commands():
    assert {"demo", "test", "dev", "serve", "docs"} <= set(TARGETS)
    assert {"run", "dev", "serve"} <= set(SUBCOMMANDS)
    assert any(arguments[0] == "run" for _, arguments in CALLS)


@pytest.mark.parametrize("target", TARGETS)
def test_a_make_target_has_a_recipe(target):
    done = subprocess.run(
        ["make", "-n", "-B", target], cwd=REPOSITORY, capture_output=True, text=True, check=False
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
    assert set(variables) <= set(variable_names(Settings))
    name = arguments[0]
    if name == "run":
        dry = [word for word in arguments if word != "--dry-run"] + ["--dry-run"]
        answer = cli(dry, variables)
        assert (answer.status, answer.err) == (0, "")
        assert answer.out.startswith("from sample: ")
        assert ("· test " in answer.out) != ("--ingest-only" in arguments)
    elif name in SUBCOMMANDS and "--help" not in arguments:
        # Reads the options, and does nothing yet.
        group = click.Context(commands, **commands.context_settings)
        SUBCOMMANDS[name].make_context(name, arguments[1:], parent=group)
    else:
        assert cli(arguments, variables).status == 0


def test_every_mentioned_subcommand_exists():
    assert {arguments[0] for _, arguments in MENTIONED} <= set(SUBCOMMANDS)


@pytest.mark.parametrize("name", sorted(SUBCOMMANDS))
def test_every_subcommand_is_documented_and_has_help(cli, name):
    assert any(arguments[0] == name for _, arguments in CALLS)
    answer = cli([name, "--help"], {})
    assert (answer.status, answer.err) == (0, "")


def test_every_other_line_of_a_shell_block_is_run_by_a_test():
    """``curl`` is run by the browser tests; the options of ``mlflow ui`` are read here."""
    from mlflow.cli import cli as mlflow

    called = {*curl_commands("/predict"), *curl_commands("/graphql")}
    for words in block_commands():
        if words[0] == "make" or any(word in ML_ASSETS for word in words):
            continue
        if words[0] == "curl":
            assert any(words[2] in command for command in called), words
        elif words[0] == ".venv/bin/mlflow":
            command = mlflow.get_command(click.Context(mlflow), words[1])
            command.make_context(words[1], words[2:])
        else:
            words = [word for word in words if not _ASSIGNMENT.fullmatch(word)]
            assert words[:4] == [".venv/bin/python", "-m", "pytest", "-q"], words
            assert (REPOSITORY / words[4]).exists(), words


def test_links_open_the_graph_with_every_group_unfolded():
    links = re.findall(r"\]\((http://127\.0\.0\.1:3000[^)]*)\)", TEXT)
    assert set(links) == {f"http://127.0.0.1:3000{UNFOLDED_LINEAGE}"}
    assert UNFOLDED_LINEAGE in README


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
    named = {code.split()[0] for code in re.findall(r"`(--[a-z][^`\n]*)`", TEXT)}
    assert named
    assert named - {"--help"} <= options


def test_the_tables_of_variables_are_those_of_the_settings():
    """``ML_ASSETS_WRITE_TABLES=1`` with this test writes them."""
    assert set(re.findall(r"<!-- variables: (\w+) -->", CONFIGURATION)) == {*TABLES}
    current = _MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]}{found[4]}", CONFIGURATION)
    if os.environ.get("ML_ASSETS_WRITE_TABLES"):
        (REPOSITORY / "docs" / "configuration.md").write_text(current, encoding="utf-8")
    assert current == CONFIGURATION


def test_the_example_of_an_environment_file_has_every_variable_commented_out():
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    assert all(line.startswith("#") for line in lines if line)
    named = [found[1] for line in lines if (found := re.fullmatch(r"#([A-Z][A-Z0-9_]+)=.+", line))]
    assert sorted(named) == sorted(ALL_VARIABLES)


def test_the_example_of_an_environment_file_can_be_read_by_a_shell(tmp_path):
    text = (REPOSITORY / ".env.example").read_text()
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z][A-Z0-9_]+=)", "", text, flags=re.MULTILINE))
    done = subprocess.run(
        ["sh", "-c", "set -a; . ./.env; set +a; env -0"],
        cwd=tmp_path, env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    read = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)
    assert done.stderr == ""
    assert set(ALL_VARIABLES) <= set(read)
    assert read_settings(read).ingest_cron == INGEST_CRON
    assert dict(dotenv_values(tmp_path / ".env")) == {name: read[name] for name in ALL_VARIABLES}
