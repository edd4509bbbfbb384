"""Bodies by hand, to a real process: wild ones are refused in words, odd ones answered rightly."""

import json

import pandas as pd
import pytest

from ml_assets_tests.serving.service_process import GOOD, running_service
from ml_assets_tests.serving.two_versions import served_home

FIELDS = ("PULocationID", "DOLocationID", "trip_distance", "pickup_datetime", "passenger_count")
REQUIRED = FIELDS[:3]
WILD = [
    "NaN", "Infinity", "-Infinity", "1e308", "-1e308", "1e999", "-1", "-0.5", "1e-400", '"NaN"',
    '"inf"', '"abc"', '"💥"', r'"\ud83d"', r'"\u0000"', '"' + "9" * 5000 + '"', "9" * 5000,
    "[]", "[1]", "[[1]]", "{}", '{"a": {"b": []}}', "true", '"1970-01-01T00:00"', '"2100-01-01"',
    '"0000-00-00"', '"9999-12-31T23:59:59+14:00"', '"2024-02-30T10:00"', '"2024-05-06T25:00"',
    "266", "0.5", "9007199254740993", "1e18",
]  # fmt: skip
"""Values as they stand in the body. Most fit no field; what fits one is told in FITS."""
FITS = {
    "trip_distance": {"1e-400", "266", "0.5"},
    "passenger_count": {"1e-400", '"NaN"'},
    "PULocationID": set(),
    "DOLocationID": set(),
    "pickup_datetime": {'"NaN"'},
}
"""The text NaN is how some programs write a missing value, here as in files."""
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


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return served_home(tmp_path_factory.mktemp("home") / "home")


@pytest.fixture(scope="module")
def running(home, tmp_path_factory):
    with running_service(home.variables, tmp_path_factory.mktemp("log") / "log") as started:
        yield started


@pytest.fixture
def service(running, home):
    """It answers as before, whatever the test has sent, and has told of no error."""
    yield running
    assert minutes(running, GOOD) == home.minutes("1", frame_of(GOOD))[0]
    assert "Traceback" not in running.log.read_text()


def frame_of(request) -> pd.DataFrame:
    frame = pd.DataFrame([request], columns=list(FIELDS))
    frame["pickup_datetime"] = pd.to_datetime(frame["pickup_datetime"])
    return frame.astype({"passenger_count": "float64"})


def minutes(service, request) -> float:
    answer = service.ask("POST", "/predict", request)
    assert answer.status == 200, answer.body
    return answer.content["predicted_minutes"]


def with_value(field: str, written: str) -> bytes:
    """A good request but for one field, whose value stands in it as written."""
    others = json.dumps({name: value for name, value in GOOD.items() if name != field})
    return f'{others[:-1]}, "{field}": {written}}}'.encode()


@pytest.mark.parametrize("field", FIELDS)
def test_a_wild_value_is_refused_in_the_name_of_its_field_or_fits(service, field):
    for written in WILD:
        answer = service.ask("POST", "/predict", with_value(field, written))
        if written in FITS[field]:
            assert answer.status == 200, (written, answer.body)
            assert 1 <= answer.content["predicted_minutes"] <= 60
            continue
        assert answer.status == 422, (written, answer.body)
        (problem,) = answer.content["detail"]
        in_field = ["body", field]
        assert problem["loc"] in (in_field, ["body"]), written
        if problem["loc"] == in_field:
            assert problem["msg"].startswith(f"{field} "), problem
            assert len(problem["msg"]) < 300


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("written", ["null", '""', None])
def test_a_missing_value_is_refused_where_it_is_needed(service, field, written):
    body = with_value(field, written) if written else {k: v for k, v in GOOD.items() if k != field}
    answer = service.ask("POST", "/predict", body)
    assert answer.status == (422 if field in REQUIRED else 200), answer.body


def test_all_wrong_fields_are_named_at_once_with_the_place_in_the_list(service):
    wrong = [GOOD, {**GOOD, "PULocationID": 0, "trip_distance": -1}, {**GOOD, "DOLocationID": 266}]
    answer = service.ask("POST", "/predict", wrong)
    assert answer.status == 422
    assert [problem["loc"] for problem in answer.content["detail"]] == [
        ["body", 1, "PULocationID"],
        ["body", 1, "trip_distance"],
        ["body", 2, "DOLocationID"],
    ]


