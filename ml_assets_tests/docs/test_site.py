"""The documentation builds as a site that loads nothing from elsewhere, and says what is so."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import warnings
from datetime import UTC, datetime
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.figures import Figure, Section
from benchmarks.reporting import write_section
from ml_assets.config.alert_settings import AlertVariables
from ml_assets.config.environment import variable_names
from ml_assets.config.settings import ServiceSettings, Settings
from ml_assets.definitions import assemble
from ml_assets.defs.promotion.champion import ChampionConfig
from ml_assets.serving.state import Metrics
from ml_assets_tests.conftest import REPOSITORY, inherited_environment
from ml_assets_tests.docs.pages import DOCS, PAGES, TEXT
from ml_assets_tests.project import settings_for


def script_named(name):
    """A script beside the pages, as a module."""
    specification = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert specification is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    return script


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built strictly; skipped with a warning without MkDocs, failed where ``CI=true``."""
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        reason = "MkDocs is not installed, so the documentation cannot be built: run make install"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=inherited_environment(), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loaded(HTMLParser):
    """Collects the addresses that a browser fetches for a page, without a click."""

    def __init__(self, text):
        super().__init__()
        self.addresses = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "link" and values.get("rel") in ("canonical", "next", "prev"):
            return
        if tag != "a":
            self.addresses += [values[name] for name in ("src", "href") if values.get(name)]


def settings_variables():
    return {*variable_names(Settings, ServiceSettings, AlertVariables)}


def test_every_page_is_built(site):
    for page in {*DOCS.rglob("*.md")} - {DOCS / "benchmark_results.md"}:  # included in another
        assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file()


def test_a_page_loads_nothing_from_elsewhere(site):
    elsewhere = re.compile(r"^(?:[a-z]+:)?//")
    for page in site.rglob("*.html"):
        addresses = Loaded(page.read_text()).addresses
        assert addresses
        assert [address for address in addresses if elsewhere.match(address)] == [], page
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text()) == []


def test_no_script_of_the_sources_is_published(site):
    assert not list(site.rglob("*.py"))


def test_links_of_the_pages_outside_the_site_lead_to_files():
    for name in ("README.md", "CONTRIBUTING.md"):
        for link in re.findall(r"(?:\]\(|src=\")([^)#\"]+)", PAGES[name]):
            assert link.startswith("http") or (REPOSITORY / link).is_file(), link


def test_the_drawing_of_the_layers_is_current():
    script = script_named("draw_layers")
    drawn = script.draw(script.read_contracts())
    assert script.DRAWING.read_text() == drawn, "run python docs/draw_layers.py"


def test_the_tables_of_benchmarks_state_what_the_results_file_states(tmp_path):
    results = tmp_path / "results.json"
    measured = [
        Figure("p50", "a bare route", 0.5, target=1.0),
        Figure("requests", "another server", 9.0, target=10.0, better="higher"),
    ]
    write_section(results, "serving", Section(measured, "synthetic sample", []), 1.0)
    text = script_named("benchmark_table").render(json.loads(results.read_text()))
    assert "synthetic sample" in text
    assert "| p50 | a bare route | 0.500 × | ≤ 1 | yes |" in text
    assert "| requests | another server | 9.000 × | ≥ 10 | no |" in text


def test_every_package_is_in_the_table_of_the_architecture():
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (made["layers"] for made in contracts["contracts"] if made["type"] == "layers")
    packages = {room.strip().partition(".")[2] for line in layers for room in line.split("|")}
    rows = re.findall(
        r"^\| `ml_assets/(\w+)[/.].*?` \|", PAGES["docs/architecture.md"], re.MULTILINE
    )
    assert sorted(rows) == sorted(packages)


def test_paths_of_the_project_that_pages_name_exist():
    named = set(re.findall(r"`((?:ml_assets|ml_assets_tests|docs|benchmarks)/[\w./]+)`", TEXT))
    made = {"benchmarks/results.json"}
    assert [path for path in sorted(named - made) if not (REPOSITORY / path).exists()] == [
        "ml_assets/X/",
        "ml_assets/defs/X/",
    ]


def test_names_that_contributors_need_are_defined():
    page = PAGES["CONTRIBUTING.md"]
    steps = page[page.index("## Add a model family") : page.index("## Documentation")]
    names = {name.rpartition(".")[2] for name in re.findall(r"`([A-Za-z_]\w*(?:\.\w+)?)`", steps)}
    sources = "\n".join(path.read_text() for path in (REPOSITORY / "ml_assets").rglob("*.py"))
    defined = set(re.findall(r"^\s*(?:(?:def|class) )?(\w+)\s*[:=(\[]", sources, re.MULTILINE))
    assert len(names) > 20
    assert names <= defined | settings_variables()


def test_every_check_is_documented_with_its_asset_and_whether_it_blocks(tmp_path):
    graph = assemble(settings_for(tmp_path)).resolve_asset_graph()
    checks = set()
    for key in graph.asset_check_keys:
        asset = key.asset_key.to_user_string()
        asset = "*_model" if graph.get(key.asset_key).group_name == "models" else asset
        checks.add((asset, key.name, graph.get(key).blocking))
    text = PAGES["docs/checks.md"]
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| ?(yes)? ?\|", text, re.MULTILINE)
    documented = {(asset, check, bool(blocks)) for asset, check, blocks in rows}
    models = re.findall(r"^\| `(\w+)` \| [^`|]+ \|$", text, re.MULTILINE)
    documented |= {("*_model", check, False) for check in models}
    assert documented == checks


def test_every_metric_of_the_service_is_documented():
    registry = SimpleNamespace(reachable=True, last_response_at=datetime.now(UTC), problem=None)
    log: Any = SimpleNamespace(written=0, dropped=0)
    text = Metrics(SimpleNamespace(model=None, registry=registry), log).text().decode()
    metrics = set()
    for name, kind in re.findall(r"^# TYPE (ml_assets_\w+) (\w+)$", text, re.MULTILINE):
        if not name.endswith("_created"):
            metrics.add(name if kind != "counter" else f"{name.removesuffix('_total')}_total")
    documented = re.findall(r"^\| `(ml_assets_\w+)` \|", PAGES["docs/serving.md"], re.MULTILINE)
    assert sorted(documented) == sorted(metrics)


def test_every_field_of_the_champion_s_config_is_documented():
    text = PAGES["docs/promotion.md"] + PAGES["docs/evaluation.md"]
    assert [field for field in ChampionConfig.model_fields if f"`{field}" not in text] == []
