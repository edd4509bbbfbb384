"""What the OpenAPI document says of ``POST /predict``, and who may call which path.

FastAPI makes the document of the declared routes. A request is described by a schema of its own,
since it is not a pydantic model that reads it: what the schema calls valid is accepted.
"""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Header, Query
from fastapi.openapi.models import Example
from pydantic import BaseModel, ConfigDict

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
from ml_assets.serving.responses import PredictionOfOne, Predictions, WrongFields
from ml_assets.serving.status_routes import Detail

PREDICT: Final = "/predict"
ONE: Final = {"PULocationID": 236, "DOLocationID": "239", "trip_distance": 1.98}
FULL: Final = {
    "PULocationID": 74,
    "DOLocationID": 75,
    "trip_distance": 2.5,
    "pickup_datetime": "2024-05-06T17:30",
    "passenger_count": 1,
}
EXAMPLES: Final = {
    "one": Example(summary="One request, without a time: now", value=ONE),
    "full": Example(summary="All fields", value=FULL),
    "list": Example(summary="A list, answered in its order", value=[ONE, FULL]),
}
INTRODUCTION: Final = (
    "How long will a New York taxi trip take? `POST /predict` answers with the registry's "
    "champion: minutes, an interval, and the version that predicted them."
)
_MILES_TEXT = rf"^({MAX_MILES:.0f}(\.0{{1,9}})?|[0-9]{{1,3}}(\.[0-9]{{1,9}})?)$"


def _describe_request(schema: dict[str, Any]) -> None:
    schema.clear()
    schema.update(request_schema(datetime.now()))


class Request(BaseModel):
    """A request as :func:`request_schema` describes it; ``requests.parse`` reads it."""

    model_config = ConfigDict(json_schema_extra=_describe_request)


def predict_route(limits: Limits) -> APIRouter:
    """``POST /predict`` as the document shows it; ``PredictEndpoint`` answers it.

    Args:
        limits: Of requests.
    """
    router = APIRouter(tags=["predict"])
    refusals = {
        408: "The body did not arrive in time",
        413: "More than is answered at a time",
        415: "Another content coding",
        503: "No champion, or too much to do",
    }
    identified = {"X-Request-ID": {"description": "As in the body", "schema": {"type": "string"}}}

    @router.post(
        PREDICT,
        operation_id="predict",
        summary="How long will it take?",
        description=(
            f"One request, or a list of at most {limits.list_length:,} (with `explain=true` "
            f"{limits.explained_length}), in a body of at most {limits.body_bytes:,} bytes. "
            f"It may be compressed (`Content-Encoding: {'` or `'.join(CONTENT_CODINGS)}`)."
        ),
        response_description="Minutes",
        responses={
            200: {"headers": identified},
            422: {"model": WrongFields, "description": "Wrong fields"},
            **{
                status: {"model": Detail, "description": description}
                for status, description in refusals.items()
            },
        },
    )
    async def predict(
        # How long a list may be is not in its schema: too long a one is a 413, not a 422.
        body: Annotated[Request | list[Request], Body(openapi_examples=EXAMPLES)],
        explain: Annotated[
            bool, Query(description="Also tell what each field contributed")
        ] = False,
        x_request_id: Annotated[
            str,
            Header(
                alias="X-Request-ID",
                description="An id of your own, 1 to 64 of A-Z a-z 0-9 . _ -; else one is made",
            ),
        ] = "",
    ) -> PredictionOfOne | Predictions:
        raise AssertionError(f"PredictionService answers POST {PREDICT} before it is routed")

    return router


def add_access(document: dict[str, Any], *, with_token: bool) -> None:
    """Add the 401 of every path that is not open, and the token.

    Args:
        document: FastAPI's; changed in place.
        with_token: Whether clients must send one.
    """
    refusal = {
        "description": "No token or a wrong one; where none is set, not from this machine",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Detail"}}},
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
