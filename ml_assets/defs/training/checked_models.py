"""Models loaded from MLflow for their checks, with their predictions of the test month."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import dagster as dg
import numpy as np
import numpy.typing as npt

from ml_assets.defs.common import CHAMPION_MODEL
from ml_assets.defs.metadata import figure, table
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.defs.training.model_checks import NOT_REQUIRED_OF_THE_BEST, SPECS
from ml_assets.defs.training.models import model_asset_name
from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.interval_coverage import (
    interval_coverage,
    interval_table,
    measure_intervals,
)
from ml_assets.evaluation.model_checks import (
    NO_INTERVALS,
    TestSet,
    UnusableModel,
    load_and_predict,
    predictions_in_range,
    run_model_checks,
    same_predictions,
)
from ml_assets.evaluation.records import IntervalRecord, Leaderboard, ModelRecord, TrainingSet
from ml_assets.pipeline.predict import without_distance
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.registry import CHAMPION
from ml_assets.training.train_and_evaluate import baseline_splits, evaluate_baselines
from ml_assets.training.training_set import load_trips
from ml_assets.trips.quality.finding import Finding, Verdict, worst
from ml_assets.trips.target import TARGET


@dataclass
class CheckedModels:
    """The test month and the records, each read once, and the checked models, each loaded once."""

    trip_store: TripStoreResource
    test_set: TestSet
    board: Leaderboard | None
    found: dict[str, Mapping[str, Finding]] = field(default_factory=dict)
    intervals: dict[dg.AssetKey, tuple[IntervalRecord, IntervalRecord | None]] = field(
        default_factory=dict
    )

    @classmethod
    def of(cls, trip_store: TripStoreResource) -> Self:
        """Load the test month of the current training set."""
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
        applied = [findings[name] for name in SPECS if name not in NOT_REQUIRED_OF_THE_BEST]
        found = worst(applied)
        # A warning on a model is an error on the one that would be promoted.
        verdict = Verdict.FAIL if found.verdict == Verdict.WARN else found.verdict
        reported = applied if verdict == Verdict.PASS else [found]
        sentence = f"{best.model}: {'; '.join(finding.sentence for finding in reported)}"
        return Finding(verdict, sentence, found.value, found.lower, found.upper)

    def slices(self, asset: dg.AssetKey) -> Mapping[str, dg.MetadataValue]:
        """Return the coverage of the checked model's intervals by slice, as metadata."""
        if asset not in self.intervals:
            return {}
        stated, usual = self.intervals[asset]
        shown = {"coverage": figure(stated.coverage), "mean_width": figure(stated.mean_width)}
        if usual is not None:
            shown["coverage_usual"] = figure(usual.coverage)
            shown["mean_width_usual"] = figure(usual.mean_width)
        return {**shown, "slices": table(interval_table(stated, usual))}

    def champion(self, name: str) -> tuple[Finding, Finding]:
        """Return the findings on the registered champion: is it as evaluated, and its coverage."""
        uri = f"models:/{name}@{CHAMPION}"
        records = self.trip_store.records()
        decision = self.trip_store.decisions().newest()
        if decision is None:
            raise dg.Failure(
                f"there is no decision on {records.dataset} yet: materialize champion_model first"
            )
        try:
            trips = self.test_set.trips
            pipeline, predicted, usual = load_and_predict(lambda: load_pipeline(uri), trips)
        except UnusableModel as error:
            message = f"{uri} cannot be loaded and used ({error}): materialize the model again"
            return Finding(Verdict.FAIL, message), NO_INTERVALS
        measured = measure_intervals(pipeline, trips, predicted)
        measured_usual = measure_intervals(pipeline, without_distance(trips), usual)
        if measured is not None:
            self.intervals[CHAMPION_MODEL] = measured, measured_usual
        before = None if decision.promoted else decision.previous_champion
        seen = (
            self.test_set.training_set.validation_is_test or decision.refit
            if before is None
            else before.trained_on_test_month
        )
        coverage = interval_coverage(measured, measured_usual, seen)
        return self._matches_evaluation(decision, predicted, usual), coverage

    def _matches_evaluation(
        self,
        decision: ChampionDecision,
        predicted: npt.NDArray[np.float64],
        usual: npt.NDArray[np.float64],
    ) -> Finding:
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
        actual = self.test_set.trips[TARGET.name]
        same = same_predictions(evaluated, predicted, actual, usual)
        sentence = f"{decision.champion}, version {decision.registry_version}: {same.sentence}"
        return Finding(same.verdict, sentence, same.value, same.lower, same.upper)

    def _check(self, asset: str, record: ModelRecord | None) -> Mapping[str, Finding]:
        if record is None or record.training_set != self.test_set.training_set.fingerprint:
            stale = Finding(
                Verdict.WARN,
                f"{asset} was not trained on the current training set: materialize it again",
            )
            return dict.fromkeys(SPECS, stale)
        uri = record.model_uri or ""
        checks = run_model_checks(
            lambda: load_pipeline(uri), record, self.test_set, self._baselines(), [*SPECS]
        )
        if checks.intervals is not None:
            self.intervals[dg.AssetKey(asset)] = checks.intervals, checks.usual_intervals
        return checks.findings

    def _baselines(self) -> Sequence[ModelRecord]:
        """Return the leaderboard's baselines; evaluate them if it is of another training set."""
        if self.board is not None:
            return self.board.baselines
        training_set = self.test_set.training_set
        splits = baseline_splits(self.trip_store.tables(), training_set)
        return evaluate_baselines(training_set, splits)
