"""Unusual bodies are predicted correctly, or rejected with an error message.

Requests generated from the OpenAPI document get only documented responses, and no 500.
"""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from ml_assets_tests.serving.service_process import GOOD, running_service
from ml_assets_tests.serving.two_versions import served_home

FIELDS = ("PULocationID", "DOLocationID", "trip_distance", "pickup_datetime", "passenger_count")
REQUIRED = FIELDS[:2]
WILD = [
    "NaN", "Infinity", "-Infinity", "1e308", "-1e308", "1e999", "-1", "-0.5", "1e-400", '"NaN"',
    '"inf"', '"abc"', '"💥"', r'"\ud83d"', r'"\u0000"', '"' + "9" * 5000 + '"', "9" * 5000,
    "[]", "[1]", "[[1]]", "{}", '{"a": {"b": []}}', "true", '"1970-01-01T00:00"', '"2100-01-01"',
    '"0000-00-00"', '"9999-12-31T23:59:59+14:00"', '"2024-02-30T10:00"', '"2024-05-06T25:00"',
    "266", "0.5", "9007199254740993", "1e18",
]  # fmt: skip
"""JSON values. Most are invalid for every field; ``VALID`` has those that are valid."""
VALID = {
    "trip_distance": {"1e-400", "266", "0.5", '"NaN"'},
    "passenger_count": {"1e-400", '"NaN"'},
    "PULocationID": set(),
    "DOLocationID": set(),
    "pickup_datetime": {'"NaN"'},
}
"""Some programs write a missing value as the text NaN."""
NO_JSON = {
    "nothing": b"",
    "white space": b" \n\t ",
    "half an object": b'{"PULocationID": 74, "DOLoc',
    "two objects": json.dumps(GOOD).encode() * 2,
    "a trailing comma": b'{"PULocationID": 74,}',
    "single quotes": str(GOOD).encode(),
    "invalid UTF-8": b'{"PULocationID": "\xff\xfe", "DOLocationID": 75, "trip_distance": 1}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "a lone surrogate": b'{"PULocationID": "\\ud800", "DOLocationID": 75, "trip_distance": 1}',
    "bytes of zero": bytes(1000),
    "a bomb of lists": b"[" * 200_000,
    "a closed bomb of lists": b"[" * 200_000 + b"]" * 200_000,
    "a bomb of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a form": b"PULocationID=74&DOLocationID=75&trip_distance=1",
}
NO_REQUEST = ["null", "true", "1", '"text"', "[[]]", "[1]", "[null]", "{}", "[{}]"]
EXAMPLES = os.environ.get("ML_ASSETS_FUZZ_EXAMPLES")
"""Random cases per operation of a longer, non-deterministic run."""
CONFIGURATION = """[checks]
positive_data_acceptance.expected-statuses = [200, 413]
negative_data_rejection.expected-statuses = [404, 405, 413, 422]
"""
"""The schema does not limit the length of a list, so a valid list may be too long."""
FEW = ["--max-examples", "50", "--generation-deterministic"]
MIN_CASES = 300
MAX_SECONDS = 1800


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return served_home(tmp_path_factory)


@pytest.fixture(scope="module")
def running(home, tmp_path_factory):
    with running_service(home.variables, tmp_path_factory.mktemp("log") / "log") as started:
        yield started


@pytest.fixture
def service(running, home):
    """After each test the service predicts as before and has logged no error."""
    yield running
    assert minutes(running, GOOD) == home.minutes("1", frame_of(GOOD))[0]
    assert "Traceback" not in running.log.read_text()


def frame_of(request) -> pd.DataFrame:
    frame = pd.DataFrame([request], columns=list(FIELDS))
    frame["pickup_datetime"] = pd.to_datetime(frame["pickup_datetime"])
    return frame.astype({"passenger_count": "float64"})


def minutes(service, request) -> float:
    response = service.request("POST", "/predict", request)
    assert response.status == 200, response.body
    return response.content["predicted_minutes"]


def with_value(field: str, written: str) -> bytes:
    """Return a valid request with one field replaced by this JSON."""
    others = json.dumps({name: value for name, value in GOOD.items() if name != field})
    return f'{others[:-1]}, "{field}": {written}}}'.encode()


@pytest.mark.parametrize("field", FIELDS)
def test_an_extreme_value_is_predicted_or_rejected_by_field(service, field):
    for written in WILD:
        response = service.request("POST", "/predict", with_value(field, written))
        if written in VALID[field]:
            assert response.status == 200, (written, response.body)
            assert 1 <= response.content["predicted_minutes"] <= 60
            continue
        assert response.status == 422, (written, response.body)
        (problem,) = response.content["detail"]
        in_field = ["body", field]
        assert problem["loc"] in (in_field, ["body"]), written
        if problem["loc"] == in_field:
            assert problem["msg"].startswith(f"{field} "), problem
            assert len(problem["msg"]) < 300


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("written", ["null", '""', None])
def test_only_a_missing_required_field_is_rejected(service, field, written):
    body = with_value(field, written) if written else {k: v for k, v in GOOD.items() if k != field}
    response = service.request("POST", "/predict", body)
    assert response.status == (422 if field in REQUIRED else 200), response.body


def test_all_invalid_fields_are_reported_with_their_index(service):
    wrong = [GOOD, {**GOOD, "PULocationID": 0, "trip_distance": -1}, {**GOOD, "DOLocationID": 266}]
    response = service.request("POST", "/predict", wrong)
    assert response.status == 422
    assert [problem["loc"] for problem in response.content["detail"]] == [
        ["body", 1, "PULocationID"],
        ["body", 1, "trip_distance"],
        ["body", 2, "DOLocationID"],
    ]


