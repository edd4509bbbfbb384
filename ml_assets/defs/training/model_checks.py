"""Checks of models: accuracy, range of predictions, serialization, leakage, and fitting time.

They load every model from MLflow and predict the whole test month. None is blocking: a poor family
must not stop the comparison of the others. Nor is the check of the leaderboard's best model: the
promotion applies the same rules and records why a model is rejected.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from ml_assets.defs.check_results import single_result
from ml_assets.defs.common import CHAMPION_MODEL
from ml_assets.defs.metadata import figure, table
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.defs.training.models import model_asset_name
from ml_assets.evaluation.records import (
    ChampionDecision,
    IntervalRecord,
    Leaderboard,
    ModelRecord,
    TrainingSet,
)
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.training.families import FAMILIES
from ml_assets.trips.quality import Finding, Verdict, worst

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ml_assets.evaluation.model_checks import TestSet

_SPECS = {
    "better_than_baselines": "RMSE below that of every baseline on the same test month.",
    "predictions_in_range": "Every prediction is finite and a possible number of minutes.",
    "serialization_round_trip": "Stored and loaded again, the model predicts the same.",
    "no_test_leakage": "Neither its months nor its error indicate that it has seen the test month, "
    "and its error is the same on slightly changed copies of the test trips.",
    "fit_time_within_budget": "Fitting takes no more processor time than the budget for the number "
    "of trips.",
    "interval_coverage": "The intervals cover their nominal share of test trips, within 3 points.",
}
_NOT_APPLIED_TO_THE_WINNER = ("fit_time_within_budget", "interval_coverage")
_LEADERBOARD = dg.AssetKey("model_leaderboard")
_WINNER = dg.AssetCheckKey(_LEADERBOARD, "best_model_is_servable")


def model_checks() -> list[dg.AssetChecksDefinition]:
    """The checks of every family's model, of the winner and of the champion."""
    return [_model_checks(), champion_checks]


def _model_checks() -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(
            name,
            asset=model_asset_name(family),
            description=description,
            additional_deps=[_LEADERBOARD],
        )
        for family in FAMILIES
        for name, description in _SPECS.items()
    ]
    winner = dg.AssetCheckSpec(
        _WINNER.name,
        asset=_WINNER.asset_key,
        description="The best model beats the baselines, is sane, predicts the same once loaded, "
        "and has not seen the test month. Otherwise `champion_model` does not promote it.",
    )

    @dg.multi_asset_check(name="model_checks", specs=[*specs, winner], can_subset=True)
    def model_checks(
        context: dg.AssetCheckExecutionContext,
        trip_store: TripStoreResource,
        tracking: MlflowTracking,
    ) -> Iterator[dg.AssetCheckResult]:
        """Load the models that this run speaks of and hold them to their rules."""
        tracking.reader()
        models = _CheckedModels.of(trip_store)
        selected = context.selected_asset_check_keys
        for family in FAMILIES:
            asset = dg.AssetKey(model_asset_name(family))
            keys = sorted(key for key in selected if key.asset_key == asset)
            findings = models.findings(family) if keys else {}
            for key in keys:
                shown = models.slices(asset) if key.name == "interval_coverage" else None
                yield single_result(key, findings[key.name], shown)
        if _WINNER in selected:
            yield single_result(_WINNER, models.winner())

    return model_checks


@dg.multi_asset_check(
    name="champion_checks",
    specs=[
        dg.AssetCheckSpec(
            "champion_matches_evaluation",
            asset=CHAMPION_MODEL,
            description="The champion loads, predicts in range and is the evaluated model.",
            blocking=True,
        ),
        dg.AssetCheckSpec(
            "interval_coverage", asset=CHAMPION_MODEL, description=_SPECS["interval_coverage"]
        ),
    ],
)
def champion_checks(
    trip_store: TripStoreResource, tracking: MlflowTracking
) -> Iterator[dg.AssetCheckResult]:
    """Load the champion as a server would, and predict the test month with it."""
    from ml_assets.registry.artifacts import CHAMPION

    tracking.reader()
    models = _CheckedModels.of(trip_store)
    serves, covers = models.champion(f"models:/{tracking.registered_model}@{CHAMPION}")
    yield single_result(dg.AssetCheckKey(CHAMPION_MODEL, "champion_matches_evaluation"), serves)
    key = dg.AssetCheckKey(CHAMPION_MODEL, "interval_coverage")
    yield single_result(key, covers, models.slices(CHAMPION_MODEL))


