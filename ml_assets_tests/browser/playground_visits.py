"""Visits to the playground: a browser tab that may only reach the service."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import requests
import uvicorn

from ml_assets.serving.app import create_app
from ml_assets.serving.bundle import ServedModel
from ml_assets_tests.serving.fixed_model import FixedModel
from ml_assets_tests.serving.service_process import free_port
from ml_assets_tests.serving.two_versions import served_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from ml_assets_tests.browser.conftest import Pictures

PAGE_MILLISECONDS = 15_000
START_SECONDS = 30


class Visits:
    """Tabs of one test, and what went wrong in them."""

    def __init__(self, browser: "Browser", pictures: "Pictures") -> None:
        self._browser = browser
        self._pictures = pictures
        self._contexts: list[Any] = []
        self.elsewhere: list[str] = []
        self.errors: list[str] = []

    def open(
        self,
        address: str,
        request: dict[str, Any] | None = None,
        *,
        path: str = "/",
        **context: Any,
    ) -> "Visit":
        """Open a page, by default the playground on a desktop, with a request in its address.

        Args:
            address: Of the service.
            request: Its fields.
            path: Of the page.
            context: Options of Playwright's browser context (viewport, colours, time zone).
        """
        options = {"viewport": {"width": 1280, "height": 900}, **context}
        opened = self._browser.new_context(**options)
        self._contexts.append(opened)
        opened.set_default_timeout(PAGE_MILLISECONDS)
        opened.route(lambda url: not url.startswith(address), self._refuse)
        page = opened.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self._console(message.text))
        page.goto(f"{address}{path}" + (f"?{urlencode(request)}" if request else ""))
        return Visit(page, self._pictures)

    def close(self) -> None:
        """End the tabs."""
        for context in self._contexts:
            context.close()
        assert self.elsewhere == []
        assert self.errors == []

    def _refuse(self, route: Any) -> None:
        self.elsewhere.append(route.request.url)
        route.abort()

    def _console(self, text: str) -> None:
        if "Content Security Policy" in text:
            self.errors.append(text)


@dataclass
class Visit:
    """One tab."""

    page: "Page"
    pictures: "Pictures"

    def picture(self, name: str) -> None:
        """Take a screenshot."""
        self.pictures.take(self.page, f"playground_{name}")

    def field(self, label: str) -> "Locator":
        """A field of the form by its label."""
        return self.page.get_by_label(label, exact=True)

    def ready(self) -> "Visit":
        """Wait until zones have names and the model's card is there."""
        self.page.locator("#card dd", has_text="champion").wait_for()
        return self

    def predict(self) -> dict[str, Any]:
        """Press the button."""
        return self.predicting(self.page.get_by_role("button", name="Predict", exact=True).click)

    def predicting(self, act: Any) -> dict[str, Any]:
        """Return the response of the service, once the page shows it."""
        with self.page.expect_response(lambda answer: "/predict?" in answer.url) as caught:
            act()
        caught.value.finished()
        body = caught.value.json()
        if caught.value.ok:
            self.page.get_by_text(body["request_id"]).first.wait_for()
        return json.loads(caught.value.request.post_data or "")

    def minutes(self) -> float:
        """The minutes on the page, unrounded."""
        return float(self.page.locator("#minutes").get_attribute("value") or "nan")


class LocalService:
    """The service in this process, whose model and end are in the test's hands."""

    def __init__(self, model: ServedModel | None, token: str | None, port: int) -> None:
        self.models = FixedModel(model)
        self.address = f"http://127.0.0.1:{port}"
        app = create_app(self.models, token=token)
        config = uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def start(self) -> "LocalService":
        """Until it answers."""
        self._thread.start()
        end = time.monotonic() + START_SECONDS
        while not self._server.started:
            assert time.monotonic() < end and self._thread.is_alive()
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Wait until the service is down."""
        self._server.should_exit = True
        self._thread.join(START_SECONDS)
        assert not self._thread.is_alive()


@contextmanager
def local_service(
    model: ServedModel | None = None, token: str | None = None, port: int | None = None
) -> Iterator[LocalService]:
    """A service, by default without a model and for this machine only."""
    running = LocalService(model, token, port or free_port()).start()
    try:
        yield running
    finally:
        running.stop()


def small_model() -> ServedModel:
    """What a service answers with."""
    return served_model()


def predicted(address: str, request: dict[str, Any], **headers: str) -> dict[str, Any]:
    """What the service answers to a program."""
    answer = requests.post(f"{address}/predict", json=request, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.json()
