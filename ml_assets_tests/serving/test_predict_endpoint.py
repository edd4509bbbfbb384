"""Responses to valid and invalid requests and lists, and access control."""

import logging
import math
import time
from datetime import datetime

import pytest

from ml_assets.config.http_origin import server_hosts
from ml_assets.serving.app import create_app
from ml_assets.serving.model_provider import RegistryState
from ml_assets.serving.request_body import Limits
from ml_assets.serving.request_log.writer import RequestLog
from ml_assets_tests.serving.conftest import ELSEWHERE, HERE, client_for
from ml_assets_tests.serving.fixed_model import FixedModel
from ml_assets_tests.serving.request_log.whole_log import read_log
from ml_assets_tests.serving.two_versions import sample_requests

REFERENCES_BODY = {"PULocationID": 236, "DOLocationID": "239", "trip_distance": 1.98}
ZONES = {"PULocationID": 236, "DOLocationID": "239"}
THREE = ("predicted_minutes", "lower_minutes", "upper_minutes")
PREDICTED = (*THREE, "distance", "distance_miles", "model_version")


@pytest.fixture(scope="module")
def client(served):
    limits = Limits(list_length=200, explained_length=3)
    with client_for(create_app(FixedModel(served), limits=limits)) as client:
        yield client


def test_the_response_to_one_request(client):
    response = client.post("/predict", json=REFERENCES_BODY, headers={"X-Request-ID": "ride.1_A-b"})
    assert response.status_code == 200
    assert list(response.json()) == [*PREDICTED, "request_id"]
    content = response.json()
    assert content["lower_minutes"] <= content["predicted_minutes"] <= content["upper_minutes"]
    assert (content["distance"], content["distance_miles"]) == ("stated", 1.98)
    assert content["model_version"] == "7"
    assert content["request_id"] == response.headers["x-request-id"] == "ride.1_A-b"


def test_a_list_is_predicted_in_order_like_each_request_alone(client, served):
    requests, frame = sample_requests(40)
    response = client.post("/predict", json=requests).json()
    assert list(response) == ["predictions", "model_version", "request_id"]
    minutes = [one["predicted_minutes"] for one in response["predictions"]]
    assert minutes == served.model.pipeline.predict(frame).tolist()
    assert len(set(minutes)) > 10
    alone = [client.post("/predict", json=request).json() for request in requests]
    for one, other in zip(response["predictions"], alone, strict=True):
        assert one == {name: other[name] for name in PREDICTED}


@pytest.mark.parametrize("given", [{}, {"trip_distance": None}, {"trip_distance": ""},
                                   {"trip_distance": "NaN"}, {"trip_distance": 0},
                                   {"trip_distance": 0.01}, {"trip_distance": 999}])  # fmt: skip
def test_a_distance_left_out_in_any_form_is_the_usual_one(client, given):
    when = {"pickup_datetime": "2023-04-03T08:30"}
    expected = client.post("/predict", json=ZONES | when).json()
    sent = ZONES | when | given
    one = client.post("/predict", json=sent).json()
    explained = client.post("/predict?explain=true", json=sent).json()
    (listed,) = client.post("/predict", json=[sent]).json()["predictions"]
    usual = client.get("/typical-distance", params=ZONES).json()["trip_distance"]
    for response in (one, explained, listed):
        assert {name: response[name] for name in PREDICTED} == {
            name: expected[name] for name in PREDICTED
        }
        assert (response["distance"], response["distance_miles"]) == ("usual", usual)


@pytest.mark.parametrize("given", [-1, 1000.5, "far", [2]])
def test_an_invalid_distance_is_rejected_and_says_that_it_may_be_left_out(client, given):
    response = client.post("/predict", json=ZONES | {"trip_distance": given})
    assert response.status_code == 422
    (entry,) = response.json()["detail"]
    assert "or left out for the usual distance of the two zones" in entry["msg"]


