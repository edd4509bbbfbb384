"""Asset checks of the models, of the leaderboard's best model and of the champion.

They load a model from MLflow and predict the test month. The checks of models do not block, so that
one poor family does not prevent the comparison of the others. Neither does the check of the best
model: the promotion applies the same checks and records why a model is not promoted, which a
blocked step could not.
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
from ml_assets.trips.quality.finding import Finding, Verdict, worst

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ml_assets.evaluation.model_checks import TestSet

_SPECS = {
    "better_than_baselines": "The RMSE is below that of every baseline on the same test month.",
    "predictions_in_range": "Every prediction is finite and a plausible number of minutes.",
    "serialization_round_trip": "The model predicts the same after storing and loading.",
    "no_test_leakage": "Neither the model's months nor its error suggest that it has seen the "
    "test month, and its error is as large on slightly changed test trips.",
    "fit_time_within_budget": "The fit takes no more processor time than the budget for its number "
    "of trips.",
    "interval_coverage": "The intervals cover their nominal share of test trips, within 3 points.",
}
_NOT_REQUIRED_OF_THE_BEST = ("fit_time_within_budget", "interval_coverage")
_LAST = {"dagster/priority": "-1"}
"""Nothing waits for these checks: the steps that run in threads start first."""

_LEADERBOARD = dg.AssetKey("model_leaderboard")
_BEST = dg.AssetCheckKey(_LEADERBOARD, "best_model_is_servable")


def model_checks() -> list[dg.AssetChecksDefinition]:
    """Return the checks of every family's model, of the best model and of the champion."""
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
    best = dg.AssetCheckSpec(
        _BEST.name,
        asset=_BEST.asset_key,
        description="The best model beats the baselines, its predictions are plausible and do not "
        "change when it is loaded, and it has not seen the test month. Otherwise `champion_model` "
        "does not promote it.",
    )

    @dg.multi_asset_check(name="model_checks", specs=[*specs, best], can_subset=True, op_tags=_LAST)
    def model_checks(
        context: dg.AssetCheckExecutionContext,
        trip_store: TripStoreResource,
        tracking: MlflowTracking,
    ) -> Iterator[dg.AssetCheckResult]:
        """Load the selected models and apply the checks."""
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
        if _BEST in selected:
            yield single_result(_BEST, models.best_model())

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
    """Load the champion as a server does and predict the test month."""
    from ml_assets.registry.registry import CHAMPION

    tracking.reader()
    models = _CheckedModels.of(trip_store)
    matches, coverage = models.champion(f"models:/{tracking.registered_model}@{CHAMPION}")
    yield single_result(dg.AssetCheckKey(CHAMPION_MODEL, "champion_matches_evaluation"), matches)
    key = dg.AssetCheckKey(CHAMPION_MODEL, "interval_coverage")
    yield single_result(key, coverage, models.slices(CHAMPION_MODEL))


