"""The pictures that a judged model is looked at with."""

from collections.abc import Sequence

from sklearn.pipeline import Pipeline

from ml_assets.evaluation.feature_importance import feature_importance
from ml_assets.evaluation.interval_coverage import overall_and_slices
from ml_assets.evaluation.records import IntervalRecord, ModelRecord, TrainingSet
from ml_assets.reporting import charts
from ml_assets.reporting.figure import BLUE, HIGHLIGHT, INK, legend, new_figure, png
from ml_assets.training.train_and_evaluate import EvaluatedModel
from ml_assets.trips.month import Month
from ml_assets.trips.rules import TARGET


def model_charts(judged: EvaluatedModel, training_set: TrainingSet) -> dict[str, bytes]:
    """Name to PNG: predicted against actual, error by hour, intervals, importance, tuning."""
    model, synthetic = judged.record.model, training_set.synthetic
    actual, predicted = judged.judged[TARGET], judged.predicted
    hours = judged.judged["pickup_datetime"].dt.hour
    months, caveat = training_set.months_of("judge"), training_set.caveat
    pictures = {
        "predicted_versus_actual": charts.predicted_versus_actual(
            actual, predicted, months, model=model, synthetic=synthetic, caveat=caveat
        ),
        "error_by_hour": charts.error_by_hour(
            hours, actual, predicted, months, model=model, synthetic=synthetic, caveat=caveat
        ),
    }
    if judged.record.interval is not None:
        pictures["interval_coverage_by_slice"] = interval_chart(
            judged.record.interval, months, model=model, synthetic=synthetic, caveat=caveat
        )
    if feature_importance(judged.pipeline):  # some estimators tell none
        pictures["feature_importance"] = importance_chart(judged.pipeline, judged.record, synthetic)
    if judged.trials:
        pictures["tuning_history"] = charts.tuning_history(
            [trial.tune_rmse for trial in judged.trials],
            training_set.months_of("tune"),
            model=model,
            synthetic=synthetic,
        )
    return pictures


def importance_chart(pipeline: Pipeline, record: ModelRecord, synthetic: bool) -> bytes:
    """:func:`feature_importance` as a PNG, titled with the months that the model was fitted on."""
    return charts.feature_importance(
        feature_importance(pipeline),
        [Month.parse(month) for month in record.fitted_on],
        model=record.model,
        unit="share",
        synthetic=synthetic,
    )


def interval_chart(
    measured: IntervalRecord,
    months: Sequence[Month],
    *,
    model: str,
    synthetic: bool = False,
    caveat: str | None = None,
) -> bytes:
    """Share of trips that the intervals hold, overall and by slice, against what they promise.

    Args:
        measured: On the judged month.
        months: the judging months.
        model: the model's name, for the title.
        synthetic: whether the trips are the embedded sample's, which the subtitle then says.
        caveat: what the figures have to be shown with, if anything.
    """
    parts = overall_and_slices(measured)[::-1]
    title = f"{model}: trips within the {measured.nominal:.0%} interval"
    figure, (axes,) = new_figure(title, months, synthetic, lines=len(parts), caveat=caveat)
    shares = [100 * part.coverage for part in parts]
    bars = axes.barh([part.slice for part in parts], shares, color=BLUE)
    labels = [f"{part.coverage:.1%}, {part.mean_width:.1f} min wide" for part in parts]
    axes.bar_label(bars, labels, label_type="center", color="white", fontsize=8)
    axes.axvline(100 * measured.nominal, color=HIGHLIGHT, linewidth=1.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("trips held, percent", color=INK)
    legend(figure, {"held": BLUE, f"promised: {measured.nominal:.0%}": HIGHLIGHT})
    return png(figure)
