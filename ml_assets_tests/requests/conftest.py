"""Fixtures of the tests of batch predictions."""

import pytest

from ml_assets.requests import request_files
from ml_assets.requests.batch import predict_file
from ml_assets_tests.requests.batch_files import NOW, model


@pytest.fixture
def predict(tmp_path, monkeypatch):
    """Predict a file, by default in chunks of three rows."""

    def predicted(source, out="answers.jsonl", chunk_rows=3, by=None, **options):
        monkeypatch.setattr(request_files, "CHUNK_ROWS", chunk_rows)
        return predict_file(by or model(), source, tmp_path / out, now=NOW, **options)

    return predicted
