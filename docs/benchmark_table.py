"""Turn ``benchmarks/results.json`` into the tables of the page on benchmarks.

``python docs/benchmark_table.py`` writes ``docs/benchmark_results.md``; ``make docs`` calls it.
Without a results file the tables stay as they are.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results.json"
TABLES = DOCS / "benchmark_results.md"


def render(results: Mapping[str, Any]) -> str:
    """The tables as Markdown.

    Args:
        results: The content of the results file: sections by name.
    """
    return "\n".join(line for name, section in results.items() for line in _section(name, section))


def _section(name: str, section: Mapping[str, Any]) -> list[str]:
    machine = section["machine"]
    lines = [
        f"### {name}",
        "",
        f"{section['measured_at'][:10]}, {section['trips']}, {machine['cores']} cores, "
        f"Python {machine['python']}, code version {section['code_version']}.",
        "",
        "| measured | against | value | target | met |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for figure in section["figures"]:
        sign = "≤" if figure["better"] == "lower" else "≥"
        target = "" if figure["target"] is None else f"{sign} {figure['target']:g}"
        met = {True: "yes", False: "no", None: ""}[figure["met"]]
        value = f"{figure['value']:.3f} {figure['unit']}"
        lines.append(f"| {figure['name']} | {figure['peer']} | {value} | {target} | {met} |")
    return [*lines, ""]


if __name__ == "__main__" and RESULTS.is_file():
    TABLES.write_text(render(json.loads(RESULTS.read_text())))
