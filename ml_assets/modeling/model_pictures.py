"""The pictures that a judged model is looked at with."""

from ml_assets.modeling import charts
from ml_assets.modeling.importance import feature_importance, importance_picture
from ml_assets.modeling.interval_picture import interval_picture
from ml_assets.modeling.records import TrainingSet
from ml_assets.training.train_and_evaluate import JudgedModel
from ml_assets.trips.rules import TARGET


def model_pictures(judged: JudgedModel, training_set: TrainingSet) -> dict[str, bytes]:
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
        pictures["interval_coverage_by_slice"] = interval_picture(
            judged.record.interval, months, model=model, synthetic=synthetic, caveat=caveat
        )
    if feature_importance(judged.pipeline):  # some estimators tell none
        pictures["feature_importance"] = importance_picture(
            judged.pipeline, judged.record, synthetic
        )
    if judged.trials:
        pictures["tuning_history"] = charts.tuning_history(
            [trial.tune_rmse for trial in judged.trials],
            training_set.months_of("tune"),
            model=model,
            synthetic=synthetic,
        )
    return pictures
