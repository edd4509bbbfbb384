"""A person without code asks for minutes, and gets what a program gets."""

import json
import re
import subprocess
from datetime import datetime

import pytest

from ml_assets.trips.month import NEW_YORK
from ml_assets_tests.browser.playground_visits import Visit, Visits, predicted
from ml_assets_tests.serving.service_process import Service

pytestmark = pytest.mark.browser

RIDE = {
    "PULocationID": 74,
    "DOLocationID": 75,
    "trip_distance": 2.5,
    "pickup_datetime": "2024-05-06T17:30",
}


@pytest.fixture
def address(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


@pytest.fixture
def visit(visits: Visits, address: str) -> Visit:
    return visits.open(address).ready()


def test_first_click_answers_with_what_the_api_says(visit, address):
    visit.picture("before")
    sent = visit.predict()
    visit.picture("after")
    predictions = predicted(address, sent)
    assert visit.minutes() == predictions["predicted_minutes"]
    assert visit.page.locator("#minutes").inner_text() == f"{predictions['predicted_minutes']:.1f}"
    assert "trip_distance" not in sent
    words = visit.page.locator("#words").inner_text()
    assert words == (
        f"For the usual {predictions['distance_miles']:.1f} miles, 80 of 100 such trips take between "
        f"{predictions['lower_minutes']:.1f} and {predictions['upper_minutes']:.1f} minutes."
    )


@pytest.mark.parametrize(
    "request_",
    [
        RIDE,
        {**RIDE, "passenger_count": 5},
        {**RIDE, "PULocationID": 132, "DOLocationID": 1, "trip_distance": 17.25},
        {**RIDE, "PULocationID": 264, "DOLocationID": 265, "trip_distance": 0},
        {**RIDE, "PULocationID": 57, "DOLocationID": 56, "trip_distance": 0.1},
        {**RIDE, "trip_distance": 1000, "pickup_datetime": "2009-01-01T00:00"},
        {**RIDE, "trip_distance": 1e-7, "pickup_datetime": "2024-03-10T02:30"},
    ],
    ids=lambda request: "-".join(str(value) for value in request.values()),
)
def test_page_and_api_give_the_same_minutes(visits, address, request_):
    visit = visits.open(address, request_).ready()
    assert visit.predict() == request_
    typed = {name: str(value) for name, value in request_.items()}
    predictions = predicted(address, typed)  # as the reference's body has them
    assert (
        visit.minutes()
        == predictions["predicted_minutes"]
        == predicted(address, request_)["predicted_minutes"]
    )


def test_bars_show_the_contributions(visit):
    visit.field("Distance (optional)").fill("12")
    visit.predict()
    raw = json.loads(visit.page.locator("#raw").text_content())
    explanation = raw["explanation"]
    values = visit.page.locator("#pushes .value")
    shown = [float(value.get_attribute("data-minutes")) for value in values.all()]
    assert sorted(shown) == sorted(explanation["contributions"].values())
    assert explanation["baseline_minutes"] + sum(shown) == pytest.approx(visit.minutes())
    assert shown == sorted(shown, key=abs, reverse=True)
    distance = visit.page.locator("#pushes > div", has_text="Distance")
    push = explanation["contributions"]["trip_distance"]
    expected = f"{'−' if push < 0 else '+'}{abs(push):.1f} min"
    assert distance.locator(".value").inner_text() == expected
    bar = distance.locator(".bar span")
    assert bar.get_attribute("class") == ("shorter" if push < 0 else "longer")
    assert (
        f"{explanation['baseline_minutes']:.1f} minutes"
        in visit.page.locator("#pushed").inner_text()
    )


@pytest.mark.parametrize(
    ("typed", "distance", "words"),
    [
        ("", "usual", r"For the usual \d+\.\d miles, 80 of"),
        ("3", "stated", "If the ride is 3 miles long, as you stated, 80 of"),
        ("1", "stated", "If the ride is 1 mile long, as you stated, 80 of"),
        ("7.25", "stated", r"If the ride is 7\.25 miles long, as you stated, 80 of"),
        ("0", "usual", r"For the usual \d+\.\d miles \(0 is not plausible\), 80 of"),
        ("99", "usual", r"For the usual \d+\.\d miles \(99 is not plausible\), 80 of"),
    ],
)
def test_words_and_command_are_of_the_distance_that_was_sent(visit, typed, distance, words):
    visit.field("Distance (optional)").fill(typed)
    sent = visit.predict()
    assert sent.get("trip_distance") == (float(typed) if typed else None)
    answer = json.loads(visit.page.locator("#raw").text_content())
    assert answer["distance"] == distance
    assert re.match(words, visit.page.locator("#words").inner_text())
    shown = visit.page.locator("#pushes > div", has_text="Distance").inner_text()
    miles = answer["distance_miles"]
    assert (f"{miles:g} miles, " if distance == "stated" else f"usual {miles:.1f} miles") in shown
    command = visit.page.locator("#command").inner_text()
    assert json.loads(command.rpartition("-d '")[2].removesuffix("'")) == sent
    assert ("trip_distance" in visit.page.url) == bool(typed)


def test_command_run_by_a_shell_gives_the_same_minutes(visits, address):
    context = {"permissions": ["clipboard-read", "clipboard-write"]}
    visit = visits.open(address, RIDE, **context).ready()
    visit.predict()
    visit.page.get_by_role("button", name="Copy").click()
    visit.page.get_by_text("Copied.").wait_for()
    command = visit.page.evaluate("navigator.clipboard.readText()")
    assert command == visit.page.locator("#command").inner_text()
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout)["predicted_minutes"] == visit.minutes()


