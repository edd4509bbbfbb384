"""Requests generated from the OpenAPI document get only documented responses, and no 500."""

import json
import os
import subprocess
import sys

import pytest

from ml_assets_tests.serving.service_process import GOOD, running_service
from ml_assets_tests.serving.two_versions import served_home

EXAMPLES = os.environ.get("ML_ASSETS_FUZZ_EXAMPLES")
"""Random cases per operation of a longer, non-deterministic run."""
CONFIGURATION = """[checks]
positive_data_acceptance.expected-statuses = [200, 413]
negative_data_rejection.expected-statuses = [404, 405, 413, 422]
"""
"""The schema does not limit the length of a list, so a valid list may be too long."""
FEW = ["--max-examples", "50", "--generation-deterministic"]
MIN_CASES = 300
MAX_SECONDS = 1800


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    with running_service(served_home(folder / "home").variables, folder / "log") as running:
        yield running


def test_responses_match_the_openapi_document(service, tmp_path):
    """Valid requests are accepted and others rejected, with documented status, type and schema."""
    report = tmp_path / "report.json"
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    command = [
        sys.executable, "-m", "schemathesis.cli", "run",
        f"http://127.0.0.1:{service.port}/openapi.json",
        "--checks", "all", "--mode", "all", "--phases", "examples,coverage,fuzzing",
        "--continue-on-failure", "--no-color", "--report", "json",
        "--report-json-path", str(report),
        *(["--max-examples", EXAMPLES] if EXAMPLES else FEW),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=MAX_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    report_content = json.loads(report.read_text())
    print(report_content["test_cases"], report_content["valid_rates"])
    assert report_content["complete"]
    assert report_content["operations"]["tested"] == report_content["operations"]["total"] >= 6
    assert report_content["test_cases"]["generated"] >= MIN_CASES
    assert report_content["valid_rates"]["POST /predict"]["fuzzing"]["accepted"] > 0
    assert service.request("POST", "/predict", GOOD).status == 200
    assert "Traceback" not in service.log.read_text()
