"""Evaluate the champion and the leaderboard's models on the same trips, best model first.

Each candidate is registered, loaded as the service would load it, and checked. The results decide
whether it is promoted, and whether the next model of the leaderboard is tried.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ml_assets.evaluation.decision_record import ChampionDecision, Criterion, OtherCandidate
from ml_assets.evaluation.leaderboard import leaderboard
from ml_assets.evaluation.metrics import measure, zones_of_codes
from ml_assets.evaluation.model_checks import (
    TestSet,
    UnusableModel,
    load_and_predict,
    predictions_digest,
    run_model_checks,
)
from ml_assets.evaluation.records import IntervalRecord, Leaderboard, ModelRecord, Role, TrainingSet
from ml_assets.monitoring.online.request_mix import Minutes, ModePredictions
from ml_assets.pipeline.conformal_intervals import attach_seen_pairs, copy_intervals
from ml_assets.pipeline.predict import predict_modes
from ml_assets.pipeline.serialization import probe_predictions
from ml_assets.promotion import NoCandidate, NotServable
from ml_assets.promotion.criteria import ChampionEvaluation, PromotionLimits, measure_latency_ms
from ml_assets.promotion.decision import (
    Candidate,
    CandidateEvaluation,
    Promotion,
    PromotionInputs,
    came_from,
    decide,
)
from ml_assets.registry.artifacts import load_pipeline, log_pipeline
from ml_assets.registry.loading import load_verified
from ml_assets.registry.mlflow_descriptions import describe_version, with_decision
from ml_assets.registry.mlflow_runs import TrackedRun
from ml_assets.registry.registry import ModelNotLogged, Registry
from ml_assets.secrets import error_text
from ml_assets.storage.former_names import all_names
from ml_assets.storage.model_version import (
    FINGERPRINT,
    MANUAL_OVERRIDE,
    IntervalFigures,
    ModelVersion,
    describe_fit,
)
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.all_rows import fit_on_all_rows, is_fitted_in_parts
from ml_assets.training.families import family_named
from ml_assets.training.fit import fit_pipeline
from ml_assets.training.train_and_evaluate import fit_roles, load_pair_codes
from ml_assets.training.training_set import load_trips, past_trips
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

ALL_ROLES: Final[tuple[Role, ...]] = ("train", "validation", "test")

_REFIT_CHECKS: Final = ("predictions_in_range", "serialization_round_trip")
"""Checks of a model that was fitted on the test month, too."""

_CHECKS: Final = (*_REFIT_CHECKS, "no_test_leakage")


@dataclass(frozen=True)
class CandidateResult:
    """A candidate with the decision on it."""

    candidate: Candidate
    promotion: Promotion

    @property
    def model(self) -> str:
        """Name of the family."""
        return self.candidate.row.model

    @property
    def version(self) -> str | None:
        """Version number in the registry; None when it is not registered."""
        version = self.candidate.version
        return None if version is None else version.version

    @property
    def servable(self) -> bool:
        """Whether it could be served: not the champion, and without a failed check."""
        evaluation = self.candidate.evaluation
        return bool(evaluation.findings) and not evaluation.failures

    def to_record(self) -> OtherCandidate:
        """The same for the record of a decision on another."""
        return OtherCandidate(
            model=self.model,
            version=self.version,
            reason=self.promotion.reason,
            criteria=self.promotion.criteria,
        )


@dataclass(frozen=True)
class Evaluator:
    """Evaluates the models of a leaderboard against the champion.

    Attributes:
        test_set: Its training set and the trips of the test month.
        champion: The champion, evaluated on these trips; None without one.
    """

    registry: Registry
    board: Leaderboard
    test_set: TestSet
    store: TripStore
    champion: ChampionEvaluation | None

    @classmethod
    def prepare(
        cls, registry: Registry, board: Leaderboard, training_set: TrainingSet, store: TripStore
    ) -> Self:
        """Complete a promotion that a killed process left, and evaluate the champion.

        Raises:
            NoCandidate: The leaderboard has no model.
        """
        if not board.models:
            raise NoCandidate("the leaderboard has no model: materialize a model asset first")
        registry.repair_aliases()
        test_set = TestSet(training_set, load_trips(store, training_set, "test"))
        champion = evaluate_champion(registry, test_set)
        return cls(registry, board, test_set, store, champion)

    def evaluate_in_order(
        self, limits: PromotionLimits, *, replace_other_dataset: bool
    ) -> tuple[CandidateResult, list[CandidateResult]]:
        """Evaluate candidates until one is promoted or the next one could not do better.

        Returns:
            The promoted candidate, or the best one when none is promoted; and the others tried.
        """
        results: list[CandidateResult] = []
        for row in leaderboard(self.board.models, limits.requests.share_stated):
            if results and self._is_champion(row):
                break
            results.append(self.evaluate(row, limits, replace_other_dataset=replace_other_dataset))
            if not results[-1].promotion.should_try_next:
                break
        chosen = results[-1] if results[-1].promotion.promoted else results[0]
        if chosen.servable and chosen.version is not None:
            self.registry.set_challenger(chosen.version)
        return chosen, [other for other in results if other is not chosen]

    def evaluate(
        self, row: ModelRecord, limits: PromotionLimits, *, replace_other_dataset: bool
    ) -> CandidateResult:
        """Evaluate and decide on one model of the leaderboard."""
        candidate = self._candidate(row)
        roles = fit_roles(self.test_set.training_set, row.refit_on_validation)
        inputs = PromotionInputs(
            board=self.board,
            training_set=self.test_set.training_set,
            champion=self.champion,
            test_trips=self.test_set.trips,
            train_pairs=load_pair_codes(self.store, self.test_set.training_set, *roles),
        )
        promotion = decide(candidate, inputs, limits, replace_other_dataset=replace_other_dataset)
        return CandidateResult(candidate, promotion)

    def refit(self, candidate: Candidate) -> Candidate:
        """Refit the candidate on all months, register it and check the registered version.

        It keeps the candidate's intervals: no unseen month is left for a calibration.

        Raises:
            NotServable: The registered version does not predict what the fit predicted.
        """
        client, training_set, row = self.registry.client, self.test_set.training_set, candidate.row
        unfitted = candidate.evaluation.unfitted
        if unfitted is None:
            raise NotServable(f"{row.model} cannot be fitted on all months: it was not loaded")
        pipeline = self._fitted_on_all_months(row, unfitted)
        copy_intervals(unfitted, pipeline)
        attach_seen_pairs(
            pipeline, *zones_of_codes(load_pair_codes(self.store, training_set, *ALL_ROLES))
        )
        run = client.get_run(row.mlflow_run_id or "")
        tracked = TrackedRun(client, run.info.run_id, run.info.experiment_id)
        example = self.test_set.trips[list(REQUEST_COLUMNS)].head()
        uri = log_pipeline(tracked, pipeline, example, row.model)
        actual = self.test_set.trips[TARGET.name]
        stated, usual = (
            {"test": measure(actual, found), "predictions_sha256": predictions_digest(found)}
            for found in predict_modes(pipeline, self.test_set.trips)
        )
        update = {**stated, "usual": row.usual and row.usual.model_copy(update=usual)}
        expected = row.model_copy(update=update)
        del pipeline  # a forest is large, and the next step loads it again
        months = [str(month) for month in training_set.months_in(*ALL_ROLES)]
        version = self._version(row, uri, months, refit=True)
        version = ensure_registered(self.registry, version, row)
        failures = self._run_checks(version, expected, _REFIT_CHECKS).failures
        if failures:
            text = "; ".join(failures)
            self.registry.tag(version.version, "refused", text[:5000])
            raise NotServable(
                f"version {version.version} of {self.registry.name}, fitted on all months, does "
                f"not serve ({text}); what served before still does: materialize the model again, "
                "then the leaderboard and champion_model"
            )
        return replace(candidate, version=version)

    def _fitted_on_all_months(self, row: ModelRecord, unfitted: Pipeline) -> Pipeline:
        """Fit as the evaluated model was fitted: on a bounded sample, or on all rows."""
        training_set, family = self.test_set.training_set, family_named(row.model)
        if is_fitted_in_parts(family, row.rows, training_set.rows_in(*ALL_ROLES)):
            return fit_on_all_rows(
                family, unfitted, self.store, training_set, *ALL_ROLES, seed=row.seed
            )
        trips = load_trips(
            self.store, training_set, *ALL_ROLES, max_rows=row.max_rows, seed=row.seed
        )
        past = past_trips(self.store, training_set, *ALL_ROLES, fitted=len(trips))
        return fit_pipeline(unfitted, trips, past)

    def _is_champion(self, row: ModelRecord) -> bool:
        return self.champion is not None and came_from(self.champion.version, row)

    def _candidate(self, row: ModelRecord) -> Candidate:
        """Register a model of the leaderboard and check it; the champion is not checked."""
        if self.champion is not None and self._is_champion(row):
            return Candidate(row, self.champion.version, CandidateEvaluation())
        try:
            version = self._version(row, _logged_at(row), row.training_months, refit=False)
            version = ensure_registered(self.registry, version, row)
        except ModelNotLogged as error:
            lost = Finding(Verdict.FAIL, str(error))
            return Candidate(row, None, CandidateEvaluation(findings={"logged": lost}))
        return Candidate(row, version, self._run_checks(version, row, _CHECKS))

    def _version(
        self, row: ModelRecord, uri: str, training_months: Sequence[str], *, refit: bool
    ) -> ModelVersion:
        """Return what is stored with the version, for display and for later decisions."""
        training_set = self.test_set.training_set
        return ModelVersion(
            model=row.model,
            version="",
            run_id=row.mlflow_run_id or "",
            source=uri,
            dataset=training_set.dataset,
            synthetic=training_set.synthetic,
            training_set=training_set.fingerprint,
            training_months=tuple(training_months),
            validation_months=tuple(str(month) for month in training_set.months_in("validation")),
            test_month=self.board.test_month,
            test_rmse=row.test.rmse,
            interval=_figures(row.interval),
            test_rmse_usual=row.usual_rmse,
            interval_usual=_figures(row.usual_interval),
            refit=refit,
            description=describe_fit(refit, training_months),
            caveat=self.board.caveat,
        )

    def _run_checks(
        self, version: ModelVersion, expected: ModelRecord, names: Collection[str]
    ) -> CandidateEvaluation:
        """Load a version as the service would, and run these checks.

        Its predictions for the probe requests become a tag, by which later code verifies that it
        predicts the same.
        """
        uri = f"models:/{self.registry.name}/{version.version}"
        checks = run_model_checks(
            lambda: load_pipeline(uri), expected, self.test_set, self.board.baselines, names
        )
        fault, pipeline = checks.fault, checks.pipeline
        if pipeline is not None:
            try:
                answers = json.dumps(probe_predictions(pipeline))
                latency_ms = measure_latency_ms(pipeline)
                unfitted = clone(pipeline)
                copy_intervals(pipeline, unfitted)
            except Exception as error:  # noqa: BLE001 - any failure to predict is the finding
                fault = error_text(error)
        if fault:
            finding = Finding(Verdict.FAIL, f"cannot be loaded and used ({fault})")
            return CandidateEvaluation(findings={"loads": finding})
        self.registry.tag(version.version, FINGERPRINT, answers)
        predicted = _both_modes(checks.predicted, checks.predicted_usual)
        return CandidateEvaluation(predicted, checks.findings, latency_ms, unfitted)


def _figures(interval: IntervalRecord | None) -> IntervalFigures | None:
    if interval is None:
        return None
    return IntervalFigures.model_validate(interval, from_attributes=True)


def evaluate_champion(registry: Registry, test_set: TestSet) -> ChampionEvaluation | None:
    """Evaluate the champion on the test month if it is of the same dataset.

    Returns:
        None without a champion. If it can no longer be scored, ``scoring_error`` has the reason.
    """
    version = registry.champion()
    if version is None:
        return None
    training_set, trips = test_set.training_set, test_set.trips
    saw = any(version.has_seen(str(month)) for month in training_set.months_in("test"))
    if version.dataset != training_set.dataset:
        return ChampionEvaluation(version, saw)
    try:
        _, stated, usual = load_and_predict(lambda: load_verified(registry.name, version), trips)
    except UnusableModel as error:  # a broken champion must not block a sound candidate
        return ChampionEvaluation(version, saw, scoring_error=str(error))
    predicted = _both_modes(stated, usual)
    if predicted is None:
        return ChampionEvaluation(version, saw, scoring_error="its predictions are not all finite")
    return ChampionEvaluation(version, saw, predicted)


def _both_modes(stated: Minutes | None, usual: Minutes | None) -> ModePredictions | None:
    """Return the predictions for the test month; None when they cannot be compared."""
    if stated is None or usual is None or not np.isfinite([stated, usual]).all():
        return None
    return ModePredictions(stated, usual)


def ensure_registered(
    registry: Registry, version: ModelVersion, evaluated: ModelRecord
) -> ModelVersion:
    """Register a model unless it is registered already, and return its version.

    A process that dies between registering and deciding leaves a version, which is reused.

    Args:
        version: The version, without a number yet.
        evaluated: The record of its evaluation, for the description.

    Raises:
        ModelNotLogged: This MLflow store does not have the model.
    """
    tags = version.to_tags()
    query = f"name='{registry.name}' and run_id='{version.run_id}'"
    for entry in registry.client.search_model_versions(query):
        if entry.source == version.source:
            for tag, value in tags.items():
                registry.tag(entry.version, tag, value)
            return version.model_copy(update={"version": str(entry.version)})
    described = describe_version(version, evaluated)
    number = registry.register(version.source, version.run_id, tags, described)
    return version.model_copy(update={"version": number})


def _logged_at(row: ModelRecord) -> str:
    if row.model_uri is None or row.mlflow_run_id is None:
        raise ModelNotLogged(f"{row.model} was never logged to MLflow: materialize it again")
    return row.model_uri


def record_decision(evaluator: Evaluator, decision: ChampionDecision) -> None:
    """Tag and describe the evaluated versions with the decision."""
    champion = evaluator.champion
    refused = "refused"
    said = [
        (other.version, refused, other.reason, other.criteria)
        for other in decision.other_candidates
    ]
    outcome = "promoted" if decision.promoted else refused
    said.append((decision.challenger_version, outcome, decision.reason, decision.criteria))
    for version, outcome, reason, criteria in said:
        if version is None or (champion is not None and version == champion.version.version):
            continue
        describe_decision(evaluator.registry, version, decision, outcome, reason, criteria)


def describe_decision(
    registry: Registry,
    version: str,
    decision: ChampionDecision,
    outcome: str,
    reason: str,
    criteria: list[Criterion],
) -> None:
    """Tag a version with the id of the decision on it, and add it to the description.

    Args:
        outcome: Outcome for this version, such as ``promoted``.
        reason: Reason for this version.
        criteria: Criteria of this version; empty for a manual decision.
    """
    client, name = registry.client, registry.name
    record = client.get_model_version(name, version)
    for tag in all_names(MANUAL_OVERRIDE):  # of an earlier manual promotion
        if tag in record.tags:
            client.delete_model_version_tag(name, version, tag)
    registry.tag(version, "decision_id", decision.decision_id)
    description = with_decision(
        record.description,
        outcome,
        decision.decided_at,
        decision.trigger,
        reason,
        criteria,
        decision.request_mix,
    )
    client.update_model_version(name, version, description)
