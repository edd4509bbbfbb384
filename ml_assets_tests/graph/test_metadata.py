"""Errors in previews, charts and metadata do not fail a step."""

import json
import logging
from datetime import datetime

import dagster as dg
import polars as pl

from ml_assets.defs.ingestion import assets as ingestion
from ml_assets.defs.metadata import figure, optional, preview, safe_metadata
from ml_assets.defs.training import leaderboard
from ml_assets.trips.month import Month
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_months import publish

LOG = logging.getLogger(__name__)


def fails(*_: object, **__: object) -> dict[str, bytes]:
    raise OverflowError("date value out of range")


def test_a_step_succeeds_without_its_metadata_and_charts(tmp_path, monkeypatch):
    for number in (1, 2, 3):
        publish(tmp_path / "published", Month(2023, number))
    monkeypatch.setattr(ingestion, "_table_metadata", fails)
    monkeypatch.setattr(ingestion, "_month_picture", fails)
    monkeypatch.setattr("ml_assets.defs.training.train_model.model_charts", fails)
    monkeypatch.setattr("ml_assets.defs.training.train_model._metadata", fails)
    monkeypatch.setattr(leaderboard, "_leaderboard_metadata", fails)
    with open_project(settings_for(tmp_path / "home", tmp_path / "published")) as project:
        assert project.ingest("2023-01", "2023-03").success
        kept = project.metadata("trip_features", "2023-03")
        assert kept["dagster/row_count"] == 200
        assert "OverflowError: date value out of range" in kept["not_shown"]
        assert project.train().success
        for asset in ("linear_regression_model", "model_leaderboard"):
            assert "OverflowError" in project.metadata(asset)["not_shown"]


def test_a_preview_shows_times_outside_of_python_s_calendar():
    microseconds = [0, 253_402_300_800_000_000, 2**63 - 1, -(2**63), None]
    for unit in ("ms", "us", "ns"):
        frame = pl.DataFrame(
            {"at": pl.Series(microseconds, dtype=pl.Int64).cast(pl.Datetime(unit))}
        )
        shown = [record.data["at"] for record in preview(frame, 5).value.records]
        assert shown[0] == str(datetime(1970, 1, 1))
        assert shown[4] is None
        if unit != "ns":  # nanoseconds reach the years 1677 to 2262
            assert shown[2] == f"{2**63 - 1:,} {unit} since 1970"


def test_numbers_without_a_json_form_are_shown_as_text():
    frame = pl.DataFrame({"miles": [float("nan"), float("inf"), 1.23456]})
    values = [record.data["miles"] for record in preview(frame, 3).value.records]
    assert values == ["nan", "inf", 1.2346]
    json.dumps(values, allow_nan=False)
    assert figure(float("inf")) == dg.MetadataValue.text("inf")
    assert figure(1.23456) == dg.MetadataValue.float(1.2346)


def test_a_panic_inside_polars_does_not_fail_the_metadata(caplog):
    def panics() -> dict[str, str]:
        raise pl.exceptions.PanicException("index out of bounds")

    shown = safe_metadata(LOG, "trip_features 2023-02", panics)
    assert "trip_features 2023-02" in shown["not_shown"]
    nothing: dict[str, str] = {}
    assert optional(LOG, "the chart", panics, nothing) == {}
    assert "the chart could not be made (PanicException: index out of bounds)" in caplog.text
