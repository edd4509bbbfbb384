"""What the pages of ``feature_drift`` and ``prediction_performance`` show."""

import dagster as dg

from ml_assets.defs.common import dataset_label
from ml_assets.defs.metadata import figure, table
from ml_assets.monitoring.drift.records import DriftRecord, drift_sentence
from ml_assets.monitoring.performance.records import PerformanceRecord, performance_sentence
from ml_assets.monitoring.status import MEASURED
from ml_assets.training.windows import span
from ml_assets.trips.month import Month

_SHOWN_ROWS = 60


def drift_metadata(record: DriftRecord) -> dict[str, dg.MetadataValue]:
    """Figures of the newest month, every month as a table, and the chart."""
    shown = _told(record, drift_sentence(record))
    if record.status != MEASURED or not record.months:
        return shown
    newest = record.months[-1]
    feature, index = newest.worst
    shown |= {
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
                    "fitted_on": "yes" if entry.in_reference else "",
                }
                for entry in reversed(record.months)
            ]
        ),
    }
    return shown | _chart_of_drift(record)


def performance_metadata(record: PerformanceRecord) -> dict[str, dg.MetadataValue]:
    """Figures of the newest month that the champion had not seen, all scores, and the chart."""
    shown = _told(record, performance_sentence(record))
    if record.status == MEASURED:
        shown |= _figures_of_champion(record)
    if record.scores:
        rows = [
            score.model_dump(exclude={"raw_sha256", "run_id"}) for score in reversed(record.scores)
        ]
        shown["scores"] = table(rows[:_SHOWN_ROWS])
    return shown | _chart_of_error(record)


def _figures_of_champion(record: PerformanceRecord) -> dict[str, dg.MetadataValue]:
    shown: dict[str, dg.MetadataValue] = {}
    reference, limit = record.references.get(record.champion), record.limit_of(record.champion)
    if reference is not None and limit is not None:
        shown["reference_month"] = dg.MetadataValue.text(reference.month)
        shown["reference_relative_error"] = figure(reference.relative_error)
        shown["limit"] = figure(limit)
    unseen = [score for score in record.scores_of(record.champion) if not score.seen]
    if unseen:
        newest = unseen[-1]
        shown |= {
            "newest_month": dg.MetadataValue.text(newest.month),
            "rmse": figure(newest.rmse),
            "mae": figure(newest.mae),
            "relative_error": figure(newest.relative_error),
            "trips_scored": dg.MetadataValue.int(newest.trips),
        }
    return shown


def _told(record: DriftRecord | PerformanceRecord, sentence: str) -> dict[str, dg.MetadataValue]:
    trips = dataset_label(record.dataset, synthetic=record.synthetic)
    shown: dict[str, dg.MetadataValue] = {
        "status": dg.MetadataValue.text(record.status.replace("_", " ")),
        "finding": dg.MetadataValue.text(sentence),
        "trips": dg.MetadataValue.text(trips),
    }
    if record.version is not None:
        champion = f"{record.model}, version {record.version}"
        shown["champion"] = dg.MetadataValue.text(champion)
    if record.skipped:
        rows = [{"month": month, "why": why} for month, why in record.skipped.items()]
        shown["skipped"] = table(rows)
    return shown


def _chart_of_drift(record: DriftRecord) -> dict[str, dg.MetadataValue]:
    from ml_assets.reporting.monitoring_charts import drift_lines

    return _chart(drift_lines(record), "stability index of every feature by month")


def _chart_of_error(record: PerformanceRecord) -> dict[str, dg.MetadataValue]:
    from ml_assets.reporting.monitoring_charts import error_lines

    return _chart(error_lines(record), "relative error of what served by month")


def _chart(picture: bytes | None, shows: str) -> dict[str, dg.MetadataValue]:
    from ml_assets.reporting.charts import as_markdown_image

    if picture is None:
        return {}
    return {"chart": dg.MetadataValue.md(as_markdown_image(picture, shows))}
