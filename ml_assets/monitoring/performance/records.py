"""Stored records of the error of champions by month: scores, references, limits, and where."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Self

from pydantic import BaseModel, Field

from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.records import (
    DEFAULT_SHARE_STATED,
    ErrorProfile,
    IntervalRecord,
    MetricsRecord,
    SliceRecord,
    weighted_rmse,
)
from ml_assets.monitoring import MEASURED, MonthlyRecord
from ml_assets.monitoring.retrain_rule import REMEDY, MonthlyValue
from ml_assets.storage import filesystem
from ml_assets.storage.former_names import StoredRecord
from ml_assets.storage.model_version import identity
from ml_assets.storage.record_store import RecordStore, UnreadableRecord
from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.target import TARGET

TOLERANCE = 0.10
"""How far a champion's relative error may exceed its reference, as a share of it, while no backtest
has measured its noise. On green trips of 2023 the relative error of one champion (XGBoost, trained
on January to April) has a standard deviation of 3.4 % over the months from May to September: a
tenth is three of these."""

MIN_NOISE_MONTHS = 6
"""Minimum number of test months of a backtest for an estimate of the noise of the error."""

CHANCE = 0.025
"""Probability that a month of a champion that has not decayed is over the limit."""

MAX_SCORES = 600
"""How many scores are kept, the newest over all champions."""


class Score(BaseModel):
    """The error of one registered version on one month.

    Attributes:
        raw_sha256: SHA-256 of the month's published file.
        trips: Kept trips of the month, all of which were predicted.
        rmse: Minutes, with the metered distances, as are ``mae`` and ``relative_error``.
        mae: Minutes.
        relative_error: RMSE divided by the RMSE of predicting the month's own mean duration for
            every trip: comparable between months, 1 is as good as knowing that mean.
        rmse_usual: Minutes, of the same trips without distances, as are ``mae_usual`` and
            ``relative_error_usual``; None in old records.
        seen: Whether the version was trained or tuned on this month, which makes the error
            optimistic.
        coverage: Share of the trips in the prediction intervals, with the metered distances;
            None in old records and without intervals.
        coverage_usual: The same without distances.
    """

    version: str
    model: str
    month: str
    raw_sha256: str
    trips: int
    rmse: float
    mae: float
    relative_error: float
    seen: bool
    run_id: str = ""
    rmse_usual: float | None = None
    mae_usual: float | None = None
    relative_error_usual: float | None = None
    coverage: float | None = None
    coverage_usual: float | None = None

    @property
    def champion(self) -> str:
        """Identity of the champion, unique across registries."""
        return identity(self.version, self.run_id)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Identity of the version and the month's contents; equal keys need one score."""
        return (self.champion, self.month, self.raw_sha256, self.trips)


class Reference(BaseModel):
    """The test error that a version's later errors are compared with.

    Attributes:
        relative_error_usual: The same without distances; None in old records.
        newest_fitted: The newest month that the version was trained or tuned on; only later months
            count as decay.
    """

    version: str
    month: str
    relative_error: float
    newest_fitted: str
    relative_error_usual: float | None = None


