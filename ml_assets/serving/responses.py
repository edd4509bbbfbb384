"""Responses of the service: their models, and JSON replies with the request id."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Scope, Send

from ml_assets.pipeline.explain import PLAYERS
from ml_assets.pipeline.explain import explain as explain_request
from ml_assets.pipeline.predict import Model, Predictions
from ml_assets.requests.fields import MAX_QUOTED_NAME, unknown_field
from ml_assets.requests.parse import InvalidRequest
from ml_assets.requests.validate import REQUIRED_FIELDS
from ml_assets.trips.target import TARGET

REQUEST_ID: Final = b"x-request-id"
_VALID_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
NOT_AN_OBJECT: Final = f"must be an object with {', '.join(REQUIRED_FIELDS)}"
_PREDICTED, _LOWER, _UPPER = TARGET.prediction_fields
_SENT_AS: Final = {
    "predicted": _PREDICTED,
    "lower": _LOWER,
    "upper": _UPPER,
    "baseline": TARGET.baseline_field,
}


class _OfTheTarget(BaseModel):
    """Fields that are sent under names with the unit of the target."""

    model_config = ConfigDict(alias_generator=lambda name: _SENT_AS.get(name, name))


class Explanation(_OfTheTarget):
    """The baseline and all contributions add up to the prediction."""

    baseline: float = Field(description="Mean prediction over typical requests")
    contributions: dict[str, float] = Field(
        description=f"{TARGET.unit.capitalize()} that each part of the request adds or subtracts: "
        + " ".join(f"`{name}`: {sentence}" for name, sentence in PLAYERS.items())
    )


class Prediction(_OfTheTarget):
    """Prediction for one request."""

    predicted: float
    lower: float | None = Field(
        description="Lower bound of the prediction interval; null without intervals"
    )
    upper: float | None = Field(
        description="Upper bound of the prediction interval; null without intervals"
    )
    distance: Literal["stated", "usual"] = Field(
        description="Whether the request's own distance was used, or the usual one of its two zones"
    )
    distance_miles: float | None = Field(
        description="Miles of that distance; null when unknown to the model"
    )
    model_version: str
    explanation: Explanation | None = Field(
        default=None, description="With `explain=true`; null when the version has none"
    )


class SinglePrediction(Prediction):
    """Response to one request."""

    request_id: str


class PredictionList(BaseModel):
    """Response to a list, in its order."""

    predictions: list[Prediction]
    model_version: str
    request_id: str


class FieldError(BaseModel):
    """Error in a field."""

    loc: list[str | int]
    msg: str
    type: str


class ValidationErrors(BaseModel):
    """Errors of an invalid request."""

    detail: list[FieldError] = Field(description="At most 100 errors")
    error_count: int = Field(description="Total number of errors")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response."""

    status: int
    body: bytes
    close: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()


def error_reply(status: int, detail: str, *, close: bool = False) -> Reply:
    """Build an error response with a message."""
    return Reply(status, orjson.dumps({"detail": detail}), close)


def validation_error_reply(errors: Sequence[dict[str, Any]], count: int | None = None) -> Reply:
    """Build a 422 in FastAPI's format.

    Args:
        count: Total number of errors; by default the length of ``errors``.
    """
    total = len(errors) if count is None else count
    return Reply(422, orjson.dumps({"detail": errors, "error_count": total}))


def field_error(
    loc: Sequence[str | int], message: str, kind: str = "value_error"
) -> dict[str, Any]:
    """Build an entry of a 422."""
    return {"loc": list(loc), "msg": message, "type": kind}


def request_errors(
    request: InvalidRequest, loc: tuple[str | int, ...], limit: int
) -> list[dict[str, Any]]:
    """Build the first errors of a request: a body has room for 100,000 unknown names."""
    errors = [field_error((*loc, each.field), each.message) for each in request.errors[:limit]]
    errors += [
        field_error((*loc, name[:MAX_QUOTED_NAME]), unknown_field(name), "extra_forbidden")
        for name in request.unknown[: limit - len(errors)]
    ]
    return errors


def invalid_entry_errors(
    at: int, fields: Any, request: InvalidRequest, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Build the first errors of an entry of a list, and count all of them."""
    if isinstance(fields, dict):
        return request_errors(request, ("body", at), limit) if limit > 0 else [], request.count
    error = field_error(("body", at), f"an entry of the list {NOT_AN_OBJECT}")
    return [error] if limit > 0 else [], 1


def get_request_id(scope: Scope) -> str:
    """Return the client's id of the request if it is valid, otherwise a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID and _VALID_REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid.uuid4().hex


async def send_reply(send: Send, reply: Reply, request_id: str) -> None:
    """Send a response."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(reply.body)),
        (REQUEST_ID, request_id.encode("ascii")),
        *reply.headers,
    ]
    if reply.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def single_reply(
    predictions: Predictions, version: str, request_id: str, more: Mapping[str, Any] | None = None
) -> Reply:
    """Build the response to one request."""
    (prediction,) = predictions.rows()
    body = {**prediction, "model_version": version, "request_id": request_id, **(more or {})}
    return Reply(200, orjson.dumps(body))  # NaN becomes null


def list_reply(entries: bytes, version: str, request_id: str) -> Reply:
    """Build the response to a list.

    Args:
        entries: JSON of the predictions, joined by commas.
    """
    more = orjson.dumps({"model_version": version, "request_id": request_id})
    return Reply(200, b'{"predictions":[%s],%s' % (entries, more[1:]))


def explanation_json(model: Model, columns: Any) -> dict[str, Any] | None:
    """Return the explanation of a prediction as JSON; None when the model supports none."""
    explanation = explain_request(model.pipeline, columns)
    if explanation is None:
        return None
    return {
        TARGET.baseline_field: explanation.baseline_minutes,
        "contributions": explanation.contributions,
    }
