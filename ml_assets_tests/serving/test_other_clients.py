"""Other HTTP features and servers' formats: HEAD, OPTIONS, compression, wrapped requests."""

import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.serving.app import create_app
from ml_assets.serving.request_body import BodyTooLarge, DamagedBody, Limits, decompress
from ml_assets_tests.serving.conftest import client_for
from ml_assets_tests.serving.fixed_model import FixedModel
from ml_assets_tests.serving.service_process import GOOD

LIMITS = Limits(body_bytes=100_000)
READ = ("/", "/health", "/ready", "/metrics", "/model", "/zones", "/docs", "/openapi.json")
PAGE_FILES = (
    "/page/page.js",
    "/docs/swagger-ui.css",
    "/typical-distance?PULocationID=1&DOLocationID=2",
)
BODY = json.dumps(GOOD).encode()
RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
CODED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY),
    "GZip": gzip.compress(BODY[:30]) + gzip.compress(BODY[30:]),
    "deflate": zlib.compress(BODY),
    "Deflate": RAW_DEFLATE.compress(BODY) + RAW_DEFLATE.flush(),
    "identity": BODY,
    "": BODY,
}
WRAPPED = {
    "inputs": [GOOD],
    "dataframe_records": [GOOD],
    "dataframe_split": {"columns": [*GOOD], "data": [[*GOOD.values()]]},
    "instances": [GOOD],
    "ride": GOOD,
    "data": {"ndarray": [[236, 239, 1.98]]},
    "requests": [],
    "x" * 200: {},
}


@pytest.fixture(scope="module")
def client(served):
    with client_for(create_app(FixedModel(served), limits=LIMITS)) as client:
        yield client


@pytest.mark.parametrize("path", [*READ, *PAGE_FILES])
def test_head_is_get_without_the_body(client, path):
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"") == (200, b"")
    assert whole.content
    assert head.headers["content-type"] == whole.headers["content-type"]
    if path != "/metrics":
        assert head.headers["content-length"] == str(len(whole.content))


@pytest.mark.parametrize("path", [*READ, *PAGE_FILES, "/predict"])
def test_options_and_wrong_methods_get_the_allowed_methods(client, path):
    allowed = "OPTIONS, POST" if path == "/predict" else "GET, HEAD, OPTIONS"
    responses = client.options(path), client.delete(path)
    assert [response.status_code for response in responses] == [204, 405]
    assert {response.headers["allow"] for response in responses} == {allowed}
    assert responses[0].content == b""


def test_head_and_options_need_access(client):
    assert client.head("/predict").status_code == 405
    assert client.options("/nothing").status_code == client.head("/nothing").status_code == 404
    for method in ("HEAD", "OPTIONS"):
        assert client.request(method, "/model", headers={"Host": "evil.example"}).status_code == 401


def test_head_has_the_status_of_get_without_a_champion():
    with client_for(create_app(FixedModel(None))) as client:
        assert client.head("/ready").status_code == client.head("/model").status_code == 503


@pytest.mark.parametrize("coding", CODED)
def test_a_compressed_body_is_the_same_request(client, coding):
    headers = {"Content-Encoding": coding}
    response = client.post("/predict", content=CODED[coding], headers=headers)
    assert response.status_code == 200, response.text
    expected = client.post("/predict", content=BODY).json()
    assert response.json()["predicted_minutes"] == expected["predicted_minutes"]


def test_a_compressed_list_is_a_list(client):
    content = gzip.compress(json.dumps([GOOD] * 500).encode())
    response = client.post("/predict", content=content, headers={"Content-Encoding": "gzip"})
    assert len(response.json()["predictions"]) == 500


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip, br", "x" * 100])
def test_an_unsupported_coding_is_a_415_that_names_it(client, coding):
    response = client.post("/predict", content=BODY, headers={"Content-Encoding": coding})
    assert response.status_code == 415
    assert coding[:60] in response.json()["detail"]
    assert response.headers["accept-encoding"] == "gzip, deflate"
    assert 'requests_total{status="415"}' in client.get("/metrics").text


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "spoil",
    [lambda sent: BODY, lambda sent: b"", lambda sent: sent[:-9], lambda sent: sent + b"rest",
     lambda sent: sent[:15] + b"\xff" + sent[16:]],
)  # fmt: skip
def test_a_damaged_compressed_body_is_a_422(client, coding, spoil):
    content = spoil(CODED[coding])
    response = client.post("/predict", content=content, headers={"Content-Encoding": coding})
    assert response.status_code == 422, response.text
    assert response.json()["detail"][0]["loc"] == ["body"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_decompression_bomb_is_a_413_and_takes_little_memory(client, coding):
    zeros = bytes(90 * 2**20)
    bomb = gzip.compress(zeros) if coding == "gzip" else zlib.compress(zeros)
    del zeros
    assert len(bomb) <= LIMITS.body_bytes
    tracemalloc.start()
    response = client.post("/predict", content=bomb, headers={"Content-Encoding": coding})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert response.status_code == 413
    assert peak < 5 * 2**20


def test_a_body_at_the_limit_is_decompressed_and_a_longer_one_rejected():
    assert decompress(gzip.compress(b"a" * 1000), "gzip", 1000) == b"a" * 1000
    halves = gzip.compress(b"a" * 500) * 2
    assert decompress(halves, "gzip", 1000) == b"a" * 1000
    for content in (gzip.compress(b"a" * 1001), halves + gzip.compress(b"a")):
        with pytest.raises(BodyTooLarge):
            decompress(content, "gzip", 1000)
    with pytest.raises(DamagedBody):
        decompress(gzip.compress(b"") * 100_000, "gzip", 1000)


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]), st.binary(max_size=5))
def test_any_bytes_are_decompressed_or_rejected(content, coding, rest):
    for sent in (content, gzip.compress(content) + rest, zlib.compress(content) + rest):
        try:
            assert len(decompress(sent, coding, 100)) <= 100
        except (BodyTooLarge, DamagedBody):
            continue


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("in_list", [False, True])
def test_a_wrapped_request_is_an_error_that_shows_the_right_form(client, name, in_list):
    body = {"signature_name": "serving_default", name: WRAPPED[name]}
    response = client.post("/predict", json=[GOOD, body] if in_list else body)
    assert response.status_code == 422
    assert response.json()["error_count"] == 1
    (found,) = response.json()["detail"]
    assert found["loc"] == ["body", *([1] if in_list else []), name[:60]]
    assert 'send the request itself, as {"PULocationID": 236' in found["msg"]
    assert len(found["msg"]) < 300


def test_a_field_beside_the_wrapper_is_validated_as_a_request(client):
    response = client.post("/predict", json={**GOOD, "ride": GOOD})
    assert [found["loc"] for found in response.json()["detail"]] == [["body", "ride"]]