@pytest.mark.parametrize("name", ["miles", "distance", "trip_distance_miles"])
def test_a_distance_under_another_name_is_not_ignored(client, name):
    response = client.post("/predict", json=ZONES | {name: 2.5})
    assert response.status_code == 422
    assert response.json()["detail"][0]["msg"].endswith("did you mean trip_distance?")


def test_an_invalid_id_is_replaced_by_a_new_one_per_request(client):
    for unfit in ("", "a b", "ä".encode(), "x" * 65):
        responses = [
            client.post("/predict", json=REFERENCES_BODY, headers={"X-Request-ID": unfit}).json()
            for _ in range(2)
        ]
        ids = {response["request_id"] for response in responses}
        assert len(ids) == 2
        assert all(len(found) == 32 for found in ids)


def test_an_explanation_adds_up_to_the_minutes(client):
    response = client.post("/predict?explain=true", json=REFERENCES_BODY).json()
    explained = client.post("/predict?explain=true", json=[REFERENCES_BODY] * 2).json()
    for content in (response, *explained["predictions"]):
        explanation = content["explanation"]
        assert explanation["contributions"]
        total = explanation["baseline_minutes"] + sum(explanation["contributions"].values())
        assert math.isclose(total, content["predicted_minutes"], abs_tol=1e-6)
    assert "explanation" not in client.post("/predict?explain=false", json=REFERENCES_BODY).json()


@pytest.mark.parametrize("given", ["yes", "", "1", "true&explain=true"])
def test_explain_is_true_or_false(client, given):
    response = client.post(f"/predict?explain={given}", json=REFERENCES_BODY)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "explain"]


@pytest.mark.parametrize("name", ["Explain", "explian", "explanation"])
def test_a_misspelled_explain_is_rejected_and_other_parameters_are_ignored(client, name):
    response = client.post(f"/predict?{name}=true", json=REFERENCES_BODY)
    assert response.status_code == 422
    assert response.json()["detail"][0]["msg"].endswith("did you mean explain?")
    assert client.post("/predict?trace=1", json=REFERENCES_BODY).status_code == 200


def test_an_invalid_field_is_reported_with_its_range(client):
    body = {**REFERENCES_BODY, "DOLocationID": 266, "passenger_count": "many"}
    response = client.post("/predict", json=body)
    assert response.status_code == 422
    assert [entry["loc"] for entry in response.json()["detail"]] == [
        ["body", "DOLocationID"],
        ["body", "passenger_count"],
    ]
    assert "from 1 to 265, not 266" in response.json()["detail"][0]["msg"]
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("pickup_time", "pickup_datetime"),
        ("passengers", "passenger_count"),
        ("PU_location", "PULocationID"),
        ("datetime", "pickup_datetime"),
        ("fare_amount", "PULocationID, DOLocationID"),
    ],
)
def test_an_unknown_field_is_rejected_with_the_nearest_known_one(client, name, nearest):
    body = {**REFERENCES_BODY, name: 3}
    for sent, loc in ((body, ["body", name]), ([REFERENCES_BODY, body], ["body", 1, name])):
        response = client.post("/predict", json=sent)
        assert response.status_code == 422
        (entry,) = response.json()["detail"]
        assert (entry["loc"], entry["type"]) == (loc, "extra_forbidden")
        assert entry["msg"].startswith(f"{name!r} is not a request field: ")
        assert nearest in entry["msg"]


@pytest.mark.parametrize(
    "name", ["lpep_pickup_datetime", "tpep_pickup_datetime", "Pickup_Datetime"]
)
def test_a_published_name_or_another_letter_case_is_the_same_field(client, served, name):
    plain = {**REFERENCES_BODY, "pickup_datetime": "2023-04-03T08:30", "passenger_count": 1}
    other = {"pulocationid": 236, "DOLOCATIONID": "239", "Trip_Distance": 1.98,
             name: "2023-04-03T08:30", "Passenger_count": 1}  # fmt: skip
    responses = [client.post("/predict", json=sent).json() for sent in (plain, other)]
    assert responses[0]["predicted_minutes"] == responses[1]["predicted_minutes"]
    at_night = client.post("/predict", json=other | {name: "2023-04-03T03:30"}).json()
    assert at_night["predicted_minutes"] != responses[0]["predicted_minutes"]


