"""What a backtest stands on: origins, samples of months, contenders with their parameters."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import polars as pl

from ml_assets.backtesting.records import CHAMPION, LineKind, SkippedOrigin
from ml_assets.config.code_version import MODEL, code_digest
from ml_assets.evaluation.records import ModelRecord
from ml_assets.secrets import ShownError
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.baselines import BASELINES
from ml_assets.training.families import FAMILIES
from ml_assets.training.training_set import COLUMNS, TABLE, concat_months, rejected_months
from ml_assets.trips.month import Month, months_between

_EVALUATION = ("backtesting/run.py", "evaluation/metrics.py")
"""Code that decides a backtest's figures beside the code of the models."""


class BacktestError(ShownError, ValueError):
    """A backtest that cannot be made; says why, and what can be done."""


@dataclass(frozen=True)
class Origin:
    """The months that train, in order, and the one that is judged.

    Raises:
        ValueError: when a month that trains is the judged one or a later one.
    """

    train: tuple[Month, ...]
    judge: Month

    def __post_init__(self) -> None:
        leaking = [str(month) for month in self.train if month >= self.judge]
        if leaking or not self.train:
            raise ValueError(
                f"{', '.join(leaking) or 'nothing'} would train what is judged on {self.judge}: "
                "only earlier months may"
            )


@dataclass(frozen=True)
class MonthVersion:
    """What exactly a stored month is."""

    month: str
    raw_sha256: str
    code_version: str
    rows: int


def month_versions(store: TripStore) -> tuple[dict[Month, MonthVersion], list[SkippedOrigin]]:
    """The stored months that may be learned from, and those that are damaged or refused by a rule.

    Reads footers and the kept profiles of months.
    """
    months = store.months(TABLE)
    refused = rejected_months(store, months)
    stamped = {}
    for month in months:
        if month not in refused:
            lineage, rows = store.lineage(TABLE, month)
            stamped[month] = MonthVersion(
                str(month), lineage.raw_sha256, lineage.code_version, rows
            )
    skipped = [SkippedOrigin(month=str(month), reason=why) for month, why in refused.items()]
    return stamped, skipped


def origins(months: Sequence[Month], train_months: int) -> tuple[list[Origin], list[SkippedOrigin]]:
    """Every month that has all of the so many months before it.

    Args:
        months: Those at hand, in order.
        train_months: How many train.

    Returns:
        The origins in order, and the months with a gap before them. The first months, before which
        there is nothing yet, are neither.
    """
    there = set(months)
    found, skipped = [], []
    for month in months:
        if month < months[0].shift(train_months):
            continue
        train = tuple(months_between(month.shift(-train_months), month.shift(-1)))
        gaps = [str(before) for before in train if before not in there]
        if gaps:
            reason = f"since {', '.join(gaps)} is not here"
            skipped.append(SkippedOrigin(month=str(month), reason=reason))
        else:
            found.append(Origin(train, month))
    return found, skipped


def require_origins(
    store: TripStore,
    found: Sequence[Origin],
    skipped: Sequence[SkippedOrigin],
    train_months: int,
) -> None:
    """Refuse to go on without an origin.

    Raises:
        BacktestError: with the months there are, and the way to more.
    """
    if found:
        return
    months = store.months(TABLE)
    there = ", ".join(str(month) for month in months) or "none"
    first = months[0] if months else Month(2023, 1)
    faults = "; ".join(f"{entry.month}: {entry.reason}" for entry in skipped)
    raise BacktestError(
        f"a backtest needs {train_months + 1} months of {store.dataset} in a row ({train_months} "
        f"train, the next is judged), and there are: {there}{f' ({faults})' if faults else ''}. "
        f"Bring more with `ml-assets run --first {first} --last {first.shift(train_months)} "
        "--ingest-only`, or let fewer months train"
    )


