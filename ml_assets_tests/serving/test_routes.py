"""The files of the pages, and the data routes of the playground."""

import hashlib
import re
from base64 import b64encode
from pathlib import Path
from typing import cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import ml_assets.serving
from ml_assets.requests.validate import EARLIEST_PICKUP
from ml_assets.serving.app import create_app
from ml_assets.serving.bundle import ServedModel
from ml_assets_tests.serving.fixed_model import FixedModel
from ml_assets_tests.serving.two_versions import served_model
from ml_assets_tests.training.sample_trips import train_trips

PAGE = Path(ml_assets.serving.__file__).parent / "page"
FILES = sorted(path.name for path in PAGE.iterdir())
HERE, ADDRESS = ("127.0.0.1", 50000), "http://127.0.0.1:8000"
TOKEN = {"Authorization": "Bearer secret"}


def app_with(model: ServedModel | None, token: str | None = None) -> FastAPI:
    return create_app(FixedModel(model), token=token)


@pytest.fixture(scope="module")
def served() -> ServedModel:
    return served_model()


@pytest.fixture(scope="module")
def client(served):
    with TestClient(app_with(served), base_url=ADDRESS, client=HERE) as client:
        yield client


def test_the_policy_restricts_pages_to_their_server(client):
    for path in ("/", *(f"/page/{name}" for name in FILES)):
        response = client.get(path)
        assert response.status_code == 200, path
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
def test_page_files_follow_the_policy(name):
    text = (PAGE / name).read_text(encoding="utf-8")
    # The namespace of SVG is not fetched.
    assert re.findall(r"https?://[^\s\"'`]+", text) in ([], ["http://www.w3.org/2000/svg"])
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", text)
    assert "innerHTML" not in text  # what a person typed is never markup


def test_page_files_are_complete_and_all_used():
    texts = [(PAGE / name).read_text() for name in FILES]
    named = re.findall(r"(?:page|\.)/([\w.]+\.(?:js|css|svg))", "\n".join(texts))
    assert {*named, "index.html"} == {*FILES}


def test_swagger_ui_is_local_and_runs_one_inline_script(client):
    page = client.get("/docs")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {*named} == {
        "docs/swagger-ui-bundle.js", "docs/swagger-ui.css", "page/favicon.svg",
    }  # fmt: skip
    for file in [*named, "docs/LICENSE", "docs/NOTICE"]:
        assert client.get(f"/{file}").status_code == 200, file
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.headers["content-security-policy"]
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_page_files_are_revalidated_with_an_etag(client):
    first = client.get("/page/page.js")
    assert client.head("/").status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["content-type"].startswith("text/javascript")
    again = client.get("/page/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "%2e%2e", "%00", "a" * 5000])
def test_no_other_file_is_served(client, name):
    response = client.get(f"/page/{name}")
    assert response.status_code == 404


def test_the_zones_are_those_of_requests_and_have_distinct_labels(client):
    zones = client.get("/zones").json()
    assert [zone["zone"] for zone in zones] == [*range(1, 266)]
    assert all(zone["name"] and zone["borough"] for zone in zones)
    by_number = {zone["zone"]: zone["name"] for zone in zones}
    assert by_number[57] == by_number[56] == "Corona"
    assert by_number[103] == "Governor's Island/Ellis Island/Liberty Island"
    assert by_number[265] == "Outside of New York City"


def test_typical_distance_is_near_the_median_of_past_trips(client):
    trips = train_trips()
    fit = trips[trips["trip_distance"].between(0.05, 60)]
    pairs = fit.groupby(["PULocationID", "DOLocationID"])["trip_distance"]
    pickup, dropoff = cast("tuple[int, int]", pairs.size().idxmax())
    query = {"PULocationID": int(pickup), "DOLocationID": int(dropoff)}
    miles = client.get("/typical-distance", params=query).json()["trip_distance"]
    low, high = pairs.get_group((pickup, dropoff)).quantile([0.2, 0.8])
    assert low <= miles <= high


@pytest.mark.parametrize("zone", ["0", "266", "abc", "", "1e3", "7.5"])
def test_typical_distance_of_an_invalid_zone_is_rejected(client, zone):
    response = client.get("/typical-distance", params={"PULocationID": 74, "DOLocationID": zone})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "DOLocationID"]


def test_without_a_champion_the_page_is_served_and_the_error_says_what_to_do():
    with TestClient(app_with(None), base_url=ADDRESS, client=HERE) as client:
        assert client.get("/").status_code == 200
        assert len(client.get("/zones").json()) == 265
        query = {"PULocationID": 74, "DOLocationID": 75}
        response = client.get("/typical-distance", params=query)
    assert response.status_code == 503
    assert "ml-assets run" in response.json()["detail"]


def test_with_a_token_the_page_is_public_and_its_data_is_not(served):
    pair = "/typical-distance?PULocationID=74&DOLocationID=75"
    with TestClient(app_with(served, "secret")) as client:
        for path in ("/", "/page/page.js", "/docs", "/docs/swagger-ui-bundle.js"):
            assert client.get(path).status_code == 200
        for path in ("/zones", pair):
            assert client.get(path).status_code == 401
            assert client.get(path, headers=TOKEN).status_code == 200


TEXT_CONTRAST, MARK_CONTRAST = 4.5, 3.0
READ_ON = [
    ("ink", ("page", "card", "field", "code", "accent-pale"), TEXT_CONTRAST),
    ("quiet", ("page", "card", "accent-pale"), TEXT_CONTRAST),
    ("accent", ("page", "card", "accent-pale"), TEXT_CONTRAST),
    ("on-accent", ("accent", "accent-pressed"), TEXT_CONTRAST),
    ("wrong", ("card",), TEXT_CONTRAST),
    ("warn-ink", ("warn",), TEXT_CONTRAST),
    ("field-edge", ("card", "field"), MARK_CONTRAST),
    ("longer", ("card",), MARK_CONTRAST),
    ("shorter", ("card",), MARK_CONTRAST),
    ("band", ("card",), MARK_CONTRAST),
    ("ink", ("band", "track"), MARK_CONTRAST),
]
"""Text and background colours with their minimum contrast (WCAG 2.2, level AA)."""


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_enough_contrast(scheme):
    blocks = re.findall(r":root \{(.*?)\}", (PAGE / "colours.css").read_text(), re.DOTALL)
    assert len(blocks) == 2
    colours = dict(re.findall(r"--([a-z-]+): #([0-9a-f]{6});", blocks[scheme]))
    for ink, grounds, minimum in READ_ON:
        for ground in grounds:
            assert contrast(colours[ink], colours[ground]) >= minimum, (ink, ground)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours by WCAG's formula."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_page_accepts_times_from_the_earliest_valid_one():
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'type="datetime-local" min="([^"]*)"', page) == [
        EARLIEST_PICKUP.isoformat(timespec="minutes")
    ]
