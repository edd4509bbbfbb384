"""Checks of models: good enough, sane, the same once stored and loaded, and fitted in time.

They load every model from MLflow and predict the whole judged month with it. None of them blocks,
since one poor family must not keep the others from being compared. Nor does the check of the
leaderboard's winner: the decision on the champion holds the winner to the same rules by itself, and
records why it is refused, which a blocked step could not.
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
from ml_assets.secrets import error_text
from ml_assets.training.families import FAMILIES
from ml_assets.trips.quality import Finding, Verdict, worst

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from sklearn.pipeline import Pipeline

_SPECS = {
    "better_than_baselines": "RMSE below that of every baseline on the same judged month.",
    "predictions_in_range": "Every prediction is finite and a possible number of minutes.",
    "serialization_round_trip": "Stored and loaded again, the model predicts the same.",
    "no_test_leakage": "Neither its months nor its error tell of the judged month, and it "
    "errs as much when the judged trips are told a little otherwise.",
    "fit_time_within_budget": "Fitting takes no more processor time than the budget for so many "
    "trips.",
    "interval_coverage": "The intervals hold their nominal share of test trips, within 3 points.",
}
_NOT_ASKED_OF_THE_WINNER = ("fit_time_within_budget", "interval_coverage")
_NO_INTERVALS = Finding(Verdict.SKIP, "it cannot be loaded and used, so no interval is known")
_LEADERBOARD = dg.AssetKey("model_leaderboard")
_WINNER = dg.AssetCheckKey(_LEADERBOARD, "best_model_is_servable")


def model_checks() -> list[dg.AssetChecksDefinition]:
    """The checks of every family's model, of the winner and of the champion."""
    return [_judged_model_checks(), champion_checks]


def _judged_model_checks() -> dg.AssetChecksDefinition:
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
        "and has not seen what it is judged on. The decision on the champion refuses it otherwise.",
    )

    @dg.multi_asset_check(name="model_checks", specs=[*specs, winner], can_subset=True)
    def judged_model_checks(
        context: dg.AssetCheckExecutionContext,
        trip_store: TripStoreResource,
        tracking: MlflowTracking,
    ) -> Iterator[dg.AssetCheckResult]:
        """Load the models that this run speaks of and hold them to their rules."""
        tracking.reader()
        bench = BacktestRunner.of(trip_store)
        selected = context.selected_asset_check_keys
        for family in FAMILIES:
            asset = dg.AssetKey(model_asset_name(family))
            keys = sorted(key for key in selected if key.asset_key == asset)
            findings = bench.findings(family) if keys else {}
            for key in keys:
                shown = bench.slices(asset) if key.name == "interval_coverage" else None
                yield single_result(key, findings[key.name], shown)
        if _WINNER in selected:
            yield single_result(_WINNER, bench.winner())

    return judged_model_checks