@dataclass
class _CheckedModels:
    """The test month and the records, each read once, and the checked models, each loaded once."""

    trip_store: TripStoreResource
    test_set: "TestSet"
    board: Leaderboard | None
    found: dict[str, Mapping[str, Finding]] = field(default_factory=dict)
    intervals: dict[dg.AssetKey, IntervalRecord] = field(default_factory=dict)

    @classmethod
    def of(cls, trip_store: TripStoreResource) -> "_CheckedModels":
        """Load the test month of the current training set."""
        from ml_assets.evaluation.model_checks import TestSet
        from ml_assets.training.training_set import load_trips

        records = trip_store.records()
        training_set = records.read("training_set", TrainingSet)
        board = records.find("model_leaderboard", Leaderboard)
        current = board is not None and board.training_set == training_set.fingerprint
        trips = load_trips(trip_store.tables(), training_set, "test")
        return cls(trip_store, TestSet(training_set, trips), board if current else None)

    def findings(self, family: str) -> Mapping[str, Finding]:
        """Return the findings on a family's model by the name of the check."""
        if family not in self.found:
            asset = model_asset_name(family)
            record = self.trip_store.records().find(asset, ModelRecord)
            self.found[family] = self._check(asset, record)
        return self.found[family]

    def best_model(self) -> Finding:
        """Return the finding on the leaderboard's best model."""
        best = self.board.best if self.board is not None else None
        if best is None:
            return Finding(Verdict.SKIP, "the leaderboard of this training set has no model")
        findings = self.findings(best.model)
        applied = [findings[name] for name in _SPECS if name not in _NOT_REQUIRED_OF_THE_BEST]
        found = worst(applied)
        # A warning on a model is an error on the one that would be promoted.
        verdict = Verdict.FAIL if found.verdict == Verdict.WARN else found.verdict
        reported = applied if verdict == Verdict.PASS else [found]
        sentence = f"{best.model}: {'; '.join(finding.sentence for finding in reported)}"
        return Finding(verdict, sentence, found.value, found.lower, found.upper)

    def slices(self, asset: dg.AssetKey) -> Mapping[str, dg.MetadataValue]:
        """Return the coverage of the checked model's intervals by slice, as metadata."""
        from ml_assets.evaluation.interval_coverage import interval_table

        found = self.intervals.get(asset)
        if found is None:
            return {}
        return {"mean_width": figure(found.mean_width), "slices": table(interval_table(found))}

    def champion(self, uri: str) -> tuple[Finding, Finding]:
        """Return the findings on the champion: is it the evaluated model, and its coverage."""
        from ml_assets.evaluation.interval_coverage import interval_coverage, measure_intervals
        from ml_assets.evaluation.model_checks import NO_INTERVALS, UnusableModel, load_and_predict
        from ml_assets.registry.artifacts import load_pipeline

        records = self.trip_store.records()
        decision = DecisionLog(records.home, records.dataset).newest()
        if decision is None:
            raise dg.Failure(
                f"there is no decision on {records.dataset} yet: materialize champion_model first"
            )
        try:
            pipeline, predicted = load_and_predict(lambda: load_pipeline(uri), self.test_set.trips)
        except UnusableModel as error:
            message = f"{uri} cannot be loaded and used ({error}): materialize the model again"
            return Finding(Verdict.FAIL, message), NO_INTERVALS
        measured = measure_intervals(pipeline, self.test_set.trips, predicted)
        if measured is not None:
            self.intervals[CHAMPION_MODEL] = measured
        before = None if decision.promoted else decision.previous_champion
        seen = (
            self.test_set.training_set.validation_is_test or decision.refit
            if before is None
            else before.trained_on_test_month
        )
        return self._matches_evaluation(decision, predicted), interval_coverage(measured, seen)

    def _matches_evaluation(
        self, decision: ChampionDecision, predicted: "npt.NDArray[np.float64]"
    ) -> Finding:
        from ml_assets.evaluation.model_checks import predictions_in_range, same_predictions
        from ml_assets.trips.target import TARGET

        in_range = predictions_in_range(predicted)
        if in_range.verdict != Verdict.PASS or self.board is None:
            return in_range
        evaluated = next((row for row in self.board.models if row.model == decision.champion), None)
        on_this_board = decision.training_set == self.board.training_set
        comparable = on_this_board and decision.promoted and not decision.refit
        if evaluated is None or not comparable:
            sentence = (
                f"version {decision.registry_version} ({decision.description}): {in_range.sentence}"
            )
            return Finding(Verdict.PASS, sentence, in_range.value)
        same = same_predictions(evaluated, predicted, self.test_set.trips[TARGET.name])
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
        """Return the leaderboard's baselines; evaluate them if it is of another training set."""
        if self.board is not None:
            return self.board.baselines
        from ml_assets.training.train_and_evaluate import evaluate_baselines, load_splits

        training_set = self.test_set.training_set
        splits = load_splits(self.trip_store.tables(), training_set)
        return evaluate_baselines(training_set, splits)