def test_many_unknown_fields_are_rejected_quickly_and_briefly(client):
    for body in (
        {f"passanger_count{number}": 1 for number in range(50_000)},
        [{f"a{number}": 1, "x" * 1000: 2} for number in range(200)],
        {"x" * 10**6: 1},
    ):
        begun = time.process_time()
        response = client.post("/predict", json=body)
        assert time.process_time() - begun < 2
        assert response.status_code == 422
        assert len(response.json()["detail"]) <= 100
        assert response.json()["error_count"] == sum(
            len(entry) + 2 for entry in (body if isinstance(body, list) else [body])
        )
        assert len(response.content) < 60_000


def test_a_hundred_errors_are_reported_and_all_counted(client):
    body = [REFERENCES_BODY, *([{**REFERENCES_BODY, "trip_distance": -1}] * 150)]
    content = client.post("/predict", json=body).json()
    assert (len(content["detail"]), content["error_count"]) == (100, 150)
    assert content["detail"][0]["loc"] == ["body", 1, "trip_distance"]


@pytest.mark.parametrize(
    ("query", "length", "status"),
    [("", 200, 200), ("", 201, 413), ("?explain=true", 3, 200), ("?explain=true", 4, 413)],
)
def test_a_list_over_the_limit_is_a_413(client, query, length, status):
    response = client.post(f"/predict{query}", json=[REFERENCES_BODY] * length)
    assert response.status_code == status


def test_without_a_champion_the_error_says_what_to_do():
    with client_for(create_app(FixedModel(None))) as client:
        for response in (client.post("/predict", json=REFERENCES_BODY), client.get("/model")):
            assert response.status_code == 503
            assert "there is no champion yet: train one first" in response.json()["detail"]
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503
        assert client.get("/ready").json()["ready"] is False


@pytest.mark.parametrize(
    ("registry", "reason"),
    [
        (RegistryState(reachable=False), "the registry has not answered yet, so it is not known"),
        (RegistryState(reachable=False, champion_version="3"), "the registry has not answered yet"),
        (
            RegistryState(reachable=True, champion_version="3"),
            "version 3 is being loaded: try again",
        ),
        (
            RegistryState(reachable=True, champion_version="3", problem="the disk is full"),
            "(the disk is full)",
        ),
    ],
)
def test_no_champion_is_reported_only_when_the_registry_says_so(registry, reason):
    with client_for(create_app(FixedModel(None, registry))) as client:
        responses = [client.post("/predict", json=REFERENCES_BODY), client.get("/model")]
        responses.append(client.get("/ready"))
    for response in responses:
        assert response.status_code == 503
        assert reason in response.json()["detail"]
        assert "no champion yet" not in response.json()["detail"]


@pytest.mark.parametrize("path", ["/model", "/metrics", "/zones", "/nothing", "/page"])
@pytest.mark.parametrize(
    "sent",
    [None, "Bearer wrong", "Bearer", "Basic s3cret", "s3cret", "Bearer s3cre", b"Bearer \xff\xfe"],
)
def test_without_the_token_protected_paths_are_401(served, path, sent):
    headers = {} if sent is None else {"Authorization": sent}
    with client_for(create_app(FixedModel(served), token="s3cret")) as client:
        responses = [client.get(path, headers=headers)]
        responses.append(client.post("/predict", json=REFERENCES_BODY, headers=headers))
    for response in responses:
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert "s3cret" not in response.text


