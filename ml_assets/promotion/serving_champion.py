"""What serves now: the registry's champion, asked again for the month that judges the others."""

import json
from ast import literal_eval
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow import MlflowClient

from ml_assets.evaluation.records import TrainingSet
from ml_assets.pipeline.predict import predict_trips
from ml_assets.registry.artifacts import CHAMPION, version_with_alias
from ml_assets.registry.loading import HOLD, load_verified
from ml_assets.registry.manual_hold import Champion, ManualOverride, Serve
from ml_assets.secrets import error_text
from ml_assets.trips.rules import TARGET


def serving_champion(
    client: MlflowClient, name: str, training_set: TrainingSet, judged: pd.DataFrame
) -> Champion | None:
    """The champion, with its predictions for these trips when it was trained on the same kind.

    Args:
        client: Of the registry.
        name: Registered model.
        training_set: Names the dataset and the judged month.
        judged: Trips of that month.

    Returns:
        None when nothing serves. One that cannot be loaded or used any more says why.
    """
    version = version_with_alias(client, name, CHAMPION)
    if version is None:
        return None
    tags = version.tags
    months = {str(month) for month in training_set.months_of("judge")}
    saw = bool(
        months & {*tags.get("fitted_on", "").split(","), *tags.get("tuned_on", "").split(",")}
    )
    predicted, unscored = None, None
    if tags.get("dataset") == training_set.dataset:
        predicted, unscored = _predict(f"models:/{name}/{version.version}", tags, judged)
    return Champion(
        version=str(version.version),
        model=tags.get("model", "unknown"),
        serve=_serve(tags),
        served=tags.get("served", ""),
        dataset=tags.get("dataset", ""),
        synthetic=tags.get("synthetic") == "true",
        test_rmse=None if predicted is None else _rmse(judged, predicted),
        unscored=unscored,
        saw_judged_month=saw,
        caveat=tags.get("caveat") if saw else None,
        run_id=version.run_id or "",
        hold=_hold(tags),
        predicted=predicted,
    )


def champion_parameters(
    client: MlflowClient, name: str, model: str, training_set: TrainingSet
) -> dict[str, Any] | None:
    """The parameters of the champion, to start tuning from; None when they are of no use.

    Args:
        client: Of the registry.
        name: Registered model.
        model: The family that is about to be tuned.
        training_set: Of that tuning: a month that is to judge must have had no say in them.

    Returns:
        Name to value. None when nothing serves, when it is of another family or of other trips,
        and when it was fitted or tuned on the judged month or a later one.
    """
    version = version_with_alias(client, name, CHAMPION)
    if version is None or not version.run_id:
        return None
    if (version.tags.get("model"), version.tags.get("dataset")) != (model, training_set.dataset):
        return None
    months = f"{version.tags.get('fitted_on', '')},{version.tags.get('tuned_on', '')}".split(",")
    judged = str(training_set.months_of("judge")[0])
    if not version.tags.get("tuned_on") or max(months) >= judged:
        return None
    logged = client.get_run(version.run_id).data.params
    return {parameter: _value(text) for parameter, text in logged.items()}


def _value(text: str) -> Any:
    """What a logged parameter was: MLflow keeps its text."""
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _serve(tags: dict[str, str]) -> Serve:
    refitted = tags.get("served", "").startswith("refitted_on_all_months")
    return "refitted_on_all_months" if refitted else "judged"


def _hold(tags: dict[str, str]) -> ManualOverride | None:
    return ManualOverride(**json.loads(tags[HOLD])) if tags.get(HOLD) else None


def _predict(
    uri: str, tags: dict[str, str], judged: pd.DataFrame
) -> tuple[npt.NDArray[np.float64] | None, str | None]:
    """Minutes, or why there are none: a broken champion must not keep a sound one from serving."""
    try:
        predicted = predict_trips(load_verified(uri, tags), judged)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from predicting is the reason
        return None, error_text(error)
    minutes = np.asarray(predicted, dtype=np.float64)
    if not isfinite(_rmse(judged, minutes)):
        return None, "its predictions are not all finite"
    return minutes, None


def _rmse(judged: pd.DataFrame, predicted: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean((predicted - judged[TARGET].to_numpy()) ** 2)))
