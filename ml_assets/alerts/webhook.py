"""An alert to a Slack-compatible webhook."""

import requests

from ml_assets.alerts.alert import Alert

TIMEOUT_SECONDS = 15.0


def send_webhook(alert: Alert, url: str, timeout: float = TIMEOUT_SECONDS) -> None:
    """Post ``{"text": …}``.

    Raises:
        requests.RequestException: when it is not reached or refuses; its text holds the URL.
    """
    answer = requests.post(url, json={"text": alert.text}, timeout=timeout, allow_redirects=False)
    if answer.status_code // 100 != 2:
        raise requests.HTTPError(f"HTTP {answer.status_code}", response=answer)
