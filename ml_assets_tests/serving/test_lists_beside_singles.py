"""Lists give way to single requests, take turns, and end when their client is gone."""

import asyncio
import json
import threading
import time
from dataclasses import replace

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ml_assets.serving import list_prediction, list_thread
from ml_assets.serving.app import create_app
from ml_assets.serving.list_prediction import MODEL_ROWS, load_json
from ml_assets.serving.list_thread import ListThread, run_at_once
from ml_assets_tests.serving.fixed_model import FixedModel
from ml_assets_tests.serving.service_process import GOOD

SECONDS = 60
"""Time limit of what takes milliseconds, on a busy machine."""


@pytest.fixture
def lists():
    thread = ListThread()
    yield thread
    thread.shutdown()


class ListsWait:
    """A pipeline's model that predicts many requests only after an event."""

    def __init__(self, model):
        self._model = model
        self.version, self.pipeline = model.version, model.pipeline
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.calls = 0

    def predict(self, columns):
        if len(columns["PULocationID"]) > 1:
            self.calls += 1
            self.begun.set()
            assert self.go_on.wait(SECONDS)
        return self._model.predict(columns)


async def post(app, content, disconnected=None):
    """Send a request to the application, and return the messages of its response."""
    body, sent = json.dumps(content).encode(), []
    received = iter([{"type": "http.request", "body": body}])

    async def receive():
        message = next(received, None)
        if message is None:
            await (disconnected or asyncio.Event()).wait()
            return {"type": "http.disconnect"}
        return message

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"",
             "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1),
             "scheme": "http", "server": ("127.0.0.1", 80)}  # fmt: skip
    await app(scope, receive, send)
    return sent


def waiting_app(served):
    model = ListsWait(served.model)
    return create_app(FixedModel(replace(served, model=model))), model


def test_a_single_request_is_answered_while_a_list_is_in_work(served):
    app, model = waiting_app(served)

    async def both():
        long = asyncio.create_task(post(app, [GOOD] * 10_000))
        assert await asyncio.to_thread(model.begun.wait, SECONDS)
        single = await post(app, GOOD)
        answered_first = not long.done()
        model.go_on.set()
        return single, answered_first, await long

    single, answered_first, long = asyncio.run(both())
    assert answered_first
    assert (single[0]["status"], long[0]["status"]) == (200, 200)
    predictions = json.loads(long[1]["body"])["predictions"]
    assert len(predictions) == 10_000
    expected = json.loads(single[1]["body"])
    del expected["request_id"]
    assert all(each == expected for each in predictions)
    assert model.calls == 10_000 // MODEL_ROWS


def test_the_work_of_a_list_ends_with_the_connection(served):
    app, model = waiting_app(served)

    async def disconnect():
        disconnected = asyncio.Event()
        long = asyncio.create_task(post(app, [GOOD] * 10_000, disconnected))
        assert await asyncio.to_thread(model.begun.wait, SECONDS)
        disconnected.set()
        sent = await long
        model.go_on.set()
        return sent

    assert asyncio.run(disconnect()) == []
    service = app.state.service
    service.lists.shutdown()
    assert model.calls == 1
    assert b"ml_assets_client_disconnects_total 1.0" in service.metrics.text()
    assert b"ml_assets_predictions_total 0.0" in service.metrics.text()


def test_no_step_begins_while_a_single_request_is_in_progress(lists, monkeypatch):
    monkeypatch.setattr(list_thread, "MAX_PAUSE_SECONDS", SECONDS)
    done = []

    def work():
        done.append("list")
        yield

    async def both():
        with lists.singles:
            future = lists.submit(work())
            await asyncio.sleep(0.1)
            done.append("single")
        await future

    asyncio.run(both())
    assert done == ["single", "list"]


def test_lists_go_on_when_there_are_always_single_requests(lists):
    def work():
        for _ in range(3):
            yield
        return "done"

    async def both():
        with lists.singles:
            return await asyncio.wait_for(lists.submit(work()), SECONDS)

    assert asyncio.run(both()) == "done"


def test_short_work_does_not_wait_for_the_end_of_long_work(lists):
    ended = []
    queued = threading.Event()

    def work(name, steps):
        assert queued.wait(SECONDS)
        for _ in range(steps):
            time.sleep(list_thread.TURN_SECONDS)
            yield
        ended.append(name)

    async def both():
        futures = [lists.submit(work("long", 10)), lists.submit(work("short", 2))]
        queued.set()
        await asyncio.gather(*futures)

    asyncio.run(both())
    assert ended == ["short", "long"]


def test_an_error_is_raised_where_the_result_is_awaited_and_other_work_goes_on(lists):
    def broken():
        yield
        raise RuntimeError("broken")

    def works():
        yield
        return 3

    async def both():
        return await asyncio.gather(
            lists.submit(broken()), lists.submit(works()), return_exceptions=True
        )

    error, result = asyncio.run(both())
    assert str(error) == "broken"
    assert result == 3


def test_queued_work_is_finished_at_the_end():
    lists, done = ListThread(), []

    def work():
        yield
        done.append(1)

    async def submit():
        return [lists.submit(work()) for _ in range(3)]

    async def end():
        await submit()
        lists.shutdown()

    asyncio.run(end())
    assert done == [1, 1, 1]


TEXTS = st.text(st.sampled_from('},{["]\\ a'), max_size=12)
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NEARLY_JSON = st.text(st.sampled_from('[]{},:"\\ \f1'), max_size=40)


@given(
    st.lists(st.dictionaries(TEXTS, VALUES, max_size=3)).map(json.dumps)
    | VALUES.map(json.dumps)
    | NEARLY_JSON.map(lambda content: f"[{{{content}}},{{}}]")
)
@example('\f[{"a": 1}, {"b": 2}]')
@example('[{"a": 1}\f,{"b": 2}]')
@example('[{"a": [{}, {}]}, {"},{": "},{"}]')
@example("[{}, {}, {]")
def test_json_in_parts_is_what_it_is_at_once(text):
    raw = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_prediction, "JSON_BYTES", 5)
        try:
            expected = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            with pytest.raises(orjson.JSONDecodeError) as found:
                run_at_once(load_json(raw))
            assert str(found.value) == str(error)
        else:
            assert run_at_once(load_json(raw)) == expected


def test_a_long_body_is_parsed_in_parts():
    raw = json.dumps([GOOD] * 10_000).encode()
    steps = sum(1 for _ in load_json(raw))
    assert steps == pytest.approx(len(raw) / list_prediction.JSON_BYTES, abs=1)
