"""The application, called without a process and a network."""

import pytest
from fastapi.testclient import TestClient

from ml_assets_tests.serving.two_versions import served_model

HERE, ELSEWHERE = ("127.0.0.1", 50000), ("192.0.2.7", 50000)


def client_for(app, client=HERE):
    """Return a client of an application, by default on this machine."""
    return TestClient(app, base_url="http://127.0.0.1:8000", client=client)


@pytest.fixture(scope="module")
def served():
    return served_model("7")
