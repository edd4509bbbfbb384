"""What is known of the error of champions on months with labels: scores, references, limits."""

from collections.abc import Iterable
from math import sqrt
from typing import Self

from pydantic import BaseModel

from ml_assets.monitoring.retrain_rule import Window
from ml_assets.monitoring.status import MEASURED, Status
from ml_assets.storage.model_version import identity
from ml_assets.trips.month import Month

TOLERANCE = 0.10
"""So much above its reference, as a share, a champion's relative error may be before it counts as
decayed, while no backtest has measured how far it moves by itself. On green trips of 2023 that of
one champion (XGBoost, fitted on January to April) moves by 3.4 % (standard deviation of the months
from May to September): a tenth is three of these."""

MIN_NOISE_MONTHS = 6
"""From fewer judged months a backtest cannot tell how far the error moves by itself."""

CHANCE = 0.025
"""So often a month of a champion that has not decayed may be beyond the limit by chance."""

MAX_SCORES = 600
"""So many scores, the newest, are kept of all champions."""


class Score(BaseModel):
    """How one version of the registered model did on one month.

    Attributes:
        version: Of the registered model.
        model: Its family.
        month: ``YYYY-MM``.
        raw_sha256: Of the month's published file.
        trips: Kept trips in it, all of which were predicted.
        rmse: Minutes.
        mae: Minutes.
        relative_error: RMSE divided by the RMSE of predicting the month's own mean duration for
            every trip: comparable between months, 1 is as good as knowing that mean.
        seen: Whether the version was fitted or tuned on this month, so that the error flatters it.
        run_id: The version's MLflow run.
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

    @property
    def champion(self) -> str:
        """Which champion it is of, across registries."""
        return identity(self.version, self.run_id)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What was scored on what: the same is not scored twice."""
        return (self.champion, self.month, self.raw_sha256, self.trips)


class Reference(BaseModel):
    """What a version's error is held against.

    Attributes:
        version: Of the registered model.
        month: The month that judged it.
        relative_error: On that month.
        newest_fitted: The newest month that the version was fitted or tuned on; later ones tell of
            decay.
    """

    version: str
    month: str
    relative_error: float
    newest_fitted: str


class PerformanceRecord(BaseModel):
    """Scores of champions, now and before.

    Attributes:
        dataset: What the months are of.
        synthetic: Whether that is the synthetic sample.
        status: Whether months could be scored.
        why: Why they could not be, in a sentence.
        measured_at: When, in ISO 8601 with offset.
        version: Of the champion that serves; None when there is none.
        run_id: Its MLflow run.
        model: Its family.
        tolerance: Share above the reference that is allowed while ``allowance`` is unknown.
        allowance: By how much the relative error may exceed the reference, as follows from a
            backtest; see :func:`noise_tolerance`. None before there was one to tell.
        scores: In the order of months, those of one month in the order they were made.
        references: By champion: its version and MLflow run.
        skipped: Stored months that could not be scored, and why.
    """

    dataset: str
    synthetic: bool
    status: Status = MEASURED
    why: str = ""
    measured_at: str = ""
    version: str | None = None
    run_id: str = ""
    model: str | None = None
    tolerance: float = TOLERANCE
    allowance: float | None = None
    scores: list[Score] = []
    references: dict[str, Reference] = {}
    skipped: dict[str, str] = {}

    def add_score(self, *scores: Score) -> Self:
        """A record with these scores as well, in place of those of the same champion and month."""
        newest = {(score.champion, score.month): score for score in (*self.scores, *scores)}
        ordered = sorted(newest.values(), key=lambda score: score.month)
        return self.model_copy(update={"scores": ordered[-MAX_SCORES:]})

    def add_missing(self, scores: Iterable[Score]) -> Self:
        """A record with those of these scores as well whose champion and month have none yet."""
        known = {(score.champion, score.month) for score in self.scores}
        return self.add_score(
            *(score for score in scores if (score.champion, score.month) not in known)
        )

    def find(self, key: tuple[str, str, str, int]) -> Score | None:
        """The score with this key; None when it was not made."""
        return next((score for score in self.scores if score.key == key), None)

    @property
    def champion(self) -> str:
        """Which champion serves, across registries; empty when none does."""
        return identity(self.version or "", self.run_id)

    def scores_of(self, champion: str) -> list[Score]:
        """The scores of a champion, months in order."""
        return [score for score in self.scores if score.champion == champion]

    def limit_of(self, champion: str) -> float | None:
        """The relative error above which a champion has decayed; None without a reference."""
        reference = self.references.get(champion)
        if reference is None:
            return None
        if self.allowance is not None:
            return reference.relative_error + self.allowance
        return reference.relative_error * (1 + self.tolerance)

    @property
    def new_scores(self) -> list[Score]:
        """Of the champion of now, on the months after all that it was fitted or tuned on."""
        reference = self.references.get(self.champion)
        if reference is None:
            return []
        return [
            score
            for score in self.scores_of(self.champion)
            if score.month > reference.newest_fitted and not score.seen
        ]

    @property
    def windows(self) -> list[Window]:
        """The new months as the rule on retraining sees them."""
        limit = self.limit_of(self.champion)
        if limit is None or self.status != MEASURED:
            return []
        return [
            Window(Month.parse(score.month), score.relative_error, limit, "relative error")
            for score in self.new_scores
        ]


def noise_tolerance(noise: float | None, months: int) -> float | None:
    """By how much a month's relative error may exceed that of the month that judged.

    Both are single months, so their difference has √2 times the standard deviation of one; and that
    is itself estimated from a few months: Student's t with n - 1 degrees of freedom, so that a
    month is beyond by chance in :data:`CHANCE` of the cases.

    Args:
        noise: Sample standard deviation of the relative error over a backtest's months.
        months: How many these are.

    Returns:
        None when there are too few months, or no noise was measured.
    """
    from scipy.stats import t

    if noise is None or months < MIN_NOISE_MONTHS:
        return None
    return float(t.ppf(1 - CHANCE, months - 1) * sqrt(2) * noise)


def months_of(scores: Iterable[Score]) -> list[Month]:
    """The months of these scores, in order, each once."""
    return sorted({Month.parse(score.month) for score in scores})


def performance_sentence(record: PerformanceRecord) -> str:
    """The newest labelled month in a sentence for people."""
    if record.status != MEASURED:
        return record.why
    limit = record.limit_of(record.champion)
    who = f"version {record.version} ({record.model})"
    if limit is None:
        return f"{who} has no reference: the month that judged it is not stored"
    if not record.new_scores:
        return f"no month has come in that {who} was not trained on"
    newest, reference = record.new_scores[-1], record.references[record.champion]
    relation = "within" if newest.relative_error <= limit else "over"
    how = (
        f"{record.tolerance:.0%}"
        if record.allowance is None
        else f"{record.allowance:.3f}, within which the backtest moves by itself"
    )
    return (
        f"{newest.month}: RMSE of {who} {newest.rmse:.2f} min, relative error "
        f"{newest.relative_error:.3f}, {relation} the limit {limit:.3f} "
        f"({reference.relative_error:.3f} in {reference.month}, which judged it, plus {how})"
    )
