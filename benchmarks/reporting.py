"""Output of the figures: a table, and ``results.json``."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Section
from ml_assets.config.code_version import model_code_version
from ml_assets.config.cores import available_cores


def print_section(console: Console, name: str, section: Section, seconds: float) -> None:
    """A table of the figures, and the notes below it."""
    table = Table(title=f"{name} · {section.trips} · {seconds:.0f} s", title_justify="left")
    for column in ("measured", "against"):
        table.add_column(column, overflow="fold")
    for column in ("value", "target", "met"):
        table.add_column(column, justify="right", no_wrap=True)
    for figure in section.figures:
        sign = "≤" if figure.better == "lower" else "≥"
        table.add_row(
            figure.name,
            figure.peer,
            f"{figure.value:.3f} {figure.unit}",
            "–" if figure.target is None else f"{sign} {figure.target:g}",
            {True: "yes", False: "NO", None: ""}[figure.met],
        )
    console.print(table)
    for note in section.notes:
        console.print(f"  · {note}", style="dim", soft_wrap=True, markup=False)


def write_section(results: Path, name: str, section: Section, seconds: float) -> None:
    """Replace one section in the file; each carries its own date, machine and code."""
    known: dict[str, Any] = json.loads(results.read_text()) if results.is_file() else {}
    known[name] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_version": model_code_version(),
        "machine": {
            "cores": available_cores(),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "load_average_at_the_end": [round(value, 2) for value in os.getloadavg()],
        },
        "seconds": round(seconds, 1),
        "trips": section.trips,
        "notes": section.notes,
        "figures": [figure.as_dict() for figure in section.figures],
    }
    results.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
