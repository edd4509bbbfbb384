"""``python -m benchmarks [NAME ...]``: measure, print a table, write ``results.json``."""

import importlib
import os
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from benchmarks.figures import Figure, Section
from benchmarks.options import Options
from benchmarks.published_months import VARIABLE, real_trips
from benchmarks.reporting import print_section, write_section

SECTIONS = {
    "quality": "RMSE on unseen months, against the course's XGBoost",
    "preparation": "from raw file to features, against decoding alone and the course's pandas",
    "orchestration": "the Materialize button and the command, against one plain process",
    "readiness": "how much later `dagster dev` is ready than an empty project's",
    "executors": "the training job in process, and in processes of its own for each step",
    "serving": "the prediction service, against a bare route, MLflow's server and the pipeline",
    "memory": "whether more months need more memory before the fit",
    "scale": "whether more months need more memory in the fit, and how long a year takes",
}
RESULTS = Path(__file__).resolve().parent / "results.json"
_LISTED = "\n".join(f"  {name:<14} {what}" for name, what in SECTIONS.items())
_HELP = f"""Measure the project against named peers, as ratios taken in one run.

NAME is any of these; without one, all are measured.

\b
{_LISTED}

Real published months come from the folder in {VARIABLE}; without them the synthetic sample serves,
and the table says so. A section that was not named keeps its figures in the results file.

--thorough adds what takes many minutes: the course's protocol on a whole history (quality; reported
without a target), and months of 3 million rows (memory, scale).
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, help=_HELP)
@click.argument("names", nargs=-1, type=click.Choice(list(SECTIONS)), metavar="[NAME ...]")
@click.option("--thorough", is_flag=True, help="Also measure what takes many minutes; see above.")
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="Repeat timings this often, for a quick look; by default as often as a section needs.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 when a target is missed.")
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    default=RESULTS,
    show_default="benchmarks/results.json",
    help="The file to write.",
)
def main(
    names: tuple[str, ...], thorough: bool, rounds: int | None, strict: bool, results: Path
) -> None:
    """Measure, print and keep each section in turn."""
    console = Console(highlight=False)
    if real_trips() is None:
        console.print(f"Real months are absent ({VARIABLE}): the SYNTHETIC sample serves instead.")
    figures: list[Figure] = []
    for name in dict.fromkeys(names or SECTIONS):
        console.print(f"measuring {name} …")
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="ml_assets_bench_") as scratch:
            options = Options(Path(scratch), Progress(console), thorough, rounds)
            section: Section = importlib.import_module(f"benchmarks.{name}").measure(options)
        seconds = time.perf_counter() - begun
        print_section(console, name, section, seconds)
        write_section(results, name, section, seconds)
        figures += section.figures
    missed = [figure for figure in figures if figure.met is False]
    console.print(f"{len(missed)} targets missed; figures in {os.path.relpath(results)}")
    raise SystemExit(1 if strict and missed else 0)


class Progress:
    """Prints what is being done, with the seconds since the section began."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.perf_counter()

    def __call__(self, message: str) -> None:
        """Print one line."""
        seconds = time.perf_counter() - self._begun
        self._console.print(f"  {seconds:5.0f} s  {message}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
