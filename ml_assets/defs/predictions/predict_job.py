"""Job that predicts requests from its run config and shows the predictions as a table."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from ml_assets.defs.metadata import table
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.registry import ModelNotFound
from ml_assets.requests.fields import match_names, repeated_field, unknown_field
from ml_assets.requests.validate import DISTANCE, DISTANCE_MILES, RULES, requests_frame
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

PREDICT_REQUESTS = "predict_requests"


class RequestConfig(dg.PermissiveConfig):
    """A prediction request.

    PULocationID and DOLocationID are required. The step checks this, not Dagster, since a field may
    have its published name or another letter case.
    """

    PULocationID: int | None = Field(
        default=None, description=f"Required: pick-up, {RULES['PULocationID']}."
    )
    DOLocationID: int | None = Field(
        default=None, description=f"Required: drop-off, {RULES['DOLocationID']}."
    )
    trip_distance: float | None = Field(
        default=None, description=f"{RULES['trip_distance']}.".capitalize()
    )
    pickup_datetime: str | None = Field(
        default=None,
        description=f"{RULES['pickup_datetime']}; unset: now. Also lpep_pickup_datetime or "
        "tpep_pickup_datetime.",
    )
    passenger_count: int | None = Field(
        default=None, description=f"{RULES['passenger_count']}, if known.".capitalize()
    )


class PredictRequestsConfig(dg.Config):
    """The requests, and the model version that predicts them."""

    requests: list[RequestConfig] = Field(description="One or more requests.")
    version: str = Field(default="champion", description="Registry version, by number or alias.")


@dg.op(name="predict", out=dg.Out(dg.Nothing))
def predict_op(
    context: dg.OpExecutionContext, config: PredictRequestsConfig, tracking: MlflowTracking
) -> Iterator[dg.Output[None]]:
    """Predict the minutes of each request.

    The metadata of the output has the predictions as a table and as unrounded JSON.
    """
    rows = _predictions(tracking, config)
    for row in rows:
        context.log.info(_format_row(row))
    scored = [row for row in rows if row["reason"] is None]
    if not scored:
        reasons = "; ".join(f"request {row['request']}: {row['reason']}" for row in rows)
        raise dg.Failure(reasons or "no request: give at least one", allow_retries=False)
    yield dg.Output(
        None,
        metadata={
            "predictions": table(rows),
            "answers": dg.MetadataValue.json([_unrounded(row) for row in rows]),
            "scored": len(scored),
            "refused": len(rows) - len(scored),
            "model_version": scored[0]["model_version"],
        },
    )


@dg.job(
    name=PREDICT_REQUESTS,
    description="Predict the minutes of requests from the launchpad or GraphQL; the output of the "
    "step shows them as a table.",
)
def predict_requests() -> None:
    """Predict the requests of the run config."""
    predict_op()


def _predictions(tracking: MlflowTracking, config: PredictRequestsConfig) -> list[dict[str, Any]]:
    """Return a row per request: its number from 1, its fields, and the prediction or a reason.

    Raises:
        dg.Failure: The version does not exist or cannot be loaded.
    """
    from ml_assets.registry.loading import load_model

    try:
        model = load_model(tracking.registry(tracking.reader()), config.version)
    except ModelNotFound as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    given = [_fields(request) for request in config.requests]
    requests = [fields for fields, _ in given]
    faults = {row: fault for row, (_, fault) in enumerate(given) if fault}
    answers = model.predict_or_reject(requests_frame(requests), faults=faults).to_dicts()
    return [
        {"request": number, **request, **answer}
        for number, (request, answer) in enumerate(zip(requests, answers, strict=True), start=1)
    ]


def _fields(request: RequestConfig) -> tuple[dict[str, Any], str]:
    """Return the values of a request by field, and the errors in its names."""
    given = {name: value for name, value in request.model_dump().items() if value is not None}
    names = match_names(given)
    faults = [unknown_field(name) for name in names.unknown]
    faults += [repeated_field(*repeated) for repeated in names.repeated]
    values = {field: given[name] for field, name in names.name_of.items()}
    return {field: values.get(field) for field in REQUEST_COLUMNS}, "; ".join(faults)


def _unrounded(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"scored_at": row["scored_at"] and row["scored_at"].isoformat()}


def _format_row(row: dict[str, Any]) -> str:
    if row["reason"] is not None:
        return f"request {row['request']}: {row['reason']}"
    predicted, lower, upper = (row[name] for name in TARGET.prediction_fields)
    interval = "" if lower is None else f" ({lower:.1f} to {upper:.1f})"
    miles = "distance" if row[DISTANCE_MILES] is None else f"{row[DISTANCE_MILES]:.1f} miles"
    used = f"{row[DISTANCE]} {miles}"
    return f"request {row['request']}: {predicted:.1f} {TARGET.unit}{interval}, {used}"