@pytest.mark.parametrize("name", NO_JSON)
def test_what_is_no_json_is_refused(service, name):
    answer = service.ask("POST", "/predict", NO_JSON[name])
    assert answer.status == 422, answer.body[:300]
    assert answer.content["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize("written", NO_REQUEST)
def test_json_that_is_no_request_is_refused(service, written):
    answer = service.ask("POST", "/predict", written.encode())
    assert answer.status == 422, answer.body
    assert answer.content["detail"]


def test_no_requests_get_no_predictions(service):
    answer = service.ask("POST", "/predict", [])
    assert (answer.status, answer.content["predictions"]) == (200, [])


@pytest.mark.parametrize("zone", [1, 264, 265, "75", "75.0", 75.0])
def test_every_zone_of_the_commission_is_answered_however_it_is_written(service, home, zone):
    as_number = {**GOOD, "DOLocationID": int(float(zone))}
    answered = minutes(service, {**GOOD, "DOLocationID": zone})
    assert answered == home.minutes("1", frame_of(as_number))[0]


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
def test_a_time_of_any_zone_is_that_of_new_york(service, home, written, meant):
    """Also the hour that the clocks leave out, and the one that they repeat."""
    expected = home.minutes("1", frame_of({**GOOD, "pickup_datetime": meant}))[0]
    assert minutes(service, {**GOOD, "pickup_datetime": written}) == expected


def test_of_a_key_that_is_there_twice_the_last_counts_as_in_every_json_reader(service, home):
    body = b'{"PULocationID": 1, ' + json.dumps(GOOD).encode()[1:]
    assert service.ask("POST", "/predict", body).content["predicted_minutes"] == minutes(
        service, GOOD
    )


def test_names_that_are_no_field_are_refused_one_by_one(service):
    more = {"💥": "𝒳", "fare_amount": 12, "__class__": [], "predicted_minutes": -1}
    answer = service.ask("POST", "/predict", {**GOOD, **more})
    assert answer.status == 422
    assert [problem["loc"] for problem in answer.content["detail"]] == [
        ["body", name] for name in more
    ]


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", "💥"])
def test_the_body_counts_and_not_what_the_client_calls_it(service, kind):
    headers = {"Content-Type": kind.encode().decode("latin-1")}
    assert service.ask("POST", "/predict", GOOD, headers).status == 200


def test_a_list_at_the_limit_is_answered_and_one_over_it_refused(service):
    answer = service.ask("POST", "/predict", [GOOD] * 10_000)
    assert answer.status == 200
    assert len(answer.content["predictions"]) == 10_000
    refused = service.ask("POST", "/predict", [GOOD] * 10_001)
    assert refused.status == 413, refused.body[:300]
    assert "10" in refused.content["detail"]


def test_a_list_that_is_all_wrong_is_refused_with_a_short_answer(service):
    answer = service.ask("POST", "/predict", [{"PULocationID": "x" * 100}] * 10_000)
    assert answer.status == 422
    assert len(answer.content["detail"]) <= 100
    assert len(answer.body) < 100_000


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
def test_wrong_methods_and_paths(service, method, path, status):
    answer = service.ask(method, path)
    assert answer.status in (status, 414) if len(path) > 10_000 else answer.status == status
    assert b"Traceback" not in answer.body and b"ml_assets/" not in answer.body


@pytest.mark.parametrize(
    ("path", "head", "options"),
    [("/health", 200, 204), ("/ready", 200, 204), ("/model", 200, 204), ("/metrics", 200, 204),
     ("/", 200, 204), ("/predict", 405, 204), ("/nothing", 404, 404), ("*", 404, 204)],
)  # fmt: skip
def test_head_and_options_are_answered(service, path, head, options):
    answers = service.ask("HEAD", path), service.ask("OPTIONS", path)
    assert [answer.status for answer in answers] == [head, options]
    assert answers[0].body == b""
    assert ("allow" in answers[1].headers) == (options == 204)