@dg.multi_asset_check(
    name="champion_checks",
    specs=[
        dg.AssetCheckSpec(
            "champion_matches_evaluation",
            asset=CHAMPION_MODEL,
            description="The registry's champion loads, is sane, and is the model that was judged.",
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
    """Load the champion as a server would, and predict the judged month with it."""
    from ml_assets.registry.artifacts import CHAMPION

    tracking.reader()
    bench = BacktestRunner.of(trip_store)
    serves, covers = bench.champion(f"models:/{tracking.registered_model}@{CHAMPION}")
    yield single_result(dg.AssetCheckKey(CHAMPION_MODEL, "champion_matches_evaluation"), serves)
    key = dg.AssetCheckKey(CHAMPION_MODEL, "interval_coverage")
    yield single_result(key, covers, bench.slices(CHAMPION_MODEL))


@dataclass
class BacktestRunner:
    """The judged month and the records, read once; each model is loaded at most once."""

    trip_store: TripStoreResource
    training_set: TrainingSet
    board: Leaderboard | None
    judged: "pd.DataFrame"
    examined: dict[str, dict[str, Finding]] = field(default_factory=dict)
    intervals: dict[dg.AssetKey, IntervalRecord] = field(default_factory=dict)

    @classmethod
    def of(cls, trip_store: TripStoreResource) -> "BacktestRunner":
        """Read what models of the current training set are judged on."""
        from ml_assets.training.training_set import load_trips

        records = trip_store.records()
        training_set = records.read("training_set", TrainingSet)
        board = records.find("model_leaderboard", Leaderboard)
        current = board is not None and board.training_set == training_set.fingerprint
        judged = load_trips(trip_store.tables(), training_set, "judge")
        return cls(trip_store, training_set, board if current else None, judged)

    def findings(self, family: str) -> dict[str, Finding]:
        """What the rules say of a family's model, by the name of the check."""
        if family not in self.examined:
            asset = model_asset_name(family)
            record = self.trip_store.records().find(asset, ModelRecord)
            self.examined[family] = self._examine(asset, record)
        return self.examined[family]

    def winner(self) -> Finding:
        """What they say of the leaderboard's best model."""
        if self.board is None or not self.board.models:
            return Finding(Verdict.SKIP, "the leaderboard of this training set has no model")
        best = self.board.models[0]
        findings = self.findings(best.model)
        asked = [findings[name] for name in _SPECS if name not in _NOT_ASKED_OF_THE_WINNER]
        found = worst(asked)
        # What is merely odd in any family is no longer so in the one that is to serve.
        verdict = Verdict.FAIL if found.verdict == Verdict.WARN else found.verdict
        said = asked if verdict == Verdict.PASS else [found]
        sentence = f"{best.model}: {'; '.join(finding.sentence for finding in said)}"
        return Finding(verdict, sentence, found.value, found.lower, found.upper)

    def slices(self, asset: dg.AssetKey) -> Mapping[str, dg.MetadataValue]:
        """What the examined model's intervals hold of each slice of the judged month."""
        from ml_assets.evaluation.interval_coverage import interval_table

        found = self.intervals.get(asset)
        if found is None:
            return {}
        return {"mean_width": figure(found.mean_width), "slices": table(interval_table(found))}

    def champion(self, uri: str) -> tuple[Finding, Finding]:
        """Whether the model at this URI is the one decided on, and what its intervals hold."""
        decision = self.trip_store.records().read("champion_model", ChampionDecision)
        asked = self._ask(uri)
        if isinstance(asked, Finding):
            return asked, _NO_INTERVALS
        pipeline, predicted = asked
        before = None if decision.promoted else decision.champion_before
        saw = self.training_set.tunes_on_the_judged_month or decision.serve != "judged"
        covers = self._covers(
            CHAMPION_MODEL, pipeline, predicted, before.saw_judged_month if before else saw
        )
        return self._as_decided(decision, predicted), covers

    def _as_decided(
        self, decision: ChampionDecision, predicted: "npt.NDArray[np.float64]"
    ) -> Finding:
        from ml_assets.evaluation.model_checks import predictions_in_range, same_predictions

        sane = predictions_in_range(predicted)
        if sane.verdict != Verdict.PASS or self.board is None:
            return sane
        judged = next((row for row in self.board.models if row.model == decision.champion), None)
        of_this_board = decision.training_set == self.board.training_set
        as_judged = of_this_board and decision.promoted and decision.serve == "judged"
        if judged is None or not as_judged:
            sentence = f"version {decision.registry_version} ({decision.served}): {sane.sentence}"
            return Finding(Verdict.PASS, sentence, sane.value)
        same = same_predictions(judged, predicted, self._actual())
        sentence = f"{decision.champion}, version {decision.registry_version}: {same.sentence}"
        return Finding(same.verdict, sentence, same.value, same.lower, same.upper)

    def _covers(
        self,
        asset: dg.AssetKey,
        pipeline: "Pipeline",
        predicted: "npt.NDArray[np.float64]",
        saw_judged_month: bool,
    ) -> Finding:
        from ml_assets.evaluation.interval_coverage import interval_coverage, measure_intervals

        measured = measure_intervals(pipeline, self.judged, predicted)
        if measured is not None:
            self.intervals[asset] = measured
        return interval_coverage(measured, saw_judged_month)

    def _examine(self, asset: str, record: ModelRecord | None) -> dict[str, Finding]:
        from ml_assets.evaluation.memorization import check_memorization
        from ml_assets.evaluation.model_checks import (
            better_than_baselines,
            check_leakage,
            fit_time_within_budget,
            predictions_in_range,
            same_predictions,
        )

        if record is None or record.training_set != self.training_set.fingerprint:
            stale = Finding(
                Verdict.WARN,
                f"{asset} was not trained on the current training set: materialize it again",
            )
            return dict.fromkeys(_SPECS, stale)
        asked = self._ask(record.model_uri or "")
        baselines = self._baselines()
        leak = check_leakage(self.training_set, record, baselines)
        if isinstance(asked, Finding):
            sane = same = asked
            covers = _NO_INTERVALS
        else:
            pipeline, predicted = asked
            sane = predictions_in_range(predicted)
            same = same_predictions(record, predicted, self._actual())
            leak = worst([leak, check_memorization(pipeline, self.judged, predicted)])
            key, saw = dg.AssetKey(asset), self.training_set.tunes_on_the_judged_month
            covers = self._covers(key, pipeline, predicted, saw)
        return {
            "better_than_baselines": better_than_baselines(record, baselines),
            "no_test_leakage": leak,
            "predictions_in_range": sane,
            "serialization_round_trip": same,
            "fit_time_within_budget": fit_time_within_budget(record, self._fitted_on(record)),
            "interval_coverage": covers,
        }

    def _ask(self, uri: str) -> "tuple[Pipeline, npt.NDArray[np.float64]] | Finding":
        """A model and its predictions for the judged month; a finding when it cannot be used."""
        from ml_assets.pipeline.predict import predict_trips
        from ml_assets.registry.artifacts import load_pipeline

        try:
            pipeline = load_pipeline(uri)
            return pipeline, predict_trips(pipeline, self.judged)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from predicting is the finding
            return Finding(
                Verdict.FAIL,
                f"{uri or 'a model without URI'} cannot be loaded and used "
                f"({error_text(error)}): materialize the model again",
            )

    def _actual(self) -> "pd.Series[float]":
        from ml_assets.trips.rules import TARGET

        return self.judged[TARGET]

    def _baselines(self) -> Sequence[ModelRecord]:
        """Those of the leaderboard, or measured now when it is of another training set."""
        if self.board is not None:
            return [row for row in self.board.rows if row.kind == "baseline"]
        from ml_assets.training.train_and_evaluate import evaluate_baselines, load_months

        months = load_months(self.trip_store.tables(), self.training_set)
        return evaluate_baselines(self.training_set, months)

    def _fitted_on(self, record: ModelRecord) -> int:
        uses = {use.month: use.rows for use in self.training_set.months}
        return sum(uses.get(month, 0) for month in record.fitted_on)