@dataclass(frozen=True)
class SampledMonths:
    """Reads the trips of an origin, one month at a time and no more rows than allowed.

    Attributes:
        store: Where the months lie.
        stamped: What each of them is.
        most_rows: Of the months that train together, and of the judged one.
        seed: With the month it decides which rows are taken.
    """

    store: TripStore
    stamped: Mapping[Month, MonthVersion]
    most_rows: int
    seed: int

    def train(self, origin: Origin) -> pd.DataFrame:
        """Request columns and ``duration_minutes``; each month by its share of the rows."""
        rows = [self.stamped[month].rows for month in origin.train]
        total = sum(rows)
        shares = rows if total <= self.most_rows else [n * self.most_rows // total for n in rows]
        return self._joined(origin.train, shares)

    def judge(self, origin: Origin) -> pd.DataFrame:
        """The same of the judged month."""
        return self._joined((origin.judge,), [min(self.stamped[origin.judge].rows, self.most_rows)])

    def _joined(self, months: Sequence[Month], rows: Sequence[int]) -> pd.DataFrame:
        return concat_months(self._read(months, rows), sum(rows))

    def _read(self, months: Sequence[Month], rows: Sequence[int]) -> Iterator[pl.DataFrame]:
        for month, wanted in zip(months, rows, strict=True):
            frame = self.store.read_table(TABLE, month, COLUMNS)
            if wanted < frame.height:
                random = np.random.default_rng([self.seed, month.year, month.number])
                chosen = random.choice(frame.height, wanted, replace=False)
                frame = frame[np.sort(chosen)]
            yield frame


@dataclass(frozen=True)
class ChampionParameters:
    """What the serving champion is made with.

    Attributes:
        version: As the registry has it; its newest month had a say in the parameters or the fit.
        parameters: All parameters of its estimator, the number of rounds included.
    """

    version: ModelVersion
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class BacktestModel:
    """A line of the backtest: what is fitted for a judged month.

    Attributes:
        model: Name of the line.
        kind: Champion, family or baseline.
        family: The family; empty for a baseline.
        tuned: The last parameters; None when there are none, or they are of no baseline.
        newest_month: The newest month that had a say in ``tuned``; None when unknown.
    """

    model: str
    kind: LineKind
    family: str = ""
    tuned: Mapping[str, Any] | None = None
    newest_month: Month | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def parameters_for(self, judge: Month) -> dict[str, Any]:
        """The champion's own, or a family's last ones if the judged month had no say in them."""
        if self.kind == "champion" or (self.tuned is not None and not self._known(judge)):
            return {**self.defaults, **(self.tuned or {})}
        return dict(self.defaults)

    def origin_of_parameters(self, judge: Month) -> Literal["tuned", "default", "none"]:
        """Where the parameters come from."""
        if self.kind == "baseline":
            return "none"
        tuned = self.kind == "champion" or (self.tuned is not None and not self._known(judge))
        return "tuned" if tuned else "default"

    def saw(self, judge: Month) -> bool:
        """Whether the judged month, or a later one, had a say in the parameters in use."""
        return self.kind == "champion" and self._known(judge)

    def inputs(self, judge: Month, months: Sequence[MonthVersion], options: Sequence[int]) -> str:
        """16 hex digits over all that decides the figures for a judged month."""
        made_of = [
            code_digest(*MODEL, *_EVALUATION),
            self.family or self.model,
            self.parameters_for(judge),
            [[stamp.month, stamp.raw_sha256, stamp.code_version, stamp.rows] for stamp in months],
            list(options),
        ]
        text = json.dumps(made_of, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _known(self, judge: Month) -> bool:
        return self.newest_month is None or self.newest_month >= judge


def backtest_models(
    champion: ChampionParameters | None,
    families: Sequence[str],
    last: Mapping[str, ModelRecord],
) -> list[BacktestModel]:
    """The lines of a backtest: the champion if there is one, the families, the baselines."""
    lines = []
    if champion is not None:
        family, newest_month = champion.version.model, champion.version.newest_month
        lines.append(_of_family(CHAMPION, "champion", family, champion.parameters, newest_month))
    for name in families:
        record = last.get(name)
        seen = [Month.parse(text) for text in record.tuned_on] if record else []
        tuned = dict(record.parameters) if record and seen else None
        newest = (
            max([*seen, *(Month.parse(m) for m in record.fitted_on)]) if record and seen else None
        )
        lines.append(_of_family(name, "family", name, tuned, newest))
    return [*lines, *(BacktestModel(name, "baseline") for name in BASELINES)]


def _of_family(
    model: str,
    kind: LineKind,
    family: str,
    parameters: Mapping[str, Any] | None,
    newest_month: Month | None,
) -> BacktestModel:
    """Parameters that the family has no more are left out, as tuning does."""
    defaults = FAMILIES[family].defaults
    known = (
        None
        if parameters is None
        else {name: value for name, value in parameters.items() if name in defaults}
    )
    return BacktestModel(model, kind, family, known, newest_month, defaults)
