"""``python -m benchmarks [NAME ...]``: measure, print a table, write ``results.json``."""

import importlib
import json
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Section
from benchmarks.published_months import VARIABLE, real_trips
from ml_assets.modeling.training import available_cores
from ml_assets.version import code_version

NAMES = ("quality", "preparation", "orchestration", "memory")
RESULTS = Path(__file__).resolve().parent / "results.json"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME ...]")
@click.option("--strict", is_flag=True, help="Exit with 1 when a target is missed.")
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    default=RESULTS,
    show_default="benchmarks/results.json",
    help="The file to write; benchmarks that were not named keep their figures in it.",
)
def main(names: tuple[str, ...], strict: bool, results: Path) -> None:
    """Measure the project against named peers, as ratios taken in one run.

    NAME is any of quality, preparation, orchestration and memory; by default all. Real published
    months come from the folder in ML_ASSETS_REAL_TRIPS; without them the synthetic sample serves,
    and the table says so.
    """
    console = Console(highlight=False)
    if real_trips() is None:
        console.print(f"Real months are absent ({VARIABLE}): the SYNTHETIC sample serves instead.")
    figures: list[Figure] = []
    for name in dict.fromkeys(names or NAMES):
        console.print(f"measuring {name} …")
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="ml_assets_bench_") as scratch:
            section: Section = importlib.import_module(f"benchmarks.{name}").measure(Path(scratch))
        seconds = time.perf_counter() - begun
        _print(console, name, section, seconds)
        _write(results, name, section, seconds)
        figures += section.figures
    missed = [figure for figure in figures if figure.met is False]
    console.print(f"{len(missed)} targets missed; figures in {os.path.relpath(results)}")
    raise SystemExit(1 if strict and missed else 0)


def _print(console: Console, name: str, section: Section, seconds: float) -> None:
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
        console.print(f"  · {note}", style="dim", soft_wrap=True)


def _write(results: Path, name: str, section: Section, seconds: float) -> None:
    """Replace one benchmark in the file; each carries its own date, machine and code."""
    known: dict[str, Any] = json.loads(results.read_text()) if results.is_file() else {}
    known[name] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_version": code_version(),
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


if __name__ == "__main__":
    main()
