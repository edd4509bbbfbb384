"""Stored record of a backtest: errors by test month and model, and the noise in them."""

import statistics
from collections import defaultdict
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, Field

from ml_assets.evaluation.records import DEFAULT_SHARE_STATED, weighted_rmse
from ml_assets.storage.former_names import StoredRecord
from ml_assets.training.windows import span
from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.target import TARGET

CHAMPION = "champion"
"""Model name of the entries with the champion's parameters."""

MAX_ROWS = 100_000
"""Default maximum of trips: yellow has millions a month, and a fold has to end within a minute."""

MIN_MONTHS = 3
"""Minimum number of test months for a mean and a noise."""

MAX_REQUIRED_LEAD = 0.02
"""Upper bound of the improvement required of a challenger, as a share of the champion's mean RMSE:
a runner-up of another kind, whose errors vary differently by month, must not block every
challenger. On green trips of 2023 the lead of XGBoost over random forests has a standard deviation
of 0.5 % of its RMSE."""

EntryKind = Literal["champion", "family", "baseline"]


class BacktestEntry(BaseModel):
    """Errors of one model on one test month.

    Attributes:
        model: ``champion``, a family or a baseline.
        rmse: Minutes, with the metered distances, as are the other errors.
        mae: Minutes.
        relative_error: RMSE divided by the RMSE of predicting the month's own mean duration (its
            population standard deviation): 1 is as good as knowing the mean.
        rmse_usual: RMSE on the same trips without distances, minutes; None in old records.
        mean_predicted: Mean predicted minutes; above ``mean_actual`` the model is biased upwards.
        parameters: ``tuned`` (the last ones of the family or champion), ``default``, or ``none``.
        parameters_saw_month: Whether they were chosen with the test month or a later one.
        inputs: Digest of all inputs of the figures; equal digests are not computed twice.
    """

    month: str
    model: str
    kind: EntryKind
    rmse: float
    mae: float
    relative_error: float
    rmse_usual: float | None = None
    trips: int
    mean_predicted: float
    mean_actual: float
    trained_on: list[str]
    training_rows: int
    parameters: Literal["tuned", "default", "none"]
    parameters_saw_month: bool
    inputs: str

    def request_rmse(self, share_stated: float) -> float:
        """Return the RMSE of requests of which this share states its distance, minutes."""
        return weighted_rmse(self.rmse, self.rmse_usual, share_stated)

    def request_relative_error(self, share_stated: float) -> float:
        """Return the relative error of requests of which this share states its distance."""
        ratio = self.request_rmse(share_stated) / self.rmse if self.rmse > 0 else 1.0
        return self.relative_error * ratio


class SkippedMonth(BaseModel):
    """A month that could not be tested, with the reason."""

    month: str
    reason: str


