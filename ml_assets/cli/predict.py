"""``ml-assets predict``: predictions for a file of requests."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ml_assets.cli.console import stdout_redirected, unredirected_console
from ml_assets.config.settings import read_settings
from ml_assets.requests.batch import BatchSummary, predict_file, require_possible


@click.command()
@click.argument("requests", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "target",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help="File of the predictions; its extension decides the format.",
)
@click.option("--version", default="champion", help="Registry version, by number or alias.")
@click.option(
    "--ignore-column",
    "ignored",
    metavar="NAME",
    multiple=True,
    help="Copy this column without reading it, although its name resembles a request field. "
    "May be repeated.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def predict(
    requests: Path,
    target: Path,
    version: str,
    ignored: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Predict the minutes of every request in FILE: Parquet, CSV or JSON lines (.jsonl).

    A request has PULocationID, DOLocationID and, if known, trip_distance (miles; default the usual
    distance of the two zones), pickup_datetime (New York time unless it has an offset; default now)
    and passenger_count. Published names (lpep_pickup_datetime, tpep_pickup_datetime) and other
    letter case are accepted; a column that resembles a field (miles, pickup_time, passengers) is
    rejected. The output has each row's own columns, predicted_minutes, lower_minutes,
    upper_minutes, distance (stated or usual), distance_miles, model_version, scored_at, or the
    reason why it was not scored. Memory does not depend on the length of the file.
    """
    settings = read_settings()
    with stdout_redirected():
        # Checked before MLflow and the model are loaded, which takes seconds.
        require_possible(requests, target, overwrite=overwrite, ignored=ignored)
        from ml_assets.registry.loading import load_model
        from ml_assets.registry.registry import Registry

        model = load_model(Registry.of(settings), version)
        with _progress_bar(f"{requests.name}, version {model.version}") as show:
            summary = predict_file(
                model, requests, target, overwrite=overwrite, ignored=ignored, progress=show
            )
    if as_json:
        values = {
            "rows": summary.rows,
            "scored": summary.scored,
            "refused": summary.rejected,
            "reasons": dict(summary.reasons),
            "model_version": summary.model_version,
            "without_pickup_time": summary.without_pickup_time,
            "usual_distance": summary.usual_distance,
            "scored_as_of": summary.scored_as_of.isoformat(timespec="seconds"),
            "seconds": round(summary.seconds, 3),
            "out": str(target),
        }
        click.echo(json.dumps(values))
    else:
        click.echo("\n".join(_lines(summary, target)))


@contextlib.contextmanager
def _progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar in a terminal; yields the function to call with the rows done and in all."""
    with unredirected_console() as console:
        bar = Progress(
            TextColumn(title, markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        task = bar.add_task("")
        with bar:
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(summary: BatchSummary, target: Path) -> list[str]:
    lines = [
        f"{target}: {summary.scored:,} of {summary.rows:,} requests scored with version "
        f"{summary.model_version} in {summary.seconds:.1f} s"
    ]
    if summary.without_pickup_time:
        lines.append(
            f"{_pickup_times(summary)} scored as of {summary.scored_as_of:%Y-%m-%d %H:%M} "
            "(New York time)"
        )
    if summary.usual_distance:
        lines.append(
            f"{_rows(summary.usual_distance, summary)} scored for the usual distance of the two "
            "zones: the file gives none, 0 or an implausible one"
        )
    if summary.rejected:
        by_field = ", ".join(f"{name} {rows:,}" for name, rows in summary.reasons.most_common())
        lines.append(
            f"{summary.rejected:,} could not be scored, by invalid field: {by_field} (see the "
            "column reason)"
        )
    return lines


def _pickup_times(summary: BatchSummary) -> str:
    """Describe how many requests have no pick-up time."""
    count = summary.without_pickup_time
    if count == summary.scored:
        return "no pick-up time given: all rows"
    return f"not every row has a pick-up time: {_rows(count, summary)}"


def _rows(count: int, summary: BatchSummary) -> str:
    if count == summary.rows > 1:
        return "all rows"
    return f"{count:,} {'row' if count == 1 else 'rows'}"
