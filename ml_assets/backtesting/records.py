"""What a backtest leaves behind: errors by judged month and model, and what is noise in them."""

import statistics
from collections import defaultdict
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel

from ml_assets.training.windows import span
from ml_assets.trips.month import Month
from ml_assets.trips.quality import Finding, Verdict

CHAMPION = "champion"
"""Name of the line of the serving champion's parameters."""

MIN_MONTHS = 3
"""Fewer judged months say nothing about what is usual."""

MAX_ASKED = 0.02
"""No more than this share of the champion's mean RMSE is asked of a challenger, however much the
lead moves: a rival of another kind, which errs in other months, must not keep every successor out.
On green trips of 2023 the lead of XGBoost over random forests moves by 0.5 % of its RMSE."""

LineKind = Literal["champion", "family", "baseline"]


class BacktestEntry(BaseModel):
    """One model judged on one month.

    Attributes:
        month: The judged month.
        model: ``champion``, a family or a baseline.
        kind: Which of these.
        rmse: Minutes.
        mae: Minutes.
        relative_error: RMSE divided by the RMSE of that very month's mean duration (of its
            population standard deviation): 1 is as good as knowing the mean.
        trips: Judged trips.
        mean_predicted: Minutes; above ``mean_actual`` it predicts too much.
        mean_actual: Minutes.
        trained_on: Months that it was fitted on.
        training_rows: Trips of these that it was fitted on.
        parameters: ``tuned`` (the last ones of the family or champion), ``default``, or ``none``.
        parameters_saw_month: Whether the judged month, or a later one, had a say in them.
        inputs: Digest of all that decides the figures; the same one is not computed again.
    """

    month: str
    model: str
    kind: LineKind
    rmse: float
    mae: float
    relative_error: float
    trips: int
    mean_predicted: float
    mean_actual: float
    trained_on: list[str]
    training_rows: int
    parameters: Literal["tuned", "default", "none"]
    parameters_saw_month: bool
    inputs: str


class SkippedOrigin(BaseModel):
    """A month that could not be judged, and why."""

    month: str
    reason: str


