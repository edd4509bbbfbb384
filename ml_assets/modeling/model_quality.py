"""Is a fitted model fit to serve? Pure rules behind the asset checks on models."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ml_assets.modeling.evaluation import beats_baselines, measure, predictions_sane
from ml_assets.modeling.records import ModelRecord
from ml_assets.trips.quality import Finding, Verdict

if TYPE_CHECKING:
    import numpy.typing as npt

FIT_SECONDS_AT_LEAST = 60.0
FIT_SECONDS_PER_MILLION_TRIPS = 300.0
"""Seven families on a year of green trips (0.8 M) then end within half an hour on two cores."""

SAME_FIGURES = 1e-9
"""Relative difference up to which figures count as the same: threads that add up trees in another
order change the last bits of a forest's predictions."""


def predictions_digest(predicted: "npt.ArrayLike") -> str:
    """SHA-256 over predictions as little-endian doubles, in order: equal means bit for bit."""
    return hashlib.sha256(np.ascontiguousarray(predicted, dtype="<f8").tobytes()).hexdigest()


def better_than_baselines(record: ModelRecord, baselines: Sequence[ModelRecord]) -> Finding:
    """The model's RMSE is below that of every baseline on the same judged month."""
    found = beats_baselines(record.test, {row.model: row.test for row in baselines})
    best = min(row.test.rmse for row in baselines)
    verdict = Verdict.FINE if found.passed else Verdict.ODD
    way_out = "" if found.passed else ": more trials or months may mend it; it is never served so"
    return Finding(verdict, found.reason + way_out, record.test.rmse, 0.0, best)


def sane_predictions(predicted: "npt.ArrayLike") -> Finding:
    """Every prediction is finite and a possible number of minutes."""
    found = predictions_sane(predicted)
    verdict = Verdict.FINE if found.passed else Verdict.REFUSED
    return Finding(verdict, found.reason, found.figures.get("longest"))


def same_predictions(
    record: ModelRecord, predicted: "npt.ArrayLike", actual: "npt.ArrayLike"
) -> Finding:
    """A model that was stored and loaded again predicts what it predicted before.

    Equal digests mean bit for bit. Without that, figures over the whole judged month have to agree
    to ``SAME_FIGURES``, which no other model's would.

    Args:
        record: Of the process that fitted the model.
        predicted: Of the loaded model for the same judged month, minutes.
        actual: Durations of that month, minutes.
    """
    minutes = np.asarray(predicted, dtype=np.float64)
    if record.predictions_sha256 == predictions_digest(minutes):
        sentence = f"bit for bit the same {len(minutes):,} predictions"
        return Finding(Verdict.FINE, sentence, 0.0, 0.0, SAME_FIGURES)
    way_out = "materialize the model again, with the library versions that load it"
    if not np.isfinite(minutes).all():
        sentence = f"stored and loaded again, its predictions are not all finite; {way_out}"
        return Finding(Verdict.REFUSED, sentence)
    before, after = record.test.model_dump(), measure(actual, minutes).as_dict()
    names = ("rmse", "mae", "mape", "share_within_5_minutes", "rows")
    apart = max(abs(after[name] - before[name]) / max(abs(before[name]), 1e-12) for name in names)
    if apart <= SAME_FIGURES:
        return Finding(
            Verdict.FINE,
            f"the same {len(minutes):,} predictions but for their last bits (figures {apart:.0e} "
            "apart): threads add up in another order",
            apart,
            0.0,
            SAME_FIGURES,
        )
    return Finding(
        Verdict.REFUSED,
        f"stored and loaded again it predicts otherwise: RMSE {after['rmse']:.6f} instead of "
        f"{before['rmse']:.6f}; {way_out}",
        apart,
        0.0,
        SAME_FIGURES,
    )


def fit_time_within_budget(record: ModelRecord, trips: int) -> Finding:
    """Fitting took no longer than the budget for so many trips.

    Args:
        record: Of the model.
        trips: How many it was fitted on.
    """
    budget = max(FIT_SECONDS_AT_LEAST, FIT_SECONDS_PER_MILLION_TRIPS * trips / 1e6)
    sentence = f"fitted on {trips:,} trips in {record.fit_seconds:.1f} s, budget {budget:.0f} s"
    if record.fit_seconds <= budget:
        return Finding(Verdict.FINE, sentence, record.fit_seconds, 0.0, budget)
    sentence += ": fewer trees or months, or more cores, make it faster"
    return Finding(Verdict.ODD, sentence, record.fit_seconds, 0.0, budget)
