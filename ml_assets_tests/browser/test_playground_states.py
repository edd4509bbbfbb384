"""What the page does when something is wrong, on small screens, and with its address."""

import pytest

from ml_assets_tests.browser.playground_visits import (
    local_service,
    predicted,
    small_model,
)
from ml_assets_tests.serving.service_process import free_port

pytestmark = pytest.mark.browser

PHONES = [320, 360]


@pytest.fixture(scope="module")
def local():
    with local_service(small_model()) as running:
        yield running


def test_wrong_fields_are_marked_and_the_form_keeps_its_values(visits, local):
    visit = visits.open(local.address).ready()
    visit.predict()
    visit.field("Pick-up zone").fill("atlantis")
    visit.field("Distance (optional)").fill("1001")
    visit.field("Passengers (optional)").fill("ten")
    sent = visit.predict()
    assert sent["PULocationID"] == "atlantis"
    shown = visit.page.locator(".error:visible").all_inner_texts()
    assert shown == [
        "The pick-up zone must be a zone number from 1 to 265, not atlantis",
        "The distance must be a number of miles from 0 to 1000, or left out for the usual distance "
        "of the two zones, not 1001",
        "The number of passengers must be a whole number from 0 to 9, not ten",
    ]
    visit.picture("wrong_fields")
    assert visit.page.evaluate("document.activeElement.id") == "pickup"
    pickup = visit.field("Pick-up zone")
    assert pickup.get_attribute("aria-invalid") == "true"
    assert "pickup-error" in pickup.get_attribute("aria-describedby")
    assert pickup.input_value() == "atlantis"
    assert visit.page.locator("#minutes").inner_text() == "–"  # not the minutes of before
    pickup.fill("74")
    visit.field("Distance (optional)").fill("1")
    visit.field("Passengers (optional)").fill("")
    visit.predict()
    assert visit.page.locator(".error:visible").count() == 0
    assert visit.page.locator("#notice").is_hidden()


def test_half_a_time_is_no_request_for_now(visits, local):
    visit = visits.open(local.address).ready()
    visit.field("Pick-up time").focus()
    visit.page.keyboard.press("Backspace")  # the month alone is gone
    visit.page.get_by_role("button", name="Predict", exact=True).click()
    visit.page.get_by_text("complete or clear it").wait_for()
    assert visit.page.locator(".answered").count() == 0


def test_without_a_model_says_what_to_do_and_answers_once_there_is_one(visits):
    with local_service() as service:
        visit = visits.open(service.address)
        visit.predict()
        notice = visit.page.get_by_role("alert")
        assert "train one first (`ml-assets run`" in notice.inner_text()
        visit.picture("no_model")
        service.models.model = small_model()
        visit.page.locator(".answered").wait_for()
        assert notice.is_hidden()


def test_the_page_requests_a_token_and_keeps_it_for_the_tab(visits):
    with local_service(small_model(), token="secret") as service:
        visit = visits.open(service.address)
        token = visit.field("Access token")
        token.wait_for()
        token.fill("wrong")
        visit.page.get_by_role("button", name="Use this token").click()
        visit.page.get_by_text("send the service's token", exact=False).wait_for()
        visit.picture("token")
        token.fill("secret")
        visit.predicting(lambda: token.press("Enter"))
        assert token.is_hidden()
        assert visit.field("Pick-up zone").input_value() == "East Harlem North (74)"
        command = visit.page.locator("#command").inner_text()
        assert '-H "Authorization: Bearer $ML_ASSETS_API_TOKEN"' in command
        kept = "JSON.stringify([location.href, document.cookie, {...localStorage}])"
        assert "secret" not in visit.page.evaluate(kept)
        assert "secret" not in command
        sent = visit.predict()
        shown = predicted(service.address, sent, Authorization="Bearer secret")
        assert visit.minutes() == shown["predicted_minutes"]


