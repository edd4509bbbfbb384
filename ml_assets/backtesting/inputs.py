"""Inputs of a backtest: folds, sampled months, and models with their parameters."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import polars as pl

from ml_assets.backtesting.records import CHAMPION, EntryKind, SkippedMonth
from ml_assets.config.code_version import MODEL, code_digest
from ml_assets.evaluation.records import ModelRecord
from ml_assets.secrets import ShownError
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.baselines import BASELINES
from ml_assets.training.families import family_named
from ml_assets.training.training_set import COLUMNS, TABLE, concat_months, rejected_months
from ml_assets.trips.month import Month, months_between

_EVALUATION = ("backtesting/run.py", "evaluation/metrics.py")
"""Code that determines a backtest's figures in addition to the model code."""


class BacktestError(ShownError, ValueError):
    """A backtest that cannot run; the message names the reason and the remedy."""


@dataclass(frozen=True)
class Fold:
    """The training months, in order, and the test month.

    Raises:
        ValueError: There are no training months, or one is not before the test month.
    """

    train: tuple[Month, ...]
    test: Month

    def __post_init__(self) -> None:
        leaking = [str(month) for month in self.train if month >= self.test]
        if leaking or not self.train:
            raise ValueError(
                f"training months {', '.join(leaking) or 'none'} for the test month {self.test}: "
                "only earlier months may train"
            )


@dataclass(frozen=True)
class MonthVersion:
    """Version of a stored month: its published file, the code that cleaned it, its trips."""

    month: str
    raw_sha256: str
    code_version: str
    rows: int


def month_versions(store: TripStore) -> tuple[dict[Month, MonthVersion], list[SkippedMonth]]:
    """Return the versions of the usable stored months, and the damaged or rejected ones.

    Reads only file footers and stored profiles.
    """
    months = store.months(TABLE)
    rejected = rejected_months(store, months)
    versions = {}
    for month in months:
        if month not in rejected:
            lineage, rows = store.lineage(TABLE, month)
            versions[month] = MonthVersion(
                str(month), lineage.raw_sha256, lineage.code_version, rows
            )
    skipped = [SkippedMonth(month=str(month), reason=why) for month, why in rejected.items()]
    return versions, skipped


def folds(months: Sequence[Month], train_months: int) -> tuple[list[Fold], list[SkippedMonth]]:
    """Make a fold for every month whose preceding months are all available.

    Returns:
        The folds in order, and the months with a gap before them. The first ``train_months``
        months are in neither.
    """
    available = set(months)
    made, skipped = [], []
    for month in months:
        if month < months[0].shift(train_months):
            continue
        train = tuple(months_between(month.shift(-train_months), month.shift(-1)))
        gaps = [str(before) for before in train if before not in available]
        if gaps:
            reason = f"{', '.join(gaps)} missing"
            skipped.append(SkippedMonth(month=str(month), reason=reason))
        else:
            made.append(Fold(train, month))
    return made, skipped


def require_folds(
    store: TripStore, found: Sequence[Fold], skipped: Sequence[SkippedMonth], train_months: int
) -> None:
    """Raise BacktestError unless there is a fold; it names the available months and the remedy."""
    if found:
        return
    months = store.months(TABLE)
    available = ", ".join(str(month) for month in months) or "none"
    first = months[0] if months else Month(2023, 1)
    faults = "; ".join(f"{entry.month}: {entry.reason}" for entry in skipped)
    raise BacktestError(
        f"a backtest needs {train_months + 1} months of {store.dataset} in a row ({train_months} "
        f"to train, one to test), available: {available}{f' ({faults})' if faults else ''}. "
        f"Ingest more with `ml-assets run --first {first} --last {first.shift(train_months)} "
        "--ingest-only`, or choose fewer training months"
    )


