"""Measure how much each family gains from more rows: ``python -m benchmarks.learning_curve``.

Every family is fitted on growing samples of real green trips, drawn as in training, and tested on a
later month; boosting stops on a month in between. Parameters are the defaults. Writes
``docs/learning_curve.json``, the picture ``docs/learning_curve.svg`` and the table in
``docs/scale.md``; takes about 20 minutes on two idle cores.
"""

import json
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from benchmarks.published_months import VARIABLE, PublishedMonths, real_trips
from ml_assets.config.cores import thread_count
from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.pipeline.predict import predict_trips, without_distance
from ml_assets.training.families import FAMILIES, ModelFamily
from ml_assets.training.fit import encode_trips, fit_encoded
from ml_assets.training.row_sample import draw_rows, row_quotas
from ml_assets.training.tune import run_trial
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET

TRAIN = [Month(2023, number) for number in (1, 2, 3, 4)]
STOPS_ON, TESTED_ON = Month(2023, 6), Month(2023, 8)
"""The months that took part in no choice (2023-05, 07, 09) are left out."""

SIZES = (10_000, 30_000, 90_000)
"""Rows of each fit, before the one on all; with a seed each for ``REPEATS`` fits of a size."""
REPEATS = 2
DOCS = Path(__file__).resolve().parent.parent / "docs"


def sample(months: dict[Month, pd.DataFrame], rows: int | None, seed: int) -> pd.DataFrame:
    """Draw rows of the months as training does."""
    quotas = row_quotas([len(trips) for trips in months.values()], rows)
    return pd.concat(
        [
            trips.iloc[draw_rows(trips["PULocationID"].to_numpy(), quota, seed, month)]
            for (month, trips), quota in zip(months.items(), quotas, strict=True)
        ],
        ignore_index=True,
    )


def measure(
    family: ModelFamily, train: pd.DataFrame, stop: pd.DataFrame, test: pd.DataFrame, seed: int
) -> dict[str, float]:
    """Fit a family with its defaults; return its RMSE on ``test`` in both modes, and seconds."""
    begun = time.perf_counter()
    encoded, threads = encode_trips(family, train, stop), thread_count(-1)
    parameters: dict[str, Any] = dict(family.defaults)
    if family.early_stopping is not None and family.usual_rounds is not None:

        def report(*_: object) -> None:
            """Prune nothing."""

        stated = encoded.with_distance()
        parameters = run_trial(family, stated, parameters, report, seed, threads).parameters
        rows = encoded.without_distance(family.share_without_distance)
        found = run_trial(family, rows, parameters, report, seed, threads)
        parameters[family.usual_rounds] = found.parameters[family.early_stopping.parameter]
    tuned = time.perf_counter()
    pipeline = fit_encoded(family, encoded, parameters, seed, threads).pipeline
    fitted = time.perf_counter()
    actual = test[TARGET.name].to_numpy()
    usual = predict_trips(pipeline, without_distance(test))
    return {
        "rows": len(train),
        "seed": seed,
        "rmse": root_mean_squared_error(actual, predict_trips(pipeline, test)),
        "rmse_usual": root_mean_squared_error(actual, usual),
        "rounds_seconds": tuned - begun,
        "fit_seconds": fitted - tuned,
    }


@click.command(help=__doc__)
@click.option("--families", default=",".join(FAMILIES), help="Names, with commas between them.")
@click.option("--draw-only", is_flag=True, help="Draw the picture from the stored figures.")
def main(families: str, draw_only: bool) -> None:
    """Measure the families and draw the curves."""
    path = DOCS / "learning_curve.json"
    known = json.loads(path.read_text()) if path.is_file() else {"curves": {}}
    if not draw_only:
        if real_trips() is None:
            raise click.ClickException(f"needs real months: set {VARIABLE}")
        months = PublishedMonths.open(DOCS)
        train = {month: months.kept(month) for month in TRAIN}
        stop, test = months.kept(STOPS_ON), months.kept(TESTED_ON)
        known |= {"train": [*map(str, TRAIN)], "stops_on": str(STOPS_ON), "test": str(TESTED_ON)}
        for name in families.split(","):
            curve = []
            for rows, seeds in [*((size, range(REPEATS)) for size in SIZES), (None, range(1))]:
                for seed in seeds:
                    trips = sample(train, rows, seed)
                    curve.append(measure(FAMILIES[name], trips, stop, test, seed))
                    click.echo(f"{name} {curve[-1]}")
            known["curves"][name] = curve
            path.write_text(json.dumps(known, indent=1) + "\n")
    draw(known["curves"])
    page = DOCS / "scale.md"
    before, begin, rest = page.read_text().partition("<!-- curves -->\n")
    _, end, after = rest.partition("<!-- end of curves -->\n")
    page.write_text(before + begin + table(known["curves"]) + end + after)


def means(curve: list[dict[str, float]], mode: str) -> dict[int, float]:
    """Return the mean RMSE of each number of rows."""
    rows = sorted({int(point["rows"]) for point in curve})
    return {size: float(np.mean([p[mode] for p in curve if p["rows"] == size])) for size in rows}


def table(curves: dict[str, list[dict[str, float]]]) -> str:
    """Format the RMSE of each family by rows, with the metered distance and without a distance."""
    sizes = list(means(next(iter(curves.values())), "rmse"))
    heads = ["family", *(f"{size:,} rows" for size in sizes)]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(sizes)]
    for name, curve in curves.items():
        stated, usual = means(curve, "rmse"), means(curve, "rmse_usual")
        cells = [f"{stated[size]:.3f} / {usual[size]:.3f}" for size in sizes]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(curves: dict[str, list[dict[str, float]]]) -> None:
    """Draw the mean RMSE of each family by rows, in both modes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    for axes, mode, title in zip(
        figure.subplots(1, 2),
        ("rmse", "rmse_usual"),
        ("with the metered distance", "without a distance"),
        strict=True,
    ):
        for name, curve in curves.items():
            points = means(curve, mode)
            axes.plot(*zip(*points.items(), strict=True), marker="o", markersize=3, label=name)
        axes.set(xscale="log", xlabel="rows fitted on", ylabel="test RMSE, minutes", title=title)
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(DOCS / "learning_curve.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
