"""The OpenAPI document: the schema of ``POST /predict`` and access control.

FastAPI generates the document from the declared routes. Requests have a hand-written schema, since
no pydantic model parses them; every request that is valid by the schema is accepted.
"""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Header, Query
from fastapi.openapi.models import Example
from pydantic import BaseModel, ConfigDict

from ml_assets.requests.fields import PUBLISHED_NAMES
from ml_assets.requests.parse import MAX_STATED_MILES, MIN_STATED_MILES
from ml_assets.requests.validate import (
    EARLIEST_PICKUP,
    MAX_MILES,
    MIN_MILES,
    REQUIRED_FIELDS,
    RULES,
    WHOLE_NUMBERS,
)
from ml_assets.serving.auth import is_public
from ml_assets.serving.request_body import CONTENT_CODINGS, Limits
from ml_assets.serving.responses import PredictionList, SinglePrediction, ValidationErrors
from ml_assets.serving.routes import Detail

PREDICT: Final = "/predict"
ONE: Final = {"PULocationID": 236, "DOLocationID": "239"}
FULL: Final = {
    "PULocationID": 74,
    "DOLocationID": 75,
    "trip_distance": 2.5,
    "pickup_datetime": "2024-05-06T17:30",
    "passenger_count": 1,
}
EXAMPLES: Final = {
    "one": Example(summary="The two zones: their usual distance, pick-up now", value=ONE),
    "full": Example(summary="All fields", value=FULL),
    "list": Example(summary="A list", value=[ONE, FULL]),
}
INTRODUCTION: Final = (
    "Duration of New York taxi trips. `POST /predict` returns the prediction of the registry's "
    "champion: minutes, an interval, and the model version."
)
_MILES_TEXT = rf"^({MAX_MILES:.0f}(\.0{{1,9}})?|[0-9]{{1,3}}(\.[0-9]{{1,9}})?)$"


def _describe_request(schema: dict[str, Any]) -> None:
    schema.clear()
    schema.update(request_schema(datetime.now()))


class Request(BaseModel):
    """A request as :func:`request_schema` describes it; ``requests.parse`` reads it."""

    model_config = ConfigDict(json_schema_extra=_describe_request)


def predict_route(limits: Limits) -> APIRouter:
    """Declare ``POST /predict`` for the document; ``PredictEndpoint`` handles it."""
    router = APIRouter(tags=["predict"])
    errors = {
        408: "The body did not arrive in time",
        413: "The body or the list is too long",
        415: "Unsupported content coding",
        503: "No model is loaded, or too many lists are waiting",
    }
    headers = {"X-Request-ID": {"description": "As in the body", "schema": {"type": "string"}}}

    @router.post(
        PREDICT,
        operation_id="predict",
        summary="Predict trip durations",
        description=(
            f"One request, or a list of at most {limits.list_length:,} (with `explain=true` "
            f"{limits.explained_length}), in a body of at most {limits.body_bytes:,} bytes. "
            f"It may be compressed (`Content-Encoding: {'` or `'.join(CONTENT_CODINGS)}`)."
        ),
        response_description="Predicted minutes",
        responses={
            200: {"headers": headers},
            422: {"model": ValidationErrors, "description": "Invalid fields"},
            **{
                status: {"model": Detail, "description": description}
                for status, description in errors.items()
            },
        },
    )
    async def predict(
        # The schema does not limit a list's length: a longer list is a 413, not a 422.
        body: Annotated[Request | list[Request], Body(openapi_examples=EXAMPLES)],
        explain: Annotated[
            bool, Query(description="Also return each field's contribution")
        ] = False,
        x_request_id: Annotated[
            str,
            Header(
                alias="X-Request-ID",
                description="Id of the request, 1 to 64 of A-Z a-z 0-9 . _ -; by default a new one",
            ),
        ] = "",
    ) -> SinglePrediction | PredictionList:
        raise AssertionError(f"PredictionService handles POST {PREDICT} before routing")

    return router


def add_access(document: dict[str, Any], *, with_token: bool) -> None:
    """Add the 401 response of each path that is not public, and the token."""
    unauthorized = {
        "description": "Missing or wrong token; without a token, a client on another machine",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Detail"}}},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if not is_public(path):
                responses = {**operation["responses"], "401": unauthorized}
                operation["responses"] = dict(sorted(responses.items()))
                if with_token:
                    operation["security"] = [{"token": []}]
    if with_token:
        bearer = {"type": "http", "scheme": "bearer", "description": "ML_ASSETS_API_TOKEN"}
        document["components"]["securitySchemes"] = {"token": bearer}


def request_schema(now: datetime) -> dict[str, Any]:
    """Return the JSON Schema of a request.

    Args:
        now: Current time; pick-ups until the end of its year match the schema.
    """
    missing = {"type": "string", "const": ""}
    null = {"type": "null"}
    optional = {
        "trip_distance": f"less than {MIN_STATED_MILES:g} or more than {MAX_STATED_MILES:g} "
        "miles count as left out",
        "pickup_datetime": "may be left out",
        "passenger_count": "may be left out",
    }
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
            "Field names are case-insensitive, and "
            f"{' or '.join(f'`{name}`' for name in PUBLISHED_NAMES)} are accepted for "
            "`pickup_datetime`, as in published trip files. A field under two names is a 422, and "
            "so is an unknown name; the error suggests the nearest field."
        ),
        "required": list(REQUIRED_FIELDS),
        "properties": {
            field: {
                "description": f"{rule[0].upper()}{rule[1:]}"
                + (f"; {optional[field]}" if field in optional else ""),
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
    """Return a pattern of times that are valid with any offset; in the first year without one."""
    first = EARLIEST_PICKUP.year
    years = "|".join(str(year) for year in range(first + 1, last_year + 1))
    time = (
        "-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]"
        r"(:[0-5][0-9](\.[0-9]{1,6})?)?"
    )
    offset = "(Z|[+-](0[0-9]|1[01]):[0-5][0-9])?"
    return f"^({first}{time}|({years}){time}{offset})$"
