"""Predictions of a list of requests, in the steps of ``serving.list_thread``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import orjson

from ml_assets.pipeline.predict import Model, Predictions
from ml_assets.requests.parse import Columns, Request, parse_request, request_columns
from ml_assets.serving.list_thread import Steps
from ml_assets.serving.responses import (
    Reply,
    explanation_json,
    invalid_entry_errors,
    validation_error_reply,
)

PYTHON_ROWS: Final = 100
"""Requests that are parsed, or written as JSON, in a step: 0.1 to 0.3 ms of Python."""

MODEL_ROWS: Final = 2_500
"""Requests in a call of the model, which is not interrupted but releases Python's lock. XGBoost
takes 1.5 ms for a call, whatever its rows, and 30 ms for these."""


JSON_BYTES: Final = 100_000
"""Bytes of a list's JSON that are parsed in a step: 0.3 ms."""

_BETWEEN_OBJECTS: Final = re.compile(rb"\}\s*(,)\s*\{")


@dataclass(frozen=True)
class ListPrediction:
    """The predictions of a list.

    Attributes:
        columns: The requests.
        predictions: Their predictions, in order.
        json: The entries of the response, joined by commas.
    """

    columns: Columns
    predictions: Predictions
    json: bytes


def load_json(raw: bytes) -> Steps[Any]:
    """Parse JSON, a long list of objects in parts.

    ``[A, B]`` is JSON with the items of both whenever ``[A]`` and ``[B]`` are. A part that is not
    JSON was cut within an object or a text, or is an error: the whole is then parsed at once.

    Raises:
        orjson.JSONDecodeError: It is not JSON.
    """
    items: list[Any] = []
    content = raw.strip(b" \t\n\r") if len(raw) > JSON_BYTES else b""
    start, end = 1, len(content) - 1
    if content[:1] == b"[" and content[end:] == b"]":
        try:
            while cut := _BETWEEN_OBJECTS.search(content, start + JSON_BYTES):
                items += orjson.loads(b"[%b]" % content[start : cut.start(1)])
                start = cut.end(1)
                yield
            items += orjson.loads(b"[%b]" % content[start:end])
        except orjson.JSONDecodeError:
            yield
        else:
            return items
    return orjson.loads(raw)


def parse_list(body: Sequence[Any], max_errors: int) -> Steps[list[Columns] | Reply]:
    """Parse a list.

    Returns:
        Columns of ``PYTHON_ROWS`` requests each; or the response with the first errors.
    """
    now = datetime.now(UTC)
    columns: list[Columns] = []
    errors: list[dict[str, Any]] = []
    count = 0
    for start in range(0, len(body), PYTHON_ROWS):
        requests = []
        for at, fields in enumerate(body[start : start + PYTHON_ROWS], start):
            request = parse_request(fields, now)
            if isinstance(request, Request):
                requests.append(request)
                continue
            found, number = invalid_entry_errors(at, fields, request, max_errors - len(errors))
            errors += found
            count += number
        columns.append(request_columns(requests))
        yield
    return validation_error_reply(errors, count) if count else columns


def predict_list(
    model: Model, columns: Sequence[Columns], *, explain: bool
) -> Steps[ListPrediction]:
    """Predict the requests of :func:`parse_list`."""
    parts: list[Predictions] = []
    json: list[bytes] = []
    at_once = MODEL_ROWS // PYTHON_ROWS
    for start in range(0, len(columns), at_once):
        part = _join_columns(columns[start : start + at_once])
        predictions = model.predict(part)
        parts.append(predictions)
        yield
        entries: list[dict[str, Any]] = []
        for at, fields in enumerate(predictions.rows()):
            entry = {**fields, "model_version": model.version}
            if explain:
                one = {name: column[at : at + 1] for name, column in part.items()}
                entry["explanation"] = explanation_json(model, one)
            entries.append(entry)
            if explain or len(entries) == PYTHON_ROWS:
                json.append(orjson.dumps(entries)[1:-1])  # NaN becomes null
                entries = []
                yield
        if entries:
            json.append(orjson.dumps(entries)[1:-1])
    return ListPrediction(_join_columns(columns), _join_predictions(parts), b",".join(json))


def _join_columns(parts: Sequence[Columns]) -> Columns:
    if not parts:
        return request_columns([])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _join_predictions(parts: Sequence[Predictions]) -> Predictions:
    if not parts:
        nothing = np.empty(0)
        return Predictions(nothing, None, None, np.empty(0, dtype=np.bool_), nothing)
    lower = [part.lower for part in parts if part.lower is not None]
    upper = [part.upper for part in parts if part.upper is not None]
    return Predictions(
        np.concatenate([part.minutes for part in parts]),
        np.concatenate(lower) if lower else None,
        np.concatenate(upper) if upper else None,
        np.concatenate([part.stated for part in parts]),
        np.concatenate([part.miles for part in parts]),
    )