@dataclass(frozen=True)
class SampledMonths:
    """Reads the sampled trips of a fold, one month at a time.

    Attributes:
        max_rows: Maximum trips of all training months together, and of the test month.
        seed: Seed of the samples; the month is part of it.
    """

    store: TripStore
    versions: Mapping[Month, MonthVersion]
    max_rows: int
    seed: int

    def train(self, fold: Fold) -> pd.DataFrame:
        """Return request columns and ``duration_minutes`` of the training months.

        Each month is sampled in proportion to its trips.
        """
        rows = [self.versions[month].rows for month in fold.train]
        total = sum(rows)
        shares = rows if total <= self.max_rows else [n * self.max_rows // total for n in rows]
        return self._concat(fold.train, shares)

    def test(self, fold: Fold) -> pd.DataFrame:
        """Return request columns and ``duration_minutes`` of the test month."""
        return self._concat((fold.test,), [min(self.versions[fold.test].rows, self.max_rows)])

    def _concat(self, months: Sequence[Month], rows: Sequence[int]) -> pd.DataFrame:
        return concat_months(self._read(months, rows), sum(rows))

    def _read(self, months: Sequence[Month], rows: Sequence[int]) -> Iterator[pl.DataFrame]:
        for month, sample_size in zip(months, rows, strict=True):
            frame = self.store.read_table(TABLE, month, COLUMNS)
            if sample_size < frame.height:
                random = np.random.default_rng([self.seed, month.year, month.number])
                chosen = random.choice(frame.height, sample_size, replace=False)
                frame = frame[np.sort(chosen)]
            yield frame


@dataclass(frozen=True)
class ChampionParameters:
    """Parameters of the champion.

    Attributes:
        version: The champion's version; its newest month was used for the parameters or the fit.
        parameters: All parameters of its estimator, including the number of boosting rounds.
    """

    version: ModelVersion
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class BacktestModel:
    """A model of the backtest, fitted for every test month.

    Attributes:
        tuned: The last tuned parameters; None without any, and for a baseline.
        newest_month: The newest month used to choose ``tuned``; None when unknown.
    """

    model: str
    kind: EntryKind
    family: str = ""
    tuned: Mapping[str, Any] | None = None
    newest_month: Month | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def parameters_for(self, test: Month) -> dict[str, Any]:
        """Return the parameters for a test month.

        A family's tuned parameters are used only if they were chosen without the test month and
        later ones; the champion's are always used.
        """
        return {**self.defaults, **(self.tuned or {})} if self._tuned(test) else {**self.defaults}

    def parameter_source(self, test: Month) -> Literal["tuned", "default", "none"]:
        """Return which parameters :meth:`parameters_for` returns."""
        if self.kind == "baseline":
            return "none"
        return "tuned" if self._tuned(test) else "default"

    def leaked(self, test: Month) -> bool:
        """Whether the parameters in use were chosen with the test month or a later one."""
        return self.kind == "champion" and self._known(test)

    def inputs(self, test: Month, months: Sequence[MonthVersion], options: Sequence[int]) -> str:
        """Return a digest (16 hex digits) of all inputs of the figures for a test month."""
        parts = [
            code_digest(*MODEL, *_EVALUATION),
            self.family or self.model,
            self.parameters_for(test),
            [[month.month, month.raw_sha256, month.code_version, month.rows] for month in months],
            list(options),
        ]
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _tuned(self, test: Month) -> bool:
        return self.kind == "champion" or (self.tuned is not None and not self._known(test))

    def _known(self, test: Month) -> bool:
        return self.newest_month is None or self.newest_month >= test


def backtest_models(
    champion: ChampionParameters | None, families: Sequence[str], last: Mapping[str, ModelRecord]
) -> list[BacktestModel]:
    """Return the models of a backtest: the champion if there is one, families, baselines."""
    models = []
    if champion is not None:
        family, newest_month = champion.version.model, champion.version.newest_month
        models.append(_of_family(CHAMPION, "champion", family, champion.parameters, newest_month))
    for name in families:
        record = last.get(name)
        seen = [Month.parse(text) for text in record.validation_months] if record else []
        tuned = dict(record.parameters) if record and seen else None
        newest = (
            max([*seen, *(Month.parse(m) for m in record.training_months)])
            if record and seen
            else None
        )
        models.append(_of_family(name, "family", name, tuned, newest))
    return [*models, *(BacktestModel(name, "baseline") for name in BASELINES)]


def _of_family(
    model: str,
    kind: EntryKind,
    family: str,
    parameters: Mapping[str, Any] | None,
    newest_month: Month | None,
) -> BacktestModel:
    """Make a model of a family; parameters that the family no longer has are dropped."""
    of = family_named(family)
    known = (
        None
        if parameters is None
        else {name: value for name, value in parameters.items() if name in of.parameter_names}
    )
    return BacktestModel(model, kind, family, known, newest_month, of.defaults)