@pytest.mark.parametrize("name", NO_JSON)
def test_invalid_json_is_rejected(service, name):
    response = service.request("POST", "/predict", NO_JSON[name])
    assert response.status == 422, response.body[:300]
    assert response.content["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize("written", NO_REQUEST)
def test_json_that_is_not_a_request_is_rejected(service, written):
    response = service.request("POST", "/predict", written.encode())
    assert response.status == 422, response.body
    assert response.content["detail"]


def test_an_empty_list_gets_no_predictions(service):
    response = service.request("POST", "/predict", [])
    assert (response.status, response.content["predictions"]) == (200, [])


@pytest.mark.parametrize("zone", [1, 264, 265, "75", "75.0", 75.0])
def test_zones_are_accepted_as_numbers_and_text(service, home, zone):
    as_number = {**GOOD, "DOLocationID": int(float(zone))}
    predicted = minutes(service, {**GOOD, "DOLocationID": zone})
    assert predicted == home.minutes("1", frame_of(as_number))[0]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-05-06T17:30:00Z", "2024-05-06T13:30"),
        ("2024-05-06T17:30:00+05:30", "2024-05-06T08:00"),
        ("2024-05-06T17:30:00-04:00", "2024-05-06T17:30"),
        ("2024-03-10T02:30", "2024-03-10T02:30"),
        ("2024-03-10T07:30Z", "2024-03-10T03:30"),
        ("2024-11-03T01:30", "2024-11-03T01:30"),
        ("2024-11-03T05:30Z", "2024-11-03T01:30"),
        ("2024-11-03T06:30Z", "2024-11-03T01:30"),
        ("2024-05-06", "2024-05-06T00:00"),
        ("2009-01-01T00:00", "2009-01-01T00:00"),
    ],
)
def test_times_are_converted_to_new_york_time(service, home, written, meant):
    """Also in the hours that a clock change skips or repeats."""
    expected = home.minutes("1", frame_of({**GOOD, "pickup_datetime": meant}))[0]
    assert minutes(service, {**GOOD, "pickup_datetime": written}) == expected


def test_the_last_of_duplicate_keys_counts(service, home):
    body = b'{"PULocationID": 1, ' + json.dumps(GOOD).encode()[1:]
    assert service.request("POST", "/predict", body).content["predicted_minutes"] == minutes(
        service, GOOD
    )


def test_each_unknown_field_is_reported(service):
    more = {"💥": "𝒳", "fare_amount": 12, "__class__": [], "predicted_minutes": -1}
    response = service.request("POST", "/predict", {**GOOD, **more})
    assert response.status == 422
    assert [problem["loc"] for problem in response.content["detail"]] == [
        ["body", name] for name in more
    ]


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", "💥"])
def test_the_content_type_is_ignored(service, kind):
    headers = {"Content-Type": kind.encode().decode("latin-1")}
    assert service.request("POST", "/predict", GOOD, headers).status == 200


def test_a_list_at_the_limit_is_predicted_and_a_longer_one_rejected(service):
    response = service.request("POST", "/predict", [GOOD] * 10_000)
    assert response.status == 200
    assert len(response.content["predictions"]) == 10_000
    refused = service.request("POST", "/predict", [GOOD] * 10_001)
    assert refused.status == 413, refused.body[:300]
    assert "10" in refused.content["detail"]


def test_a_list_of_invalid_requests_gets_a_short_error(service):
    response = service.request("POST", "/predict", [{"PULocationID": "x" * 100}] * 10_000)
    assert response.status == 422
    assert len(response.content["detail"]) <= 100
    assert len(response.body) < 100_000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("PUT", "/predict", 405),
        ("DELETE", "/predict", 405),
        ("PATCH", "/model", 405),
        ("POST", "/health", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/predict/1", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/page/..%2f..%2fsettings.py", 404),
        ("GET", "/%00", 404),
        ("GET", "/%ff%fe", 404),
        ("GET", "/" + "a" * 20_000, 404),
    ],
)
def test_wrong_methods_and_paths_are_errors(service, method, path, status):
    response = service.request(method, path)
    assert response.status in (status, 414) if len(path) > 10_000 else response.status == status
    assert b"Traceback" not in response.body and b"ml_assets/" not in response.body


@pytest.mark.parametrize(
    ("path", "head", "options"),
    [("/health", 200, 204), ("/ready", 200, 204), ("/model", 200, 204), ("/metrics", 200, 204),
     ("/", 200, 204), ("/predict", 405, 204), ("/nothing", 404, 404), ("*", 404, 204)],
)  # fmt: skip
def test_head_and_options_are_supported(service, path, head, options):
    responses = service.request("HEAD", path), service.request("OPTIONS", path)
    assert [response.status for response in responses] == [head, options]
    assert responses[0].body == b""
    assert ("allow" in responses[1].headers) == (options == 204)


def test_responses_match_the_openapi_document(service, tmp_path):
    """Valid requests are accepted and others rejected, with documented status, type and schema."""
    report = tmp_path / "report.json"
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    command = [
        sys.executable, "-m", "schemathesis.cli", "run",
        f"http://127.0.0.1:{service.port}/openapi.json",
        "--checks", "all", "--mode", "all", "--phases", "examples,coverage,fuzzing",
        "--continue-on-failure", "--no-color", "--report", "json",
        "--report-json-path", str(report),
        *(["--max-examples", EXAMPLES] if EXAMPLES else FEW),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=MAX_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    report_content = json.loads(report.read_text())
    print(report_content["test_cases"], report_content["valid_rates"])
    assert report_content["complete"]
    assert report_content["operations"]["tested"] == report_content["operations"]["total"] >= 6
    assert report_content["test_cases"]["generated"] >= MIN_CASES
    assert report_content["valid_rates"]["POST /predict"]["fuzzing"]["accepted"] > 0
