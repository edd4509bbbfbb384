"""Draw the layers of ``ml_assets`` from the import contracts in pyproject.toml.

``python docs/draw_layers.py`` writes ``docs/layers.svg``; ``make docs`` calls it.
"""

import tomllib
from html import escape
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
PYPROJECT = DOCS.parent / "pyproject.toml"
DRAWING = DOCS / "layers.svg"
PACKAGE = "ml_assets."

_WIDTH, _MARGIN, _GAP = 760, 10, 10
_ROW, _BOX = 50, 34
_LEGEND = 56
_STYLE = """\
text { font: 14px sans-serif; fill: #1f2933; text-anchor: middle; dominant-baseline: central }
text.note { text-anchor: start; font-size: 12px }
.background { fill: #ffffff }
.box { stroke: #52606d; fill: #e3e8ee }
.dagster { fill: #c9d7f8 }
.light { fill: #d3efdc }
.arrow { stroke: #7b8794; fill: none; marker-end: url(#head) }
"""


def read_contracts(pyproject: Path = PYPROJECT) -> list[dict[str, Any]]:
    """The contracts of import-linter."""
    contracts: list[dict[str, Any]] = tomllib.loads(pyproject.read_text())["tool"]["importlinter"][
        "contracts"
    ]
    return contracts


def layers(contracts: list[dict[str, Any]]) -> list[list[str]]:
    """The rooms of each layer, the top layer first."""
    (contract,) = (contract for contract in contracts if contract["type"] == "layers")
    return [
        [room.strip().removeprefix(PACKAGE) for room in line.split("|")]
        for line in contract["layers"]
    ]


def without(contracts: list[dict[str, Any]], library: str) -> set[str]:
    """The rooms that may not import a library."""
    return {
        room.removeprefix(PACKAGE)
        for contract in contracts
        if contract["type"] == "forbidden" and library in contract["forbidden_modules"]
        for room in contract["source_modules"]
    }


def draw(contracts: list[dict[str, Any]]) -> str:
    """The drawing as SVG."""
    rows = layers(contracts)
    no_dagster, no_mlflow = without(contracts, "dagster"), without(contracts, "mlflow")
    height = 2 * _MARGIN + _ROW * len(rows) + _LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        "<title>The layers of ml_assets: a package imports only from layers below it</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="#7b8794"/></marker></defs>',
        f'<rect class="background" width="{_WIDTH}" height="{height}"/>',
    ]
    for index, rooms in enumerate(rows):
        top = _MARGIN + index * _ROW
        width = (_WIDTH - 2 * _MARGIN - _GAP * (len(rooms) - 1)) / len(rooms)
        for position, room in enumerate(rooms):
            left = _MARGIN + position * (width + _GAP)
            style = _style(room, no_dagster, no_mlflow)
            parts.append(_box(left, top, width, escape(room), style))
        if index < len(rows) - 1:
            middle = _WIDTH / 2
            parts.append(f'<path class="arrow" d="M{middle:g} {top + _BOX}V{top + _ROW - 1}"/>')
    top = height - _MARGIN - _BOX
    legend = (
        ("dagster", "may import Dagster"),
        ("", "plain Python, no Dagster"),
        ("light", "neither Dagster nor MLflow (contract)"),
    )
    for position, (style, words) in enumerate(legend):
        left = _MARGIN + position * 245
        parts.append(f'<rect class="box {style}" x="{left}" y="{top + 9}" width="24" height="16"/>')
        parts.append(f'<text class="note" x="{left + 32}" y="{top + 17}">{words}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _style(room: str, no_dagster: set[str], no_mlflow: set[str]) -> str:
    if room not in no_dagster:
        return "dagster"
    return "light" if room in no_mlflow else ""


def _box(left: float, top: float, width: float, words: str, style: str) -> str:
    return (
        f'<rect class="box {style}" x="{left:g}" y="{top}" width="{width:g}" height="{_BOX}" '
        f'rx="5"/><text x="{left + width / 2:g}" y="{top + _BOX / 2:g}">{words}</text>'
    )


if __name__ == "__main__":
    DRAWING.write_text(draw(read_contracts()))
