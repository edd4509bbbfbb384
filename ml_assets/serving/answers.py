"""From valid requests to the JSON of their answers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson

from ml_assets.pipeline.predict import Answers, Model
from ml_assets.requests.parse import Request, request_columns
from ml_assets.serving.responses import Reply

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
        "typical_minutes": explanation.typical_minutes,
        "contributions": explanation.contributions,
    }