class BacktestRecord(StoredRecord):
    """A backtest.

    Attributes:
        max_rows: Maximum training trips and maximum test trips of a fold; larger months are
            represented by a fixed random sample.
        champion: Family of the champion whose parameters were used; None without a champion.
        champion_parameters_know: The newest month used to choose these parameters; None when
            unknown.
        entries: Months in order, within each the champion, the families, the baselines.
        skipped: Months without a fold, with the reason.
        pending_months: Test months still to compute; the next run continues with them.
        computed_entries: Entries that this run computed; the others were reused.
        share_stated: Share of requests that state their distance, by which noise and leads weigh
            the two errors; they are those with the metered distance where an entry has no other.
        families: Families besides the champion and the baselines; empty in old records.
        seed: Seed of the samples and the estimators.
        run_id: The Dagster run that computed it; empty while the run is in progress.
    """

    dataset: str
    synthetic: bool
    train_months: int
    max_rows: int
    champion: str | None
    champion_version: str | None = None
    champion_parameters_know: str | None = None
    entries: list[BacktestEntry]
    skipped: list[SkippedMonth] = Field(default_factory=list)
    pending_months: list[str] = Field(default_factory=list)
    computed_entries: int = 0
    share_stated: float = DEFAULT_SHARE_STATED
    families: list[str] = Field(default_factory=list)
    seed: int = 42
    run_id: str = ""
    code_version: str = ""

    def weighted(self, share_stated: float) -> "BacktestRecord":
        """Return the record with the errors weighted by another share of stated distances."""
        return self.model_copy(update={"share_stated": share_stated})

    @property
    def share(self) -> float:
        """The share by which errors are weighted: 1 if an entry has no error without a distance."""
        return self.share_stated if all(e.rmse_usual is not None for e in self.entries) else 1.0

    @property
    def months(self) -> list[Month]:
        """The test months, in order."""
        return sorted({Month.parse(entry.month) for entry in self.entries})

    @property
    def models(self) -> list[str]:
        """The distinct models in the order of the entries."""
        return list(dict.fromkeys(entry.model for entry in self.entries))

    def series(self, model: str) -> list[BacktestEntry]:
        """Return the entries of one model, months in order."""
        found = [entry for entry in self.entries if entry.model == model]
        return sorted(found, key=lambda entry: entry.month)

    @property
    def relative_error_noise(self) -> float | None:
        """Sample standard deviation of the champion's relative error over the test months.

        √(Σ (e_t - ē)² / (n - 1)); None with fewer than 3 test months, or without a champion.
        """
        share = self.share
        return _deviation([e.request_relative_error(share) for e in self.series(CHAMPION)])

    @property
    def mean_relative_error(self) -> float | None:
        """Mean of the champion's relative error; None when :attr:`relative_error_noise` is."""
        errors = [e.request_relative_error(self.share) for e in self.series(CHAMPION)]
        return statistics.fmean(errors) if len(errors) >= MIN_MONTHS else None

    @property
    def rmse_noise(self) -> float | None:
        """Sample standard deviation of the champion's change of RMSE to the next month, minutes.

        √(Σ (d_t - d̄)² / (n - 1)) with d_t = RMSE_t - RMSE_{t-1} over consecutive months; None with
        fewer than 3 test months, fewer than 2 such changes, or without a champion.
        """
        series = self.series(CHAMPION)
        if len(series) < MIN_MONTHS:
            return None
        changes = [
            later.request_rmse(self.share) - earlier.request_rmse(self.share)
            for earlier, later in pairwise(series)
            if Month.parse(earlier.month).shift(1) == Month.parse(later.month)
        ]
        return statistics.stdev(changes) if len(changes) > 1 else None

    @property
    def mean_rmse(self) -> tuple[float, float] | None:
        """Mean RMSE of the champion over the months, with the metered distance and without one.

        None without a champion, and if a month was evaluated with the metered distance only.
        """
        series = self.series(CHAMPION)
        usual = [entry.rmse_usual for entry in series if entry.rmse_usual is not None]
        if not series or len(usual) < len(series):
            return None
        return statistics.fmean(entry.rmse for entry in series), statistics.fmean(usual)

    @property
    def runner_up(self) -> str | None:
        """The family with the lowest mean RMSE, other than the champion's own."""
        errors: dict[str, list[float]] = defaultdict(list)
        for entry in self.entries:
            if entry.kind == "family" and entry.model != self.champion:
                errors[entry.model].append(entry.request_rmse(self.share))
        means = {model: statistics.fmean(values) for model, values in errors.items()}
        return min(means, key=lambda model: means[model]) if means else None

    @property
    def suggested_min_improvement(self) -> float | None:
        """Default of the required improvement of a challenger, minutes of RMSE.

        The sample standard deviation over the months of the lead, RMSE_runner_up - RMSE_champion: a
        smaller lead on one month may be gone in the next. At most :data:`MAX_REQUIRED_LEAD` of the
        champion's mean RMSE. None with fewer than 3 months, or without champion or runner-up.
        """
        runner_up, champion = (
            {entry.month: entry.request_rmse(self.share) for entry in self.series(model)}
            for model in (self.runner_up or "", CHAMPION)
        )
        both = [month for month in champion if month in runner_up]
        noise = _deviation([runner_up[month] - champion[month] for month in both])
        if noise is None:
            return None
        return min(noise, MAX_REQUIRED_LEAD * statistics.fmean(champion[month] for month in both))

    @property
    def months_won(self) -> tuple[int, int]:
        """Months in which the champion's RMSE is below that of every baseline, and all months.

        Without a champion, the best family of each month takes its place.
        """
        won, months = 0, 0
        for month in self.months:
            of_month = [entry for entry in self.entries if entry.month == str(month)]
            kind = "family" if self.champion is None else "champion"
            baselines, errors = (
                [entry.request_rmse(self.share) for entry in of_month if entry.kind == wanted]
                for wanted in ("baseline", kind)
            )
            if baselines and errors:
                months += 1
                won += min(errors) < min(baselines)
        return won, months

    @property
    def summary(self) -> str:
        """The result of the backtest in a few sentences."""
        if not self.entries:
            return f"no month of {self.dataset} could be tested"
        won, of = self.months_won
        who = (
            "there is no champion; the best family is"
            if self.champion is None
            else f"the parameters of the champion ({self.champion}) are"
        )
        text = f"{span(self.months)}, each tested after training on the {self.train_months} months "
        text += f"before: {who} better than every baseline in {won} of {of} months"
        noise, mean, lead = (
            self.relative_error_noise,
            self.mean_relative_error,
            self.suggested_min_improvement,
        )
        if self.mean_rmse is not None:
            stated, usual = self.mean_rmse
            text += (
                f". The champion's mean RMSE is {stated:.2f} {TARGET.symbol} with the metered "
                f"distance and {usual:.2f} without a distance"
            )
        if noise is not None and mean is not None:
            whose = (
                "The champion's"
                if self.share == 1
                else f"If {self.share:.0%} of requests state their distance, the champion's"
            )
            text += f". {whose} relative error is {mean:.3f} ± {noise:.3f}"
            if self.rmse_noise is not None:
                text += (
                    f", and its RMSE varies by {self.rmse_noise:.2f} {TARGET.symbol} from month to "
                    "month"
                )
        if lead is not None:
            smallest = f"{lead:.3f} {TARGET.symbol}"
            text += f". A lead over {self.runner_up} below {smallest} is within the noise"
        return f"{text}.{self._notes()}"

    def _notes(self) -> str:
        text = ""
        leaked = [entry.month for entry in self.series(CHAMPION) if entry.parameters_saw_month]
        if leaked:
            text += (
                " The champion's parameters were chosen with data up to "
                f"{self.champion_parameters_know or 'an unknown month'}, so {len(leaked)} of these "
                "test months are optimistic for it."
            )
        if self.skipped:
            text += f" Skipped: {'; '.join(f'{s.month}, {s.reason}' for s in self.skipped)}."
        if self.pending_months:
            left = span([Month.parse(month) for month in self.pending_months])
            text += f" Still to test: {left}; the next run continues with them."
        return text


def _deviation(values: list[float]) -> float | None:
    return statistics.stdev(values) if len(values) >= MIN_MONTHS else None


MIN_SHARE_WON = 0.5
"""The champion's parameters must beat every baseline in more than this share of the months."""


def beats_baselines_in_most_months(made: BacktestRecord) -> Finding:
    """Check that the champion's parameters beat every baseline in most months.

    Skipped without a champion.
    """
    if made.champion is None:
        return Finding(Verdict.SKIP, made.summary)
    won, months = made.months_won
    if not months:
        return Finding(Verdict.SKIP, f"no test month: {made.summary}")
    share = won / months
    verdict = Verdict.PASS if share > MIN_SHARE_WON else Verdict.WARN
    sentence = (
        f"trained on the {made.train_months} months before, the champion's parameters "
        f"({made.champion}) beat every baseline in {won} of {months} months"
    )
    if verdict == Verdict.WARN:
        sentence += ": try more trips (max_rows), more training months or another family"
    return Finding(verdict, sentence, share, MIN_SHARE_WON)
