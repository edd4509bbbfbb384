"""Answers of the service: their shapes, and the JSON that is sent with the request's id."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from pydantic import BaseModel, Field
from starlette.types import Scope, Send

from ml_assets.pipeline.explain import PLAYERS
from ml_assets.pipeline.predict import Answers, Model
from ml_assets.requests.parse import Request, request_columns

REQUEST_ID: Final = b"x-request-id"
_FIT_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Explanation(BaseModel):
    """Why: ``baseline_minutes`` and all contributions add up to ``predicted_minutes``."""

    baseline_minutes: float = Field(description="What the model says of trips at large")
    contributions: dict[str, float] = Field(
        description="Minutes that each part of the request adds or takes: "
        + " ".join(f"`{name}`: {sentence}" for name, sentence in PLAYERS.items())
    )


class Prediction(BaseModel):
    """Minutes of one request."""

    predicted_minutes: float
    lower_minutes: float | None = Field(description="Of the prediction interval; null without one")
    upper_minutes: float | None = Field(description="Likewise")
    model_version: str
    explanation: Explanation | None = Field(
        default=None, description="With `explain=true`; null when the version has none"
    )


class PredictionOfOne(Prediction):
    """The answer to one request."""

    request_id: str


class Predictions(BaseModel):
    """The answer to a list, in its order."""

    predictions: list[Prediction]
    model_version: str
    request_id: str


class WrongField(BaseModel):
    """What is wrong, and where."""

    loc: list[str | int]
    msg: str
    type: str


class WrongFields(BaseModel):
    """Why a body was refused."""

    detail: list[WrongField] = Field(description="A hundred at most")
    error_count: int = Field(description="Number of errors, of which `detail` may show fewer")


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back.

    Attributes:
        status: Of HTTP.
        body: JSON.
        close: Whether the connection is of no use any more.
        headers: More of them.
    """

    status: int
    body: bytes
    close: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()


def error_reply(status: int, detail: str, *, close: bool = False) -> Reply:
    """A refusal in one sentence."""
    return Reply(status, orjson.dumps({"detail": detail}), close)


def validation_error(
    problems: Sequence[dict[str, Any]], limit: int, count: int | None = None
) -> Reply:
    """A 422 with the wrong fields, in the shape that FastAPI gives them.

    Args:
        problems: As of :func:`field_error`; the first ``limit`` of them are in the body.
        limit: Maximum number of entries in the body.
        count: How many there are, where ``problems`` holds only the first of them.
    """
    total = len(problems) if count is None else count
    return Reply(422, orjson.dumps({"detail": problems[:limit], "error_count": total}))


def field_error(
    loc: Sequence[str | int], message: str, kind: str = "value_error"
) -> dict[str, Any]:
    """One entry of a 422: where, what, and of which kind."""
    return {"loc": list(loc), "msg": message, "type": kind}


def request_id_of(scope: Scope) -> str:
    """The client's own id for its request if that is fit to be kept, else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID and _FIT_REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid.uuid4().hex


async def send_reply(send: Send, reply: Reply, request_id: str) -> None:
    """Send an answer."""
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


_NOTHING: Final = Answers(np.empty(0), None, None)


def reply_to_one(
    answers: Answers, version: str, request_id: str, more: Mapping[str, Any] | None = None
) -> Reply:
    """The reply to one request.

    Args:
        answers: Of this request alone.
        version: That gave them.
        request_id: Goes into the answer.
        more: Further fields.
    """
    answer: dict[str, Any] = {
        "predicted_minutes": float(answers.minutes[0]),
        "lower_minutes": None if answers.lower is None else float(answers.lower[0]),
        "upper_minutes": None if answers.upper is None else float(answers.upper[0]),
        "model_version": version,
        "request_id": request_id,
        **(more or {}),
    }
    return Reply(200, orjson.dumps(answer))


def answer_list(
    model: Model, requests: Sequence[Request], request_id: str, *, explain: bool
) -> tuple[Reply, Answers]:
    """Predict a list of requests, in its order.

    Args:
        model: What predicts.
        requests: Valid.
        request_id: Goes into the answer.
        explain: Whether to tell of each what its fields contributed.

    Returns:
        The reply, and the same figures to keep.
    """
    answers = model.minutes(request_columns(requests)) if requests else _NOTHING
    minutes = answers.minutes.tolist()
    none = [None] * len(minutes)
    lower = none if answers.lower is None else answers.lower.tolist()
    upper = none if answers.upper is None else answers.upper.tolist()
    version = model.version
    predictions: list[dict[str, Any]] = [
        {
            "predicted_minutes": predicted,
            "lower_minutes": low,
            "upper_minutes": high,
            "model_version": version,
        }
        for predicted, low, high in zip(minutes, lower, upper, strict=True)
    ]
    if explain:
        for prediction, request in zip(predictions, requests, strict=True):
            prediction["explanation"] = explanation_of(model, request_columns([request]))
    answer = {"predictions": predictions, "model_version": version, "request_id": request_id}
    return Reply(200, orjson.dumps(answer)), answers


def explanation_of(model: Model, columns: Any) -> dict[str, Any] | None:
    """As JSON; None when the model is of a kind, or a time, that has none."""
    from ml_assets.pipeline.explain import explain

    explanation = explain(model.pipeline, columns)
    if explanation is None:
        return None
    return {
        "baseline_minutes": explanation.baseline_minutes,
        "contributions": explanation.contributions,
    }
