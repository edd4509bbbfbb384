"""Charts of an evaluated model."""

from collections.abc import Sequence

from ml_assets.evaluation.interval_coverage import all_parts
from ml_assets.evaluation.leaderboard import MODES
from ml_assets.evaluation.records import IntervalRecord, TrainingSet
from ml_assets.reporting import charts
from ml_assets.reporting.chart_style import (
    BLUE,
    DARK_BLUE,
    HIGHLIGHT,
    INK,
    legend,
    new_figure,
    to_png,
)
from ml_assets.training.train_and_evaluate import EvaluatedModel
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET


def model_charts(evaluated: EvaluatedModel, training_set: TrainingSet) -> dict[str, bytes]:
    """Draw predicted against actual, error by hour, intervals, importance and tuning.

    Returns:
        PNGs by name.
    """
    model, synthetic = evaluated.record.model, training_set.synthetic
    actual, predicted = evaluated.test_trips[TARGET.name], evaluated.predicted
    hours = evaluated.test_trips["pickup_datetime"].dt.hour
    months, caveat = training_set.months_in("test"), training_set.caveat
    drawn = {
        "predicted_versus_actual": charts.predicted_versus_actual(
            actual, predicted, months, model=model, synthetic=synthetic, caveat=caveat
        ),
        "error_by_hour": charts.error_by_hour(
            hours, actual, predicted, months, model=model, synthetic=synthetic, caveat=caveat
        ),
    }
    if evaluated.record.interval is not None:
        drawn["interval_coverage_by_slice"] = interval_chart(
            evaluated.record.interval,
            months,
            usual=evaluated.record.usual_interval,
            model=model,
            synthetic=synthetic,
            caveat=caveat,
        )
    if evaluated.importance:  # an estimator may be too slow for it
        drawn["feature_importance"] = charts.feature_importance(
            evaluated.importance,
            [Month.parse(month) for month in evaluated.record.training_months],
            model=model,
            unit="share",
            synthetic=synthetic,
        )
    if evaluated.trials:
        drawn["tuning_history"] = charts.tuning_history(
            [trial.validation_rmse for trial in evaluated.trials],
            training_set.months_in("validation"),
            model=model,
            synthetic=synthetic,
        )
    return drawn


def interval_chart(
    measured: IntervalRecord,
    months: Sequence[Month],
    *,
    model: str,
    usual: IntervalRecord | None = None,
    synthetic: bool = False,
    caveat: str | None = None,
) -> bytes:
    """Draw the coverage of the prediction intervals, overall and by slice, and the nominal one.

    Args:
        measured: Coverage on the test month, with the metered distances.
        months: The test months.
        model: Name of the model, for the title.
        usual: Coverage without distances; None draws one bar a slice.
        synthetic: See :func:`.charts.leaderboard_bars`.
        caveat: See :func:`.charts.leaderboard_bars`.
    """
    parts = all_parts(measured)[::-1]
    title = f"{model}: trips within the {measured.nominal:.0%} interval"
    drawn = [(MODES["stated"], BLUE, parts)]
    if usual is not None:
        drawn.append((MODES["usual"], DARK_BLUE, all_parts(usual)[::-1]))
    lines = len(parts) * len(drawn)
    figure, (axes,) = new_figure(title, months, synthetic, lines=lines, caveat=caveat)
    rows, height = {part.slice: at for at, part in enumerate(parts)}, 0.84 / len(drawn)
    for at, (_, colour, mode) in enumerate(drawn):
        shown = [part for part in mode if part.slice in rows]
        shift = height * ((len(drawn) - 1) / 2 - at)
        places = [rows[part.slice] + shift for part in shown]
        shares = [100 * part.coverage for part in shown]
        bars = axes.barh(places, shares, height=height, color=colour)
        labels = [
            f"{each.coverage:.1%}, {each.mean_width:.1f} {TARGET.symbol} wide" for each in shown
        ]
        axes.bar_label(bars, labels, label_type="center", color="white", fontsize=8)
    axes.set_yticks([*rows.values()], [*rows])
    axes.axvline(100 * measured.nominal, color=HIGHLIGHT, linewidth=1.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("coverage, percent of trips", color=INK)
    words = {"covered" if usual is None else f"covered {word}": tone for word, tone, _ in drawn}
    legend(figure, words | {f"nominal: {measured.nominal:.0%}": HIGHLIGHT})
    return to_png(figure)
