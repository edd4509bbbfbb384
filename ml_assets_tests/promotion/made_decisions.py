"""Decisions as trainings leave them, without the training."""

from typing import Any

from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.records import TrainingSet


def decision_on(training_set: TrainingSet, **changed: object) -> ChampionDecision:
    """A promotion on this training set, with what is to be otherwise."""
    made: dict[str, Any] = {
        "promoted": True,
        "reason": "better",
        "champion": "xgboost",
        "registry_version": "1",
        "previous_version": None,
        "training_set": training_set.fingerprint,
        "synthetic": False,
        "description": "xgboost",
        "test_rmse": 1.0,
        "months": training_set.months,
        "decision_id": "d1",
        "decided_at": "2026-11-01T00:00:00+0000",
    }
    return ChampionDecision(**{**made, **changed})