@pytest.mark.parametrize("client", [HERE, ELSEWHERE])
def test_with_the_token_any_client_is_served(served, client):
    headers = {"Authorization": "bearer s3cret"}
    with client_for(create_app(FixedModel(served), token="s3cret"), client) as caller:
        assert caller.post("/predict", json=REFERENCES_BODY, headers=headers).status_code == 200
        for path in ("/health", "/ready", "/", "/docs", "/openapi.json"):
            assert caller.get(path).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("127.8.8.8", 200),
     ("192.0.2.7", 401), ("::ffff:192.0.2.7", 401), ("testclient", 401)],
)  # fmt: skip
def test_without_a_token_only_local_clients_are_served(served, host, status):
    with client_for(create_app(FixedModel(served)), (host, 1)) as client:
        response = client.post("/predict", json=REFERENCES_BODY)
        assert response.status_code == status
        assert (status == 200) == ("ML_ASSETS_API_TOKEN" not in response.text)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "http://127.0.0.1:8000"}, 200), ({"Origin": "http://localhost:8000"}, 200),
     ({"Origin": "http://[::1]:8000"}, 200), ({"Origin": "http://evil.example"}, 401),
     ({"Origin": "null"}, 401), ({"Origin": "http://["}, 401),
     ({"X-Forwarded-For": "127.0.0.1"}, 401), ({"Forwarded": "for=127.0.0.1"}, 401),
     ({"Origin": "http://localhost", "X-Forwarded-For": "127.0.0.1"}, 401)],
)  # fmt: skip
def test_without_a_token_proxies_and_pages_of_other_sites_are_rejected(served, headers, status):
    app = create_app(FixedModel(served))
    with client_for(app) as client:
        assert client.post("/predict", json=REFERENCES_BODY, headers=headers).status_code == status
        counter = 'ml_assets_predict_requests_total{status="401"}'
        assert f"{counter} {int(status == 401)}.0" in client.get("/metrics").text
    with client_for(create_app(FixedModel(served), token="s3cret")) as client:
        headers = {**headers, "Authorization": "Bearer s3cret"}
        assert client.post("/predict", json=REFERENCES_BODY, headers=headers).status_code == 200


def sleep_half_a_second():
    time.sleep(0.5)
    yield


def test_the_latency_of_a_list_includes_its_wait_for_a_thread(served, tmp_path):
    log = RequestLog(tmp_path)
    app = create_app(FixedModel(served), log=log)
    with client_for(app) as client:
        client.portal.start_task_soon(app.state.service.lists.submit, sleep_half_a_second())
        client.post("/predict", json=[REFERENCES_BODY] * 200)
    assert read_log(tmp_path)["latency_milliseconds"].min() > 300


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "evil.example:8000"}, {"Host": "localhost.evil.example"},
     {"Via": "1.1 squid"}, {"X-Real-IP": "127.0.0.1"}, {"X-Forwarded-Host": "localhost"},
     {"CF-Connecting-IP": "127.0.0.1"}, {"True-Client-IP": "127.0.0.1"},
     {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)  # fmt: skip
def test_without_a_token_other_machines_are_rejected(served, headers):
    with client_for(create_app(FixedModel(served))) as client:
        responses = [
            client.get(path, headers=headers) for path in ("/model", "/metrics", "/zones", "/no")
        ]
        responses += [client.post("/predict", json=REFERENCES_BODY, headers=headers)]
        opened = [client.get(path, headers=headers) for path in ("/", "/ready", "/docs")]
    for response in responses:
        assert response.status_code == 401
        assert "ML_ASSETS_ALLOWED_HOSTS" in response.json()["detail"]
    assert {response.status_code for response in opened} == {401 if "Host" in headers else 200}


def test_health_checks_may_use_an_ip_address_as_host(served):
    with client_for(create_app(FixedModel(served)), ELSEWHERE) as client:
        for host, status in (("10.1.2.3:8000", 200), ("pod.example", 401)):
            assert client.get("/health", headers={"Host": host}).status_code == status
        assert client.get("/model", headers={"Host": "10.1.2.3:8000"}).status_code == 401


