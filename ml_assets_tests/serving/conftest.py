"""The application itself, called without a process and a network."""

import pytest
from fastapi.testclient import TestClient

from ml_assets.pipeline.predict import Model
from ml_assets.serving.bundle import ModelCard, ServedModel
from ml_assets_tests.serving.two_versions import TAGS, small_pipeline

HERE, ELSEWHERE = ("127.0.0.1", 50000), ("192.0.2.7", 50000)


def calling(app, client=HERE):
    """A client of the service, on this machine unless it is told otherwise."""
    return TestClient(app, base_url="http://127.0.0.1:8000", client=client)


@pytest.fixture(scope="module")
def served():
    facts = {**TAGS, "training_months": ["2023-01"], "validation_months": ["2023-03"]}
    card = ModelCard(version="7", loaded_at="2026-01-01T00:00:00Z", **facts)
    return ServedModel(Model(small_pipeline(1.0), "7"), card)
