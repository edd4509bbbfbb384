"""``POST /predict``: predicts one request or a list.

An ASGI endpoint without a framework's routing and validation: a single request takes well under a
millisecond in the event loop. Lists and explanations run in ``serving.list_thread``.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qs

import orjson
from starlette.types import Receive, Scope, Send

from ml_assets.pipeline.predict import Predictions
from ml_assets.requests.fields import quoted_name
from ml_assets.requests.parse import (
    Columns,
    InvalidRequest,
    Request,
    parse_request,
    request_columns,
)
from ml_assets.serving.bundle import ServedModel
from ml_assets.serving.list_prediction import load_json, parse_list, predict_list
from ml_assets.serving.list_thread import Steps, run_at_once
from ml_assets.serving.request_body import (
    CONTENT_CODINGS,
    BodyTooLarge,
    BodyTooSlow,
    ClientDisconnected,
    DamagedBody,
    UnsupportedCoding,
    content_coding,
    decompress,
    read_body,
)
from ml_assets.serving.request_log.writer import LoggedRequest
from ml_assets.serving.responses import (
    NOT_AN_OBJECT,
    Reply,
    error_reply,
    explanation_json,
    field_error,
    get_request_id,
    list_reply,
    request_errors,
    send_reply,
    single_reply,
    validation_error_reply,
)
from ml_assets.serving.state import Service

Result = TypeVar("Result")
_LOGGER = logging.getLogger(__name__)
_BOOLEANS: Final = {"true": True, "false": False}


class InvalidQuery(ValueError):
    """A query parameter has an invalid name or value."""


class MicroBatcher:
    """Predicts the single requests of one turn of the event loop in one call of the model.

    NumPy's and XGBoost's calls take as long for one row as for ten. Under load many requests wait
    in the same turn of the event loop; a request that is alone does not wait for others.

    Args:
        model: Returns the version in use; called once per batch.
    """

    def __init__(self, model: Callable[[], ServedModel | None]) -> None:
        self._model = model
        self._waiting: list[tuple[Request, asyncio.Future[tuple[ServedModel, Predictions]]]] = []

    async def predict(self, request: Request) -> tuple[ServedModel, Predictions]:
        """Predict a valid request.

        Returns:
            The version that was used, and its prediction of this request.

        Raises:
            Exception: any error of the model, for each request of the batch.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[ServedModel, Predictions]] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._predict_batch)
        self._waiting.append((request, future))
        return await future

    def _predict_batch(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            served = self._model()
            if served is None:
                raise LookupError("the model was unloaded before the prediction")
            batch = served.model.predict(request_columns([request for request, _ in waiting]))
        except Exception as error:  # noqa: BLE001 - raised where each future is awaited
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for row, (_, future) in enumerate(waiting):
            if not future.done():
                future.set_result((served, batch.of(row)))


class PredictEndpoint:
    """The ASGI endpoint of ``POST /predict``."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._batcher = MicroBatcher(lambda: service.models.model)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        request_id = get_request_id(scope)
        try:
            reply = await self._reply(scope, receive, request_id)
        except ClientDisconnected:
            self._service.metrics.count_disconnect()
            return
        except Exception:
            _LOGGER.exception("request %s failed", request_id)
            reply = error_reply(500, "internal error: see the service's log for this request id")
        self._service.metrics.count_response(reply.status)
        await send_reply(send, reply, request_id)

    async def _reply(self, scope: Scope, receive: Receive, request_id: str) -> Reply:
        limits = self._service.limits
        try:
            explain = _wants_explanation(scope["query_string"])
            raw = await read_body(scope, receive, limits)
            coding = content_coding(scope)
        except InvalidQuery as error:
            return validation_error_reply([field_error(("query", "explain"), str(error))])
        except BodyTooLarge:
            return self._too_large(close=True)
        except UnsupportedCoding as error:
            return _unsupported(str(error))
        except BodyTooSlow:
            text = f"the body did not arrive within {limits.body_seconds:g} seconds"
            return error_reply(408, text, close=True)
        served = self._service.models.model
        if served is None:
            return error_reply(503, self._service.unavailable_reason)
        call = _Call(request_id, served, time.perf_counter(), explain)
        lists = self._service.lists
        if len(raw) <= limits.inline_bytes and not explain and coding is None:
            with lists.singles:
                result = run_at_once(self._process(raw, coding, call))
                return result if isinstance(result, Reply) else await self._predict(result, call)
        if self._waiting >= limits.waiting:
            return error_reply(503, "too many lists are waiting for their turn: try again later")
        self._waiting += 1
        try:
            work = lists.submit(self._process(raw, coding, call))
            result = await _unless_disconnected(work, receive)
        finally:
            self._waiting -= 1
        return result if isinstance(result, Reply) else await self._predict(result, call)

    def _process(self, raw: bytes, coding: str | None, call: "_Call") -> Steps[Reply | Request]:
        """Process a body, in steps.

        Returns:
            The response; or a single request without an explanation, which is to be predicted in
            a batch.
        """
        if coding is not None:
            try:
                raw = decompress(raw, coding, self._service.limits.body_bytes)
            except BodyTooLarge:
                return self._too_large()
            except DamagedBody as error:
                return validation_error_reply(
                    [field_error(("body",), str(error), "content_encoding")]
                )
            yield
        request = yield from self._parse(raw)
        if isinstance(request, list):
            return (yield from self._predict_list(request, call))
        if isinstance(request, Reply) or not call.explain:
            return request
        yield
        columns = request_columns([request])
        predictions = call.served.model.predict(columns)
        more = {"explanation": explanation_json(call.served.model, columns)}
        self._record(call, call.served, [request], predictions, is_list=False)
        return single_reply(predictions, call.served.model.version, call.request_id, more)

    async def _predict(self, request: Request, call: "_Call") -> Reply:
        served, predictions = await self._batcher.predict(request)
        self._record(call, served, [request], predictions, is_list=False)
        return single_reply(predictions, served.model.version, call.request_id)

    def _too_large(self, *, close: bool = False) -> Reply:
        limit = self._service.limits.body_bytes
        text = f"a body may have {limit:,} bytes (decompressed): send fewer requests at a time"
        return error_reply(413, text, close=close)

    def _parse(self, raw: bytes) -> Steps[list[Any] | Request | Reply]:
        """Return the list or the request in a body, or the error response."""
        try:
            body = yield from load_json(raw)
        except orjson.JSONDecodeError as error:
            message = f"the body is not JSON: {error}"
            return validation_error_reply([field_error(("body",), message, "json_invalid")])
        if isinstance(body, list):
            return body
        if not isinstance(body, dict):
            message = f"the body {NOT_AN_OBJECT}, or a list of such"
            return validation_error_reply([field_error(("body",), message)])
        request = parse_request(body)
        if isinstance(request, InvalidRequest):
            errors = request_errors(request, ("body",), self._service.limits.errors)
            return validation_error_reply(errors, request.count)
        return request

    def _predict_list(self, body: list[Any], call: "_Call") -> Steps[Reply]:
        limits, model = self._service.limits, call.served.model
        limit = limits.explained_length if call.explain else limits.list_length
        if len(body) > limit:
            kind = "a list with explanations" if call.explain else "a list"
            return error_reply(413, f"{kind} may have {limit:,} requests, not {len(body):,}")
        columns = yield from parse_list(body, limits.errors)
        if isinstance(columns, Reply):
            return columns
        predicted = yield from predict_list(model, columns, explain=call.explain)
        self._record(call, call.served, predicted.columns, predicted.predictions, is_list=True)
        return list_reply(predicted.json, model.version, call.request_id)

    def _record(
        self,
        call: "_Call",
        served: ServedModel,
        requests: Sequence[Request] | Columns,
        predictions: Predictions,
        *,
        is_list: bool,
    ) -> None:
        """Count and log predictions."""
        seconds = time.perf_counter() - call.begun
        self._service.metrics.count_predictions(predictions.stated, seconds, is_list=is_list)
        if self._service.log is not None and len(predictions.minutes):
            self._service.log.add(
                LoggedRequest(
                    call.request_id,
                    datetime.now(UTC),
                    served.model.version,
                    1000 * seconds,
                    requests,
                    predictions,
                )
            )


class _Call(NamedTuple):
    """An HTTP request whose body has been read.

    Attributes:
        served: Version in use when the body was read; a list is predicted with it.
        begun: Time when the body was read, by ``time.perf_counter``.
    """

    request_id: str
    served: ServedModel
    begun: float
    explain: bool


async def _unless_disconnected(work: "asyncio.Future[Result]", receive: Receive) -> Result:
    """Return the result of work, which is cancelled when the connection is closed or reset.

    Raises:
        ClientDisconnected: when that happens before.
    """
    gone = asyncio.create_task(_wait_for_disconnect(receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnected
        return work.result()
    finally:
        work.cancel()
        gone.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _unsupported(coding: str) -> Reply:
    text = (
        f"Content-Encoding {coding} is not supported: send {' or '.join(CONTENT_CODINGS)}, or none"
    )
    accepted = (b"accept-encoding", ", ".join(CONTENT_CODINGS).encode("ascii"))
    return replace(error_reply(415, text), headers=(accepted,))


def _wants_explanation(query: bytes) -> bool:
    """Return the value of the query parameter ``explain``."""
    if not query:
        return False
    parameters = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    for name in parameters:
        if name != "explain" and name.lower().startswith("expl"):
            raise InvalidQuery(f"{quoted_name(name)} is not a parameter: did you mean explain?")
    values = parameters.get("explain")
    if values is None:
        return False
    if len(values) > 1 or values[0] not in _BOOLEANS:
        raise InvalidQuery(f"explain must be true or false, not {values[0][:40]}")
    return _BOOLEANS[values[0]]
