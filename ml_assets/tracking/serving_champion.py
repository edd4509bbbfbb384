"""What serves now: the registry's champion, judged again on the month that judges the others."""

from ast import literal_eval
from math import isfinite
from typing import TYPE_CHECKING, Any

from ml_assets.modeling.promotion import Champion
from ml_assets.modeling.records import TrainingSet
from ml_assets.tracking.models import CHAMPION, load_pipeline, version_with_alias
from ml_assets.trips.rules import REQUEST_COLUMNS, TARGET

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient


def serving_champion(
    client: "MlflowClient", name: str, training_set: TrainingSet, judged: "pd.DataFrame"
) -> Champion | None:
    """The champion, with its RMSE on these trips when it was trained on the same kind of trips.

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
    rmse, unscored = None, None
    if tags.get("dataset") == training_set.dataset:
        rmse, unscored = _score(f"models:/{name}/{version.version}", judged)
    return Champion(
        version=str(version.version),
        model=tags.get("model", "unknown"),
        serve=_serve(tags),
        served=tags.get("served", ""),
        dataset=tags.get("dataset", ""),
        synthetic=tags.get("synthetic") == "true",
        test_rmse=rmse,
        unscored=unscored,
        saw_judged_month=saw,
        caveat=tags.get("caveat") if saw else None,
    )


def champion_parameters(
    client: "MlflowClient", name: str, model: str, training_set: TrainingSet
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


def _serve(tags: dict[str, str]) -> Any:
    refitted = tags.get("served", "").startswith("refitted_on_all_months")
    return "refitted_on_all_months" if refitted else "judged"


def _score(uri: str, judged: "pd.DataFrame") -> tuple[float | None, str | None]:
    """RMSE, or why there is none: a broken champion must not keep a sound one from serving."""
    from ml_assets.modeling.evaluation import measure

    try:
        predicted = load_pipeline(uri).predict(judged[list(REQUEST_COLUMNS)])
        rmse = measure(judged[TARGET], predicted).rmse
        return (rmse, None) if isfinite(rmse) else (None, f"its RMSE is {rmse}")
    except Exception as error:  # noqa: BLE001 - whatever keeps it from predicting is the reason
        return None, f"{type(error).__name__}: {error}"