class PerformanceRecord(MonthlyRecord):
    """Scores of the current champion and earlier ones.

    Attributes:
        share_stated: Share of requests that state their distance, by which errors with and without
            one are weighted; see :meth:`error_of`.
        tolerance: Share above the reference that is allowed while ``allowance`` is None.
        allowance: How far the relative error may exceed the reference, from a backtest; see
            :func:`noise_tolerance`. None without a usable backtest.
        scores: Scores by month, those of one month in the order they were made.
        references: References by identity of the champion.
        skipped: Stored months that could not be scored, with the reason.
    """

    share_stated: float = DEFAULT_SHARE_STATED
    tolerance: float = TOLERANCE
    allowance: float | None = None
    scores: list[Score] = Field(default_factory=list)
    references: dict[str, Reference] = Field(default_factory=dict)
    skipped: dict[str, str] = Field(default_factory=dict)

    def add_score(self, *scores: Score) -> Self:
        """Return a record with these scores in place of those of the same champion and month."""
        newest = {(score.champion, score.month): score for score in (*self.scores, *scores)}
        ordered = sorted(newest.values(), key=lambda score: score.month)
        return self.model_copy(update={"scores": ordered[-MAX_SCORES:]})

    def add_missing(self, scores: Iterable[Score]) -> Self:
        """Return a record with the scores added whose champion and month have none yet."""
        known = {(score.champion, score.month) for score in self.scores}
        return self.add_score(
            *(score for score in scores if (score.champion, score.month) not in known)
        )

    def find(self, key: tuple[str, str, str, int]) -> Score | None:
        """Return the score with this key; None when there is none."""
        return next((score for score in self.scores if score.key == key), None)

    def scores_of(self, champion: str) -> list[Score]:
        """Return the scores of a champion, months in order."""
        return [score for score in self.scores if score.champion == champion]

    def share_of(self, champion: str) -> float:
        """Return the share of stated distances by which a champion's errors are weighted.

        It is 1, for errors with the metered distance only, where one of them has no other.
        """
        known = [score.relative_error_usual for score in self.scores_of(champion)]
        if (reference := self.references.get(champion)) is not None:
            known.append(reference.relative_error_usual)
        return 1.0 if None in known else self.share_stated

    def error_of(self, score: Score) -> float:
        """Return the relative error of requests as they are made: the one that has a limit."""
        share = self.share_of(score.champion)
        return weighted_rmse(score.relative_error, score.relative_error_usual, share)

    def reference_error(self, champion: str) -> float | None:
        """Return a champion's relative error in its test month, weighted so; None if unknown."""
        reference = self.references.get(champion)
        if reference is None:
            return None
        errors = reference.relative_error, reference.relative_error_usual
        return weighted_rmse(*errors, self.share_of(champion))

    def limit_of(self, champion: str) -> float | None:
        """Return the relative error above which a champion has decayed; None if unknown."""
        reference = self.reference_error(champion)
        if reference is None:
            return None
        if self.allowance is not None:
            return reference + self.allowance
        return reference * (1 + self.tolerance)

    @property
    def new_scores(self) -> list[Score]:
        """Scores of the current champion on months after all that it was trained or tuned on."""
        reference = self.references.get(self.champion)
        if reference is None:
            return []
        return [
            score
            for score in self.scores_of(self.champion)
            if score.month > reference.newest_fitted and not score.seen
        ]

    @property
    def monthly_values(self) -> list[MonthlyValue]:
        """The new months as input of the retraining rule."""
        limit = self.limit_of(self.champion)
        if limit is None or self.status != MEASURED:
            return []
        return [
            MonthlyValue(Month.parse(score.month), self.error_of(score), limit, "relative error")
            for score in self.new_scores
        ]


def noise_tolerance(noise: float | None, months: int) -> float | None:
    """Compute how far a month's relative error may exceed that of the test month.

    The difference of two months has √2 times the standard deviation of one, which is itself
    estimated from few months: hence Student's t with n - 1 degrees of freedom, so that a month
    exceeds the limit by chance with probability :data:`CHANCE`.

    Args:
        noise: Sample standard deviation of the relative error over a backtest's test months.
        months: The number of these months.

    Returns:
        The allowance, in units of the relative error; None when there are too few months or the
        noise was not measured.
    """
    from scipy.stats import t

    if noise is None or months < MIN_NOISE_MONTHS:
        return None
    return float(t.ppf(1 - CHANCE, months - 1) * sqrt(2) * noise)


def scored_months(scores: Iterable[Score]) -> list[Month]:
    """Return the distinct months of these scores, in order."""
    return sorted({Month.parse(score.month) for score in scores})


def performance_summary(record: PerformanceRecord) -> str:
    """Summarize the newest month in one sentence."""
    if record.status != MEASURED:
        return record.why
    limit = record.limit_of(record.champion)
    who = f"version {record.version} ({record.model})"
    if limit is None:
        return f"{who} has no reference: its test month is not stored"
    if not record.new_scores:
        return f"no month has come in that {who} was not trained on"
    newest, reference = record.new_scores[-1], record.references[record.champion]
    error, share = record.error_of(newest), record.share_of(record.champion)
    relation = "within" if error <= limit else "over"
    modes, weighted = "with the metered distance", ""
    if newest.rmse_usual is not None and share < 1:
        modes += f" and {newest.rmse_usual:.2f} {TARGET.symbol} without a distance"
        weighted = f" of requests ({share:.0%} state their distance)"
    how = (
        f"{record.tolerance:.0%}"
        if record.allowance is None
        else f"{record.allowance:.3f}, the noise of the backtest"
    )
    return (
        f"{newest.month}: RMSE of {who} is {newest.rmse:.2f} {TARGET.symbol} {modes}; the relative "
        f"error{weighted} is {error:.3f}, {relation} the limit {limit:.3f} "
        f"({record.reference_error(record.champion):.3f} in its test month {reference.month}, plus "
        f"{how})"
    )


