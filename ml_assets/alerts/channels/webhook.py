"""An alert to a Slack-compatible webhook."""

import json
import ssl
from http.client import HTTPResponse
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from ml_assets.alerts.alert import Alert

TIMEOUT_SECONDS = 5.0


class _NoRedirects(HTTPRedirectHandler):
    """The message is for the server that was named, and for no other."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Treat a redirect as the failure that it is."""


def send_webhook(alert: Alert, url: str, timeout: float = TIMEOUT_SECONDS) -> None:
    """Post ``{"text": …}``.

    Not by ``requests``: what lies below it writes the path of each URL, here a secret, to its log.

    Raises:
        OSError: when it is not reached or refuses; its text may hold the URL.
    """
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    body = json.dumps({"text": as_slack_shows_it(alert.text)}).encode()
    request = Request(url, body, {"Content-Type": "application/json", "User-Agent": "ml-assets"})
    opener = build_opener(_NoRedirects, HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=timeout) as answer:
            assert isinstance(answer, HTTPResponse)
            answer.read(1000)
    except HTTPError as error:
        error.close()
        raise


def as_slack_shows_it(text: str) -> str:
    """The text so that it is shown as it is: ``<!channel>`` in an error shall call nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
