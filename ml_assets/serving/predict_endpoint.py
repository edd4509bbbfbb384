"""``POST /predict``: one request or a list of them in, minutes out.

An ASGI endpoint of its own, without parameters that a framework would resolve and validate: one
request is answered in the event loop, in well under a millisecond. Lists and explanations take a
thread, so that they keep no single request waiting.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import orjson
from starlette.types import Receive, Scope, Send

from ml_assets.pipeline.predict import Answers
from ml_assets.requests.fields import MAX_QUOTED_NAME, quoted_name, unknown_field
from ml_assets.requests.parse import Refused, Request, read_request, request_columns
from ml_assets.requests.validate import REQUIRED_FIELDS
from ml_assets.serving.bundle import ServedModel
from ml_assets.serving.micro_batching import MicroBatcher
from ml_assets.serving.request_body import (
    CONTENT_CODINGS,
    BodyTooLarge,
    BodyTooSlow,
    ClientGone,
    DamagedBody,
    UnsupportedCoding,
    content_coding,
    decompress,
    read_body,
)
from ml_assets.serving.request_log.writer import Answered
from ml_assets.serving.responses import (
    Reply,
    answer_list,
    error_reply,
    explanation_of,
    field_error,
    reply_to_one,
    request_id_of,
    send_reply,
    validation_error,
)
from ml_assets.serving.state import Service

_LOGGER = logging.getLogger(__name__)
_TRUTHS: Final = {"true": True, "false": False}
_NO_OBJECT: Final = f"must be an object with {', '.join(REQUIRED_FIELDS)}"


class WrongQuery(ValueError):
    """A query parameter has a value that is not allowed."""


class PredictEndpoint:
    """The route.

    Args:
        service: What it shares with the others.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._gathering = MicroBatcher(lambda: service.models.model)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        request_id = request_id_of(scope)
        try:
            reply = await self._reply(scope, receive, request_id)
        except ClientGone:
            self._service.metrics.client_gone()
            return
        except Exception:
            _LOGGER.exception("request %s could not be answered", request_id)
            reply = error_reply(500, "the service failed; its log tells why, under this request id")
        self._service.metrics.answered(reply.status)
        await send_reply(send, reply, request_id)

    async def _reply(self, scope: Scope, receive: Receive, request_id: str) -> Reply:
        limits = self._service.limits
        try:
            explain = _wants_explanation(scope["query_string"])
            raw = await read_body(scope, receive, limits)
            coding = content_coding(scope)
        except WrongQuery as error:
            return validation_error([field_error(("query", "explain"), str(error))], 1)
        except BodyTooLarge:
            return self._too_large(close=True)
        except UnsupportedCoding as error:
            return _unsupported(str(error))
        except BodyTooSlow:
            text = f"the body did not arrive within {limits.body_seconds:g} seconds"
            return error_reply(408, text, close=True)
        served = self._service.models.model
        if served is None:
            return error_reply(503, self._service.why_no_model)
        call = _Call(request_id, served, time.perf_counter(), explain)
        if len(raw) <= limits.inline_bytes and not explain and coding is None:
            answer = self._answer(raw, coding, call)
        elif self._waiting >= limits.waiting:
            return error_reply(503, "too many lists are waiting for their turn: try again later")
        else:
            self._waiting += 1
            try:
                answer = await asyncio.get_running_loop().run_in_executor(
                    self._service.threads, self._answer, raw, coding, call
                )
            finally:
                self._waiting -= 1
        return answer if isinstance(answer, Reply) else await self._predict_one(answer, call)

    def _answer(self, raw: bytes, coding: str | None, call: "_Call") -> Reply | Request:
        """Answer in this thread, whichever it is.

        Returns:
            The reply, or the one request without an explanation, which is predicted together with
            others that are waiting.
        """
        if coding is not None:
            try:
                raw = decompress(raw, coding, self._service.limits.body_bytes)
            except BodyTooLarge:
                return self._too_large()
            except DamagedBody as error:
                return validation_error([field_error(("body",), str(error), "content_encoding")], 1)
        request = self._parsed(raw)
        if isinstance(request, list):
            return self._many(request, call)
        if isinstance(request, Reply) or not call.explain:
            return request
        columns = request_columns([request])
        answers = call.served.model.minutes(columns)
        more = {"explanation": explanation_of(call.served.model, columns)}
        self._keep(call, call.served, [request], answers, is_list=False)
        return reply_to_one(answers, call.served.model.version, call.request_id, more)

    async def _predict_one(self, request: Request, call: "_Call") -> Reply:
        served, answers = await self._gathering.ask(request)
        self._keep(call, served, [request], answers, is_list=False)
        return reply_to_one(answers, served.model.version, call.request_id)

    def _too_large(self, *, close: bool = False) -> Reply:
        limit = self._service.limits.body_bytes
        text = f"a body may have {limit:,} bytes (decompressed): send fewer requests at a time"
        return error_reply(413, text, close=close)

    def _parsed(self, raw: bytes) -> list[Any] | Request | Reply:
        """The list or the request that a body holds, or what is wrong with it."""
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            return validation_error(
                [field_error(("body",), f"the body is no JSON: {error}", "json_invalid")], 1
            )
        if isinstance(body, list):
            return body
        if not isinstance(body, dict):
            return validation_error(
                [field_error(("body",), f"the body {_NO_OBJECT}, or a list of such")], 1
            )
        request = read_request(body)
        if isinstance(request, Refused):
            limit = self._service.limits.problems
            return validation_error(_problems(request, ("body",), limit), limit, request.count)
        return request

    def _many(self, body: list[Any], call: "_Call") -> Reply:
        limits = self._service.limits
        limit = limits.explained_length if call.explain else limits.list_length
        if len(body) > limit:
            of = "that is to be explained may have" if call.explain else "may have"
            return error_reply(
                413, f"a list {of} {limit:,} requests, and this one has {len(body):,}"
            )
        now = datetime.now(UTC)
        read = [read_request(fields, now) for fields in body]
        requests = [request for request in read if isinstance(request, Request)]
        if len(requests) < len(body):
            problems, count = _problems_of_list(body, read, limits.problems)
            return validation_error(problems, limits.problems, count)
        reply, answers = answer_list(
            call.served.model, requests, call.request_id, explain=call.explain
        )
        self._keep(call, call.served, requests, answers, is_list=True)
        return reply

    def _keep(
        self,
        call: "_Call",
        served: ServedModel,
        requests: Sequence[Request],
        answers: Answers,
        *,
        is_list: bool,
    ) -> None:
        """Count and log what was answered."""
        seconds = time.perf_counter() - call.begun
        self._service.metrics.predicted(len(requests), seconds, is_list=is_list)
        if self._service.log is not None and requests:
            self._service.log.add(
                Answered(
                    call.request_id,
                    datetime.now(UTC),
                    served.model.version,
                    1000 * seconds,
                    requests,
                    answers.minutes,
                    answers.lower,
                    answers.upper,
                )
            )


