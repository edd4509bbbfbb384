"""The benchmark command: what it offers, what it refuses, what it keeps."""

import json

import pytest
from click.testing import CliRunner

from benchmarks import preparation
from benchmarks.__main__ import SECTIONS, main
from benchmarks.figures import Figure, Section


@pytest.fixture
def results(tmp_path):
    """A results file that holds another section's figures."""
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"quality": {"seconds": 1.0}}))
    return path


def measured(value: float) -> Section:
    return Section([Figure("a", "b", value, target=1.0)], "no trips", ["a note [with brackets]"])


def test_help_explains_every_section_and_the_thorough_measurements():
    output = CliRunner().invoke(main, ["--help"]).output
    assert all(name in output for name in SECTIONS)
    assert "--thorough adds" in output


def test_unknown_name_is_answered_with_the_known_ones():
    refused = CliRunner().invoke(main, ["qualty"])
    assert refused.exit_code == 2
    assert all(name in refused.output for name in SECTIONS)


def test_sections_that_are_not_named_keep_their_figures(results, monkeypatch):
    monkeypatch.setattr(preparation, "measure", lambda options: measured(0.5))
    done = CliRunner().invoke(main, ["preparation", "--results", str(results)])
    assert done.exit_code == 0, done.output
    kept = json.loads(results.read_text())
    assert kept["quality"] == {"seconds": 1.0}
    assert kept["preparation"]["figures"][0]["met"] is True
    assert "[with brackets]" in done.output


@pytest.mark.parametrize(("value", "status"), [(0.5, 0), (1.5, 1)])
def test_strict_fails_when_a_target_is_missed(results, monkeypatch, value, status):
    monkeypatch.setattr(preparation, "measure", lambda options: measured(value))
    arguments = ["preparation", "--strict", "--results", str(results)]
    assert CliRunner().invoke(main, arguments).exit_code == status


def test_options_reach_the_section(results, monkeypatch):
    given = []

    def measure(options):
        given.append(options)
        return measured(0.5)

    monkeypatch.setattr(preparation, "measure", measure)
    arguments = ["preparation", "--thorough", "--rounds", "2", "--results", str(results)]
    CliRunner().invoke(main, arguments)
    assert given[0].thorough
    assert given[0].rounds_or(7) == 2
