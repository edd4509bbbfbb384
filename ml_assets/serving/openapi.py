"""The service's OpenAPI document.

``/predict`` is described here by hand, since its route resolves nothing by itself; the rest is what
FastAPI makes of the other routes. What is described as valid is accepted, and nothing is described
that is not.
"""

from datetime import datetime
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from ml_assets.requests.fields import PUBLISHED_NAMES
from ml_assets.requests.validate import (
    EARLIEST_PICKUP,
    MAX_MILES,
    MIN_MILES,
    REQUIRED_FIELDS,
    RULES,
    WHOLE_NUMBERS,
)
from ml_assets.serving.auth import is_open
from ml_assets.serving.request_body import CONTENT_CODINGS, Limits
from ml_assets.serving.status_routes import Detail

REFERENCE: Final = "#/components/schemas/{model}"
ONE: Final = {"PULocationID": 236, "DOLocationID": "239", "trip_distance": 1.98}
FULL: Final = {
    "PULocationID": 74,
    "DOLocationID": 75,
    "trip_distance": 2.5,
    "pickup_datetime": "2024-05-06T17:30",
    "passenger_count": 1,
}
_INTRODUCTION: Final = (
    "How long will a New York taxi trip take? `POST /predict` answers with the registry's "
    "champion: minutes, an interval, and the version that predicted them."
)
_MILES_TEXT = rf"^({MAX_MILES:.0f}(\.0{{1,9}})?|[0-9]{{1,3}}(\.[0-9]{{1,9}})?)$"


class Explanation(BaseModel):
    """Why: ``typical_minutes`` and all contributions add up to ``predicted_minutes``."""

    typical_minutes: float = Field(description="What the model says of trips at large")
    contributions: dict[str, float] = Field(description="Minutes that each field adds or takes")


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
    problems: int = Field(description="How many there are")


_MODELS: Final = (Explanation, Prediction, PredictionOfOne, Predictions, WrongField, WrongFields)


def describe(app: FastAPI, limits: Limits, *, with_token: bool) -> dict[str, Any]:
    """The document.

    Args:
        app: Whose routes are described.
        limits: Of requests.
        with_token: Whether clients must send one.
    """
    document = get_openapi(
        title=app.title, version=app.version, description=_INTRODUCTION, routes=app.routes
    )
    document["paths"] = {"/predict": {"post": _predict(limits)}, **document["paths"]}
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    _, made = models_json_schema(
        [(model, "serialization") for model in (*_MODELS, Detail)], ref_template=REFERENCE
    )
    schemas |= made["$defs"] | {"Request": request_schema(datetime.now())}
    refusal = {
        "description": "No token or a wrong one; where none is set, not from this machine",
        "content": _json("Detail"),
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if not is_open(path):
                answers = {**operation["responses"], "401": refusal}
                operation["responses"] = dict(sorted(answers.items()))
                if with_token:
                    operation["security"] = [{"token": []}]
    if with_token:
        bearer = {"type": "http", "scheme": "bearer", "description": "ML_ASSETS_API_TOKEN"}
        document["components"]["securitySchemes"] = {"token": bearer}
    return document


def request_schema(now: datetime) -> dict[str, Any]:
    """What a request may hold, as JSON Schema.

    Args:
        now: Its year is the last in which any pick-up is valid.
    """
    missing = {"type": "string", "const": ""}
    null = {"type": "null"}
    optional = {"passenger_count", "pickup_datetime"}
    kinds: dict[str, list[dict[str, Any]]] = {
        **{field: _whole(*bounds) for field, bounds in WHOLE_NUMBERS.items()},
        "trip_distance": [
            {"type": "number", "minimum": MIN_MILES, "maximum": MAX_MILES},
            {"type": "string", "pattern": _MILES_TEXT},
        ],
        "pickup_datetime": [{"type": "string", "pattern": _pickup_pattern(now.year)}],
    }
    return {
        "type": "object",
        "title": "Request",
        "additionalProperties": False,
        "description": (
            "Also accepted: a field's name in another letter case, and "
            f"{' or '.join(f'`{name}`' for name in PUBLISHED_NAMES)} for `pickup_datetime`, as "
            "in published trip files. A field under two names, or a name that is no field, is a "
            "422 that names the nearest field."
        ),
        "required": list(REQUIRED_FIELDS),
        "properties": {
            field: {
                "description": f"{rule[0].upper()}{rule[1:]}"
                + ("; may be left out" if field in optional else ""),
                "anyOf": [*kinds[field], *([missing, null] if field in optional else [])],
            }
            for field, rule in RULES.items()
        },
        "examples": [ONE, FULL],
    }


def _whole(first: int, last: int) -> list[dict[str, Any]]:
    numbers = "|".join(str(number) for number in range(first, last + 1))
    return [
        {"type": "integer", "minimum": first, "maximum": last},
        {"type": "string", "pattern": f"^({numbers})$"},
    ]


def _pickup_pattern(last_year: int) -> str:
    """Times that are valid whatever their offset, and the first year's without one."""
    first = EARLIEST_PICKUP.year
    years = "|".join(str(year) for year in range(first + 1, last_year + 1))
    time = (
        "-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]"
        r"(:[0-5][0-9](\.[0-9]{1,6})?)?"
    )
    offset = "(Z|[+-](0[0-9]|1[01]):[0-5][0-9])?"
    return f"^({first}{time}|({years}){time}{offset})$"


def _predict(limits: Limits) -> dict[str, Any]:
    request = {"$ref": REFERENCE.format(model="Request")}
    # How long a list may be is told in words: more is a matter of size (413), not of form (422).
    body = {"anyOf": [request, {"type": "array", "items": request}]}
    examples = {
        "one": {"summary": "One request, without a time: now", "value": ONE},
        "full": {"summary": "All fields", "value": FULL},
        "list": {"summary": "A list, answered in its order", "value": [ONE, FULL]},
    }
    answers = [
        {"$ref": REFERENCE.format(model=name)} for name in ("PredictionOfOne", "Predictions")
    ]
    identified = {"X-Request-ID": {"description": "As in the body", "schema": {"type": "string"}}}
    return {
        "tags": ["predict"],
        "operationId": "predict",
        "summary": "How long will it take?",
        "description": (
            f"One request, or a list of at most {limits.list_length:,} (with `explain=true` "
            f"{limits.explained_length}), in a body of at most {limits.body_bytes:,} bytes. "
            f"It may be compressed (`Content-Encoding: {'` or `'.join(CONTENT_CODINGS)}`)."
        ),
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "description": "Also tell what each field contributed",
                "schema": {"type": "boolean", "default": False},
            },
            {
                "name": "X-Request-ID",
                "in": "header",
                "description": "An id of your own, 1 to 64 of A-Z a-z 0-9 . _ -; else one is made",
                "schema": {"type": "string"},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body, "examples": examples}},
        },
        "responses": {
            "200": {
                "description": "Minutes",
                "headers": identified,
                "content": {"application/json": {"schema": {"anyOf": answers}}},
            },
            "408": {"description": "The body did not arrive in time", "content": _json("Detail")},
            "413": {"description": "More than is answered at a time", "content": _json("Detail")},
            "415": {"description": "Another content coding", "content": _json("Detail")},
            "422": {"description": "Wrong fields", "content": _json("WrongFields")},
            "503": {"description": "No champion, or too much to do", "content": _json("Detail")},
        },
    }


def _json(model: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REFERENCE.format(model=model)}}}