class _Call(NamedTuple):
    """One HTTP request, once its body is there.

    Attributes:
        request_id: Goes into the answer.
        served: The version in use; a list stays with it.
        begun: When the body was there, by ``time.perf_counter``.
        explain: Whether contributions are wanted.
    """

    request_id: str
    served: ServedModel
    begun: float
    explain: bool


def _unsupported(coding: str) -> Reply:
    text = (
        f"Content-Encoding {coding} is not supported: send {' or '.join(CONTENT_CODINGS)}, or none"
    )
    accepted = (b"accept-encoding", ", ".join(CONTENT_CODINGS).encode("ascii"))
    return replace(error_reply(415, text), headers=(accepted,))


def _wants_explanation(query: bytes) -> bool:
    """Whether ``?explain=`` says so."""
    if not query:
        return False
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    given = values.get("explain")
    for name in values:
        if name != "explain" and name.lower().startswith("expl"):
            raise WrongQuery(f"{quoted_name(name)} is not a parameter: did you mean explain?")
    if given is None:
        return False
    if len(given) > 1 or given[0] not in _TRUTHS:
        raise WrongQuery(f"explain must be true or false, not {given[0][:40]}")
    return _TRUTHS[given[0]]


def _problems(refused: Refused, loc: tuple[str | int, ...], limit: int) -> list[dict[str, Any]]:
    """Entries of a 422, at most so many: a body has room for 100,000 unknown names."""
    found = [field_error((*loc, fault.field), fault.message) for fault in refused.problems[:limit]]
    found += [
        field_error((*loc, name[:MAX_QUOTED_NAME]), unknown_field(name), "extra_forbidden")
        for name in refused.unknown[: limit - len(found)]
    ]
    return found


def _problems_of_list(
    body: list[Any], read: Sequence[Request | Refused], limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Entries of a 422, at most so many, and how many faults there are."""
    found: list[dict[str, Any]] = []
    count = 0
    for at, (fields, request) in enumerate(zip(body, read, strict=True)):
        if isinstance(request, Request):
            continue
        is_object = isinstance(fields, dict)
        count += request.count if is_object else 1
        if len(found) >= limit:
            continue
        if is_object:
            found += _problems(request, ("body", at), limit - len(found))
        else:
            found.append(field_error(("body", at), f"an entry of the list {_NO_OBJECT}"))
    return found, count
