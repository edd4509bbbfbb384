"""Metadata of ``feature_drift`` and ``prediction_performance``."""

import dagster as dg

from ml_assets.defs.common import dataset_label
from ml_assets.defs.metadata import figure, table
from ml_assets.monitoring import MEASURED
from ml_assets.monitoring.drift.records import DriftRecord, drift_summary
from ml_assets.monitoring.performance.records import PerformanceRecord, performance_summary
from ml_assets.training.windows import span
from ml_assets.trips.month import Month

_MAX_ROWS = 60


def drift_metadata(record: DriftRecord) -> dict[str, dg.MetadataValue]:
    """Return the figures of the newest month, the table of months, and the chart."""
    metadata = _common_metadata(record, drift_summary(record))
    if record.status != MEASURED or not record.months:
        return metadata
    newest = record.months[-1]
    feature, index = newest.worst
    metadata |= {
        "reference": dg.MetadataValue.text(span([Month.parse(text) for text in record.reference])),
        "reference_trips": dg.MetadataValue.int(record.reference_trips),
        "limit": figure(record.limit),
        "newest_month": dg.MetadataValue.text(newest.month),
        "worst_feature": dg.MetadataValue.text(feature),
        "worst_index": figure(index),
        **{f"psi/{name}": figure(value) for name, value in newest.psi.items()},
        "months": table(
            [
                {
                    "month": entry.month,
                    "worst": entry.worst[0],
                    **entry.psi,
                    "trips": entry.trips,
                    "training_month": "yes" if entry.in_reference else "",
                }
                for entry in reversed(record.months)
            ]
        ),
    }
    return metadata | _drift_chart(record)


def performance_metadata(record: PerformanceRecord) -> dict[str, dg.MetadataValue]:
    """Return the figures of the newest unseen month, the table of scores, and the chart."""
    metadata = _common_metadata(record, performance_summary(record))
    if record.status == MEASURED:
        metadata |= _champion_metadata(record)
    if record.scores:
        rows = [
            score.model_dump(exclude={"raw_sha256", "run_id"}) for score in reversed(record.scores)
        ]
        metadata["scores"] = table(rows[:_MAX_ROWS])
    return metadata | _error_chart(record)


def _champion_metadata(record: PerformanceRecord) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {}
    reference, limit = record.references.get(record.champion), record.limit_of(record.champion)
    if reference is not None and limit is not None:
        metadata["reference_month"] = dg.MetadataValue.text(reference.month)
        metadata["reference_relative_error"] = figure(reference.relative_error)
        metadata["limit"] = figure(limit)
    unseen = [score for score in record.scores_of(record.champion) if not score.seen]
    if unseen:
        newest = unseen[-1]
        metadata |= {
            "newest_month": dg.MetadataValue.text(newest.month),
            "rmse": figure(newest.rmse),
            "mae": figure(newest.mae),
            "relative_error": figure(newest.relative_error),
            "trips_scored": dg.MetadataValue.int(newest.trips),
        }
    return metadata


def _common_metadata(
    record: DriftRecord | PerformanceRecord, summary: str
) -> dict[str, dg.MetadataValue]:
    trips = dataset_label(record.dataset, synthetic=record.synthetic)
    metadata: dict[str, dg.MetadataValue] = {
        "status": dg.MetadataValue.text(record.status.replace("_", " ")),
        "finding": dg.MetadataValue.text(summary),
        "trips": dg.MetadataValue.text(trips),
    }
    if record.version is not None:
        champion = f"{record.model}, version {record.version}"
        metadata["champion"] = dg.MetadataValue.text(champion)
    if record.skipped:
        rows = [{"month": month, "why": why} for month, why in record.skipped.items()]
        metadata["skipped"] = table(rows)
    return metadata


def _drift_chart(record: DriftRecord) -> dict[str, dg.MetadataValue]:
    from ml_assets.reporting.monitoring_charts import drift_lines

    return _chart(drift_lines(record), "stability index of every feature by month")


def _error_chart(record: PerformanceRecord) -> dict[str, dg.MetadataValue]:
    from ml_assets.reporting.monitoring_charts import error_lines

    return _chart(error_lines(record), "relative error of each champion by month")


def _chart(chart: bytes | None, alt_text: str) -> dict[str, dg.MetadataValue]:
    from ml_assets.reporting.charts import as_markdown_image

    if chart is None:
        return {}
    return {"chart": dg.MetadataValue.md(as_markdown_image(chart, alt_text))}