def test_a_local_proxy_may_forward_for_allowed_hosts(served):
    hosts = server_hosts("127.0.0.1", ["rides.example"])
    forwarded = {"X-Forwarded-For": "192.0.2.7", "Origin": "https://rides.example"}
    with client_for(create_app(FixedModel(served), hosts=hosts)) as client:
        for named, status in (({"Host": "rides.example"}, 200), ({"Host": "localhost"}, 401)):
            assert client.get("/model", headers={**forwarded, **named}).status_code == status


def test_predictions_are_logged_without_the_client(served, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    headers = {"Authorization": "Bearer s3cret", "X-Request-ID": "mine"}
    app = create_app(FixedModel(served), token="s3cret", log=RequestLog(tmp_path))
    with client_for(app, ELSEWHERE) as client:
        one = client.post("/predict", json=REFERENCES_BODY, headers=headers).json()
        client.post("/predict", json=[REFERENCES_BODY] * 3, headers=headers)
        client.post("/predict", json={}, headers=headers)
        client.post("/predict", json=ZONES, headers=headers)
        published = {**REFERENCES_BODY, "lpep_pickup_datetime": "2023-04-03T08:30"}
        client.post("/predict", json=published, headers=headers)
    rows = read_log(tmp_path)
    assert rows.height == 6
    assert rows["distance"].to_list() == ["stated"] * 4 + ["usual", "stated"]
    assert rows["distance_miles"].to_list()[:4] == [1.98] * 4
    assert rows["trip_distance"][4] is None
    assert rows["distance_miles"][4] > 0
    assert rows["pickup_datetime"][5] == datetime(2023, 4, 3, 8, 30)
    assert rows["predicted_minutes"][0] == one["predicted_minutes"]
    assert set(rows["request_id"]) == {"mine"}
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    for secret in ("s3cret", "192.0.2.7", "authorization"):
        assert secret not in written + caplog.text


def test_metrics_count_predictions(served):
    with client_for(create_app(FixedModel(served))) as client:
        client.post("/predict", json=REFERENCES_BODY)
        client.post("/predict", json=[REFERENCES_BODY] * 2 + [ZONES] * 3)
        client.post("/predict", json=[])
        client.post("/predict?explain=true", json=ZONES)
        client.post("/predict", json={})
        lines = client.get("/metrics").text.splitlines()
    for line in (
        'ml_assets_predict_requests_total{status="200"} 4.0',
        'ml_assets_predict_requests_total{status="422"} 1.0',
        "ml_assets_predictions_total 7.0",
        'ml_assets_predictions_by_distance_total{distance="stated"} 3.0',
        'ml_assets_predictions_by_distance_total{distance="usual"} 4.0',
        'ml_assets_predict_duration_seconds_count{kind="list"} 2.0',
        'ml_assets_model_info{version="7"} 1.0',
    ):
        assert line in lines


def test_the_card_has_version_months_and_figures(client):
    card = client.get("/model").json()
    assert (card["version"], card["alias"], card["model"]) == ("7", "champion", "xgboost")
    months = (card["training_months"], card["validation_months"], card["test_month"])
    assert months == (["2023-01", "2023-02"], ["2023-03"], "2023-04")
    assert (card["test_rmse"], card["refit"]) == (4.0, False)


def test_an_internal_error_is_a_500_with_the_request_id(client, served, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("the pipeline is broken")

    monkeypatch.setattr("ml_assets.pipeline.predict.Model.predict", broken)
    response = client.post("/predict", json=REFERENCES_BODY, headers={"X-Request-ID": "it"})
    assert (response.status_code, response.headers["x-request-id"]) == (500, "it")
    assert "the pipeline is broken" not in response.text
    assert "the pipeline is broken" in caplog.text