def test_an_unavailable_service_is_reported_and_the_form_keeps_its_values(visits):
    port = free_port()
    with local_service(small_model(), port=port) as service:
        visit = visits.open(service.address).ready()
        visit.field("Distance (optional)").fill("3.25")
        visit.predict()
    visit.field("Distance (optional)").fill("4.75")
    visit.page.get_by_role("button", name="Predict", exact=True).click()
    visit.page.get_by_text("The service cannot be reached.").wait_for()
    visit.picture("gone")
    assert visit.field("Distance (optional)").input_value() == "4.75"
    with local_service(small_model(), port=port):
        assert visit.predict()["trip_distance"] == 4.75
        assert visit.page.locator("#notice").is_hidden()


def test_address_carries_the_form_and_back_leads_to_the_answer_before(visits, local):
    visit = visits.open(local.address).ready()
    first = visit.predict()
    minutes, address = visit.minutes(), visit.page.url
    assert f"DOLocationID={first['DOLocationID']}" in address
    assert "trip_distance" not in address
    visit.field("Distance (optional)").fill("8.5")
    stale = visit.page.get_by_text("The form has changed")
    assert stale.is_visible()
    visit.predict()
    assert visit.minutes() != minutes
    assert "trip_distance=8.5" in visit.page.url
    assert stale.is_hidden()
    visit.page.go_back()
    assert visit.page.url == address
    assert visit.minutes() == minutes
    assert visit.field("Distance (optional)").input_value() == ""
    visit.page.go_forward()
    assert visit.field("Distance (optional)").input_value() == "8.5"

    shared = visits.open(local.address)
    shared.page.goto(address)
    assert shared.ready().predict() == first
    assert shared.minutes() == minutes


@pytest.mark.parametrize("time", ["2024-05-06T17:30Z", "soon"])
def test_time_in_an_address_that_cannot_be_shown_is_not_taken_for_now(visits, local, time):
    request = {"PULocationID": 74, "DOLocationID": 75, "trip_distance": 1, "pickup_datetime": time}
    visit = visits.open(local.address, request)
    visit.page.get_by_text("cannot be read: enter it here").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", PHONES)
def test_nothing_is_wider_than_a_phone(visits, local, width, scheme):
    context = {"viewport": {"width": width, "height": 640}, "color_scheme": scheme}
    visit = visits.open(local.address, **context, has_touch=True, is_mobile=True).ready()

    def overhang() -> int:
        # Not innerWidth: a phone zooms out until what is too wide fits.
        return visit.page.evaluate("document.documentElement.scrollWidth") - width

    assert overhang() <= 0
    visit.predict()
    visit.picture(f"phone_{width}_{scheme}")
    assert overhang() <= 0
    visit.field("Pick-up zone").fill("governor")
    assert overhang() <= 0
    visit.field("Distance (optional)").fill("x" * 300)
    visit.predict()
    assert overhang() <= 0


def test_answer_comes_into_sight_on_a_phone(visits, local):
    from playwright.sync_api import expect

    visit = visits.open(local.address, viewport={"width": 360, "height": 640}).ready()
    visit.predicting(lambda: visit.field("Pick-up zone").press("Enter"))
    expect(visit.page.locator("#headline")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_moves_while_the_page_loads_and_answers(visits, local, width):
    visit = visits.open(local.address, viewport={"width": width, "height": 1200}).ready()
    visit.predict()
    visit.page.wait_for_timeout(300)
    moved = visit.page.evaluate(
        """() => new Promise((done) => new PerformanceObserver((list) =>
             done(list.getEntries().map((entry) => entry.value)))
             .observe({ type: 'layout-shift', buffered: true }) || setTimeout(done, 300, []))"""
    )
    assert sum(moved) < 0.01


def test_reader_hears_the_answer_and_sees_no_motion_unasked(visits, local):
    visit = visits.open(local.address, reduced_motion="reduce").ready()
    visit.predict()
    heard = visit.page.locator("#answer").get_by_role("status")
    assert "minutes" in heard.aria_snapshot()
    assert f"{visit.minutes():.1f}" in heard.aria_snapshot()
    tree = visit.page.locator("#pushes").aria_snapshot()
    assert "Pick-up zone East Harlem North" in tree
    assert " min" in tree
    durations = visit.page.evaluate(
        "document.getAnimations().length"
        " + getComputedStyle(document.querySelector('.band')).transitionDuration"
    )
    assert durations == "00s"
    assert visit.page.locator("html").get_attribute("lang") == "en"