def performance_finding(record: PerformanceRecord) -> Finding:
    """Compare the champion's error on its newest unseen month with the limit.

    A champion that no longer predicts is a warning.
    """
    if record.status == "scoring_failed":
        return Finding(Verdict.WARN, f"{record.why}; retrain, or roll back to one that predicts")
    limit, values = record.limit_of(record.champion), record.monthly_values
    if limit is None or not values:
        return Finding(Verdict.SKIP, performance_summary(record))
    newest = values[-1]
    sentence = performance_summary(record)
    if newest.breached:
        return Finding(Verdict.WARN, f"{sentence}; {REMEDY}", newest.value, 0.0, limit)
    return Finding(Verdict.PASS, sentence, newest.value, 0.0, limit)


def scores_from_decisions(decisions: Iterable[ChampionDecision]) -> list[Score]:
    """Return one score for each decision made against a champion, in the order of decisions.

    A champion that is replaced as soon as a month comes in is never monitored on that month, but
    the decision has evaluated it on that month, the test month of its challenger.

    The relative error follows from R² = 1 - RMSE² / variance: it is √(1 - R²).
    """
    scores = []
    for decision in decisions:
        before = decision.previous_champion
        usual = before.usual if before is not None else None
        test = [use for use in decision.months if use.role == "test"]
        if before is None or not test or not before.test.r2 <= 1:
            continue
        scores.append(
            Score(
                version=before.version,
                model=before.model,
                month=decision.test_month,
                raw_sha256=test[0].raw_sha256,
                trips=before.test.rows,
                rmse=before.test.rmse,
                mae=before.test.mae,
                relative_error=sqrt(1 - before.test.r2),
                seen=before.trained_on_test_month,
                run_id=before.run_id,
                rmse_usual=usual.rmse if usual is not None else None,
                mae_usual=usual.mae if usual is not None else None,
                relative_error_usual=_relative_error(usual),
            )
        )
    return scores


def _relative_error(metrics: MetricsRecord | None) -> float | None:
    return sqrt(1 - metrics.r2) if metrics is not None and metrics.r2 <= 1 else None


class ModeErrors(StoredRecord):
    """Errors by slice and coverage of the intervals in one mode of a request.

    Attributes:
        interval: None for a model without intervals.
    """

    slices: list[SliceRecord] = Field(default_factory=list)
    interval: IntervalRecord | None = None


class MonthErrors(StoredRecord):
    """Where one registered version is wrong on one month.

    Attributes:
        profile: Errors in fixed bins.
        stated, usual: Slices and intervals, with the metered distances and without distances.
    """

    version: str
    profile: ErrorProfile
    stated: ModeErrors
    usual: ModeErrors

    @property
    def coverages(self) -> tuple[float | None, float | None]:
        """Shares of the trips in the intervals, with the metered distances and without."""
        stated, usual = self.stated.interval, self.usual.interval
        return (
            None if stated is None else stated.coverage,
            None if usual is None else usual.coverage,
        )


@dataclass(frozen=True)
class KeptErrors:
    """The kept errors of champions by month, in the records of ``prediction_performance``."""

    records: RecordStore

    def find(self, score: Score) -> MonthErrors | None:
        """Return the errors that were measured with a score; None without readable ones."""
        try:
            found = self.records.find(_name(score), MonthErrors)
        except UnreadableRecord:
            return None  # measured and written again
        if found is None:
            return None
        profile = found.profile
        return found if (profile.raw_sha256, profile.trips) == score.key[2:] else None

    def write(self, score: Score, errors: MonthErrors) -> None:
        """Keep the errors of a score, in place of those of an earlier file of its month."""
        self.records.write(_name(score), errors)

    def remove(self, scores: Iterable[Score]) -> None:
        """Remove the errors of scores that are no longer kept."""
        for score in scores:
            path = self.records.path(_name(score))
            if filesystem.exists(path):
                filesystem.remove(path)


def _name(score: Score) -> str:
    return f"prediction_performance/errors/{score.month}/{score.champion.replace('@', '-')}"