class BacktestRecord(BaseModel):
    """A whole backtest.

    Attributes:
        dataset: What the months are of.
        synthetic: Whether that is the synthetic sample.
        train_months: So many months train each time.
        most_rows: At most so many trips train, and as many are judged, each a fixed random sample.
        champion: Family of the serving champion whose parameters were taken; None without one.
        champion_version: Its version.
        champion_parameters_know: The newest month that had a say in these parameters; None when
            nobody knows.
        entries: Months in order, within each the champion, the families, the baselines.
        skipped: Months with a gap before them.
        left: Months that the time did not suffice for; the next run goes on with them.
        computed: Entries that this run computed; the others were kept.
        families: Names of the families beside the champion and the baselines; empty in records of
            before they were kept.
        seed: Of the samples and the estimators.
        run_id: The Dagster run that computed it; empty while that goes on.
        code_version: Of the code that computed them.
    """

    dataset: str
    synthetic: bool
    train_months: int
    most_rows: int
    champion: str | None
    champion_version: str | None = None
    champion_parameters_know: str | None = None
    entries: list[BacktestEntry]
    skipped: list[SkippedOrigin] = []
    left: list[str] = []
    computed: int = 0
    families: list[str] = []
    seed: int = 42
    run_id: str = ""
    code_version: str = ""

    @property
    def months(self) -> list[Month]:
        """The judged months, in order."""
        return sorted({Month.parse(entry.month) for entry in self.entries})

    @property
    def models(self) -> list[str]:
        """The models in the order of the entries, each once."""
        return list(dict.fromkeys(entry.model for entry in self.entries))

    def line(self, model: str) -> list[BacktestEntry]:
        """The entries of one model, months in order."""
        found = [entry for entry in self.entries if entry.model == model]
        return sorted(found, key=lambda entry: entry.month)

    @property
    def relative_error_noise(self) -> float | None:
        """Sample standard deviation over the months of the champion's relative error.

        √(Σ (e_t - ē)² / (n - 1)); None with fewer than 3 judged months, or without a champion.
        """
        return _deviation([entry.relative_error for entry in self.line(CHAMPION)])

    @property
    def usual_relative_error(self) -> float | None:
        """Mean of the champion's relative error; None when :attr:`relative_error_noise` is."""
        errors = [entry.relative_error for entry in self.line(CHAMPION)]
        return statistics.fmean(errors) if len(errors) >= MIN_MONTHS else None

    @property
    def rmse_noise(self) -> float | None:
        """Sample standard deviation of the champion's change of RMSE to the next month, minutes.

        √(Σ (d_t - d̄)² / (n - 1)) with d_t = RMSE_t - RMSE_{t-1}, over months that touch; None with
        fewer than 3 judged months, fewer than 2 such changes, or without a champion.
        """
        line = self.line(CHAMPION)
        if len(line) < MIN_MONTHS:
            return None
        changes = [
            later.rmse - earlier.rmse
            for earlier, later in pairwise(line)
            if Month.parse(earlier.month).shift(1) == Month.parse(later.month)
        ]
        return statistics.stdev(changes) if len(changes) > 1 else None

    @property
    def rival(self) -> str | None:
        """The family, other than the champion's own, with the least mean RMSE."""
        errors: dict[str, list[float]] = defaultdict(list)
        for entry in self.entries:
            if entry.kind == "family" and entry.model != self.champion:
                errors[entry.model].append(entry.rmse)
        means = {model: statistics.fmean(values) for model, values in errors.items()}
        return min(means, key=lambda model: means[model]) if means else None

    @property
    def suggested_min_improvement(self) -> float | None:
        """Minutes of RMSE that a challenger has to be better by, unless somebody says otherwise.

        The sample standard deviation over the months of the lead, RMSE_rival - RMSE_champion: a
        lead on one month that is smaller may well be gone in the next. At most :data:`MAX_ASKED`
        of the champion's mean RMSE. None with fewer than 3 months, or without champion or rival.
        """
        rivals = {entry.month: entry.rmse for entry in self.line(self.rival or "")}
        champion = [entry for entry in self.line(CHAMPION) if entry.month in rivals]
        moves = _deviation([rivals[entry.month] - entry.rmse for entry in champion])
        if moves is None:
            return None
        return min(moves, MAX_ASKED * statistics.fmean(entry.rmse for entry in champion))

    @property
    def months_won(self) -> tuple[int, int]:
        """In how many months the champion's error is below that of each baseline, and of how many.

        Without a champion it is the best family of each month that is counted.
        """
        won, months = 0, 0
        for month in self.months:
            of_month = [entry for entry in self.entries if entry.month == str(month)]
            bars = [entry.rmse for entry in of_month if entry.kind == "baseline"]
            wanted = "family" if self.champion is None else "champion"
            errors = [entry.rmse for entry in of_month if entry.kind == wanted]
            if bars and errors:
                months += 1
                won += min(errors) < min(bars)
        return won, months

    @property
    def summary(self) -> str:
        """The whole backtest in a few sentences for people."""
        if not self.entries:
            return f"no month of {self.dataset} could be judged"
        won, of = self.months_won
        who = (
            "no champion serves, so families and baselines are alone; the best family is"
            if self.champion is None
            else f"the parameters of the champion ({self.champion}) are"
        )
        said = (
            f"{span(self.months)}, each judged by what {self.train_months} months before taught: "
        )
        said += f"{who} better than every baseline in {won} of {of} months"
        noise, usual, lead = (
            self.relative_error_noise,
            self.usual_relative_error,
            self.suggested_min_improvement,
        )
        if noise is not None and usual is not None:
            said += f". Relative error {usual:.3f} ± {noise:.3f}"
        if self.rmse_noise is not None:
            said += f"; from one month to the next its RMSE moves by {self.rmse_noise:.2f} min"
        if lead is not None:
            said += f". A lead over {self.rival} below {lead:.3f} min may be gone in the next month"
        return f"{said}.{self._notes()}"

    def _notes(self) -> str:
        said = ""
        saw = [entry.month for entry in self.line(CHAMPION) if entry.parameters_saw_month]
        if saw:
            said += (
                f" The champion's parameters know {self.champion_parameters_know or 'any month'}: "
                f"{len(saw)} of these months, or later ones, had a say in them."
            )
        if self.skipped:
            said += f" Skipped: {'; '.join(f'{s.month}, {s.reason}' for s in self.skipped)}."
        if self.left:
            left = span([Month.parse(month) for month in self.left])
            said += f" Not reached in time: {left}; the next run goes on with them."
        return said


def _deviation(values: list[float]) -> float | None:
    return statistics.stdev(values) if len(values) >= MIN_MONTHS else None


MIN_SHARE_WON = 0.5
"""In more than this share of the months the champion's parameters beat every baseline."""


def beats_baselines_in_most_months(made: BacktestRecord) -> Finding:
    """The champion's parameters are better than every baseline in most months.

    Without a champion there is nothing to judge.
    """
    if made.champion is None:
        return Finding(Verdict.SKIP, f"no champion serves: {made.summary}")
    won, months = made.months_won
    if not months:
        return Finding(Verdict.SKIP, f"no month was judged: {made.summary}")
    share = won / months
    verdict = Verdict.PASS if share > MIN_SHARE_WON else Verdict.WARN
    sentence = (
        f"trained on the {made.train_months} months before, the champion's parameters "
        f"({made.champion}) beat every baseline in {won} of {months} months"
    )
    if verdict == Verdict.WARN:
        sentence += ": more trips (most_rows), more months or another family may mend it"
    return Finding(verdict, sentence, share, MIN_SHARE_WON)
