"""Swagger UI at /docs: without a network and under the page's policy, requests can be tried out."""

import json

import pytest

from ml_assets_tests.browser.playground_visits import Visit, Visits, local_service, small_model

pytestmark = pytest.mark.browser


def try_out(visit: Visit, method: str, path: str):
    """Execute an operation with what is filled in, and read the status and the body shown."""
    operation = visit.page.locator(f".opblock-{method}", has_text=path).first
    if operation.locator("button.execute").count() == 0:
        operation.locator(".opblock-summary-control").click()
    if operation.locator("button.btn-clear").count():  # the earlier response
        operation.locator("button.btn-clear").click()
    operation.locator("button.execute").click()
    answer = operation.locator(".live-responses-table .response").first
    status = answer.locator(".response-col_status").inner_text()
    body = answer.locator(".highlight-code code").first.inner_text()
    return int(status.split()[0]), json.loads(body)


def test_a_prediction_is_tried_out_without_a_network(visits: Visits):
    with local_service(small_model()) as service:
        visit = visits.open(service.address, path="/docs")
        visit.page.locator(".opblock-post").first.wait_for()
        visit.picture("docs")
        status, content = try_out(visit, "post", "/predict")
        visit.picture("docs_tried_out")
        assert status == 200
        assert content["predicted_minutes"] > 0
        curl = visit.page.locator(".curl").first.inner_text()
        assert f"{service.address}/predict" in curl


def test_the_token_that_is_typed_is_sent(visits: Visits):
    with local_service(small_model(), token="s3cret") as service:
        visit = visits.open(service.address, path="/docs")
        assert try_out(visit, "get", "/model")[0] == 401
        visit.page.get_by_role("button", name="Authorize").first.click()
        visit.page.locator(".auth-container input").fill("s3cret")
        visit.page.locator(".auth-btn-wrapper button", has_text="Authorize").click()
        visit.page.locator(".auth-btn-wrapper button", has_text="Close").click()
        assert try_out(visit, "get", "/model")[1]["version"] == "1"
        assert try_out(visit, "post", "/predict")[0] == 200