def test_quotes_stay_whole_in_the_command(visit, tmp_path):
    visit.field("Distance (optional)").fill("""it's "far"; $(touch made) `touch made`""")
    sent = visit.predict()
    command = visit.page.locator("#command").inner_text()
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, check=True, timeout=60, cwd=tmp_path
    )
    assert "it's" in sent["trip_distance"]
    assert "it's" in json.loads(done.stdout)["detail"][0]["msg"]
    assert list(tmp_path.iterdir()) == []


def test_whole_way_by_keyboard(visit):
    page, press = visit.page, visit.page.keyboard.press
    press("Tab")
    assert focused(visit) == "Skip to the form"
    press("Enter")
    press("Tab")
    assert page.evaluate("document.activeElement.id") == "pickup"
    page.keyboard.type("upper west")
    press("ArrowDown")
    press("ArrowUp")
    press("ArrowDown")
    active = page.locator("#pickup").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").inner_text().startswith("Upper West Side South")
    press("Enter")
    assert visit.field("Pick-up zone").input_value() == "Upper West Side South (239)"
    press("Tab")
    assert focused(visit).startswith("⇅ Swap")
    press("Tab")
    page.keyboard.type("jfk")
    press("Tab")
    assert visit.field("Drop-off zone").input_value() == "JFK Airport (132)"
    assert page.evaluate("document.activeElement.id") == "miles"
    page.keyboard.type("17.5")
    sent = visit.predicting(lambda: press("Enter"))
    assert sent["PULocationID"] == 239
    assert sent["DOLocationID"] == 132
    assert sent["trip_distance"] == 17.5


def focused(visit: Visit) -> str:
    return visit.page.evaluate("document.activeElement.textContent.trim()")


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("jfk", 132),
        ("north harlem east", 74),
        ("74", 74),
        ("HARLEM NORTH, east manhattan", 74),
        ("prince’s bay", 84),
        ("princes", 84),
        ("newark", 1),
        ("corona queens 57", 57),
        ("265", 265),
        ("outside", 265),
        ("unknown", 264),
        ("Corona (57)", 57),
    ],
)
def test_zone_is_found_by_any_part_of_it(visit, typed, number):
    field = visit.field("Pick-up zone")
    field.fill(typed)
    field.press("Tab")
    assert field.input_value().endswith(f"({number})")
    assert visit.predict()["PULocationID"] == number


def test_zones_of_the_same_name_are_distinguished(visit):
    visit.field("Pick-up zone").fill("governor")
    options = visit.page.get_by_role("option")
    assert [text.split()[-1] for text in options.all_inner_texts()] == ["103", "104", "105"]
    visit.picture("namesakes")
    options.nth(1).click()
    assert visit.field("Pick-up zone").input_value().endswith("Liberty Island (104)")
    assert visit.predict()["PULocationID"] == 104


def test_borough_lists_its_zones_and_escape_leaves_the_list(visit):
    field = visit.field("Drop-off zone")
    field.fill("staten island")
    options = visit.page.get_by_role("option")
    assert options.count() == 20
    assert all("Staten Island" in text for text in options.all_inner_texts())
    field.press("Escape")
    assert options.count() == 0
    assert field.get_attribute("aria-expanded") == "false"


def test_usual_distance_follows_the_zones_and_is_sent_only_if_a_person_states_it(visit, service):
    miles = visit.field("Distance (optional)")

    def usual(pickup: int, dropoff: int) -> str:
        path = f"/typical-distance?PULocationID={pickup}&DOLocationID={dropoff}"
        return f"{service.request('GET', path).content['trip_distance']:.1f}"

    choose(visit, "Pick-up zone", "75")
    choose(visit, "Drop-off zone", "41")
    visit.page.get_by_text(f"Left empty: the usual {usual(75, 41)} miles").wait_for()
    assert miles.get_attribute("placeholder") == usual(75, 41)
    assert miles.input_value() == ""
    assert "trip_distance" not in visit.predict()
    miles.fill("9,5")
    choose(visit, "Drop-off zone", "132")
    visit.page.get_by_text(f"Usual: {usual(75, 132)} miles").wait_for()
    assert miles.input_value() == "9.5"  # with the point that the service reads
    assert visit.page.locator("#kilometres").inner_text() == "= 15.3 km"
    assert visit.predict()["trip_distance"] == 9.5
    visit.page.get_by_role("button", name="Use it").click()
    assert miles.input_value() == ""
    assert "trip_distance" not in visit.predict()


def choose(visit: Visit, label: str, zone: str) -> None:
    visit.field(label).fill(zone)
    visit.field(label).press("Enter")


def test_time_is_new_yorks_wherever_the_reader_is(visits, address):
    visit = visits.open(address, timezone_id="Asia/Tokyo").ready()
    shown = datetime.fromisoformat(visit.field("Pick-up time").input_value())
    here = datetime.now(NEW_YORK).replace(tzinfo=None)
    assert abs((here - shown).total_seconds()) < 180
    visit.field("Pick-up time").fill("2024-05-06T17:30")
    assert visit.predict()["pickup_datetime"] == "2024-05-06T17:30"
    assert "5:30 PM" in visit.page.locator("#pushes").inner_text()
    visit.field("Pick-up time").fill("")
    assert "pickup_datetime" not in visit.predict()


def test_card_says_what_answers_and_that_the_trips_were_made_up(visit):
    card = visit.page.locator("section.model")
    text = card.inner_text()
    assert "Synthetic sample data." in text
    terms, values = (card.locator(tag).all_inner_texts() for tag in ("dt", "dd"))
    rows = dict(zip(terms, values, strict=True))
    assert rows["Version"] == "1 (champion)"
    assert rows["Trained on"] == "Jan 2023 to Feb 2023"
    assert rows["Tested on"] == "Apr 2023"
    assert re.match(r"4\.00 minutes", rows["Test error"])