@dataclass
class _CheckedModels:
    """The test month and the records, read once; each model is loaded at most once."""

    trip_store: TripStoreResource
    test_set: "TestSet"
    board: Leaderboard | None
    found: dict[str, Mapping[str, Finding]] = field(default_factory=dict)
    intervals: dict[dg.AssetKey, IntervalRecord] = field(default_factory=dict)

    @classmethod
    def of(cls, trip_store: TripStoreResource) -> "_CheckedModels":
        """Read what models of the current training set are tested on."""
        from ml_assets.evaluation.model_checks import TestSet
        from ml_assets.training.training_set import load_trips

        records = trip_store.records()
        training_set = records.read("training_set", TrainingSet)
        board = records.find("model_leaderboard", Leaderboard)
        current = board is not None and board.training_set == training_set.fingerprint
        trips = load_trips(trip_store.tables(), training_set, "test")
        return cls(trip_store, TestSet(training_set, trips), board if current else None)

    def findings(self, family: str) -> Mapping[str, Finding]:
        """What the rules say of a family's model, by the name of the check."""
        if family not in self.found:
            asset = model_asset_name(family)
            record = self.trip_store.records().find(asset, ModelRecord)
            self.found[family] = self._check(asset, record)
        return self.found[family]

    def winner(self) -> Finding:
        """What they say of the leaderboard's best model."""
        best = self.board.best if self.board is not None else None
        if best is None:
            return Finding(Verdict.SKIP, "the leaderboard of this training set has no model")
        findings = self.findings(best.model)
        applied = [findings[name] for name in _SPECS if name not in _NOT_APPLIED_TO_THE_WINNER]
        found = worst(applied)
        # What is merely odd in any family is no longer so in the one that is to serve.
        verdict = Verdict.FAIL if found.verdict == Verdict.WARN else found.verdict
        said = applied if verdict == Verdict.PASS else [found]
        sentence = f"{best.model}: {'; '.join(finding.sentence for finding in said)}"
        return Finding(verdict, sentence, found.value, found.lower, found.upper)

    def slices(self, asset: dg.AssetKey) -> Mapping[str, dg.MetadataValue]:
        """What the checked model's intervals hold of each slice of the test month."""
        from ml_assets.evaluation.interval_coverage import interval_table

        found = self.intervals.get(asset)
        if found is None:
            return {}
        return {"mean_width": figure(found.mean_width), "slices": table(interval_table(found))}

    def champion(self, uri: str) -> tuple[Finding, Finding]:
        """Whether the model at this URI is the one decided on, and what its intervals hold."""
        from ml_assets.evaluation.interval_coverage import interval_coverage, measure_intervals
        from ml_assets.evaluation.model_checks import NO_INTERVALS, UnusableModel, load_and_predict
        from ml_assets.registry.artifacts import load_pipeline

        records = self.trip_store.records()
        decision = DecisionLog(records.home, records.dataset).newest()
        if decision is None:
            raise dg.Failure(
                f"no champion of {records.dataset} was decided on: materialize champion_model first"
            )
        try:
            pipeline, predicted = load_and_predict(lambda: load_pipeline(uri), self.test_set.trips)
        except UnusableModel as error:
            fault = f"{uri} cannot be loaded and used ({error}): materialize the model again"
            return Finding(Verdict.FAIL, fault), NO_INTERVALS
        measured = measure_intervals(pipeline, self.test_set.trips, predicted)
        if measured is not None:
            self.intervals[CHAMPION_MODEL] = measured
        before = None if decision.promoted else decision.previous_champion
        saw = (
            self.test_set.training_set.validation_is_test or decision.refit
            if before is None
            else before.trained_on_test_month
        )
        return self._as_decided(decision, predicted), interval_coverage(measured, saw)

    def _as_decided(
        self, decision: ChampionDecision, predicted: "npt.NDArray[np.float64]"
    ) -> Finding:
        from ml_assets.evaluation.model_checks import predictions_in_range, same_predictions
        from ml_assets.trips.rules import TARGET

        sane = predictions_in_range(predicted)
        if sane.verdict != Verdict.PASS or self.board is None:
            return sane
        evaluated = next((row for row in self.board.models if row.model == decision.champion), None)
        of_this_board = decision.training_set == self.board.training_set
        as_evaluated = of_this_board and decision.promoted and not decision.refit
        if evaluated is None or not as_evaluated:
            sentence = (
                f"version {decision.registry_version} ({decision.description}): {sane.sentence}"
            )
            return Finding(Verdict.PASS, sentence, sane.value)
        same = same_predictions(evaluated, predicted, self.test_set.trips[TARGET])
        sentence = f"{decision.champion}, version {decision.registry_version}: {same.sentence}"
        return Finding(same.verdict, sentence, same.value, same.lower, same.upper)

    def _check(self, asset: str, record: ModelRecord | None) -> Mapping[str, Finding]:
        from ml_assets.evaluation.model_checks import run_model_checks
        from ml_assets.registry.artifacts import load_pipeline

        if record is None or record.training_set != self.test_set.training_set.fingerprint:
            stale = Finding(
                Verdict.WARN,
                f"{asset} was not trained on the current training set: materialize it again",
            )
            return dict.fromkeys(_SPECS, stale)
        uri = record.model_uri or ""
        checks = run_model_checks(
            lambda: load_pipeline(uri), record, self.test_set, self._baselines(), [*_SPECS]
        )
        if checks.intervals is not None:
            self.intervals[dg.AssetKey(asset)] = checks.intervals
        return checks.findings

    def _baselines(self) -> Sequence[ModelRecord]:
        """Those of the leaderboard, or measured now when it is of another training set."""
        if self.board is not None:
            return self.board.baselines
        from ml_assets.training.train_and_evaluate import evaluate_baselines, load_splits

        training_set = self.test_set.training_set
        splits = load_splits(self.trip_store.tables(), training_set)
        return evaluate_baselines(training_set, splits)
